//! The control socket's file: whether somebody is behind it, and who may have it.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, fchmod, flock};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Clients that the kernel lets wait.
const BACKLOG: i32 = 64;
/// How long another process may take: to claim its own socket in the same folder, or to accept us on this one.
const CLAIM: Duration = Duration::from_secs(2);
/// Between two tries of something that cannot be waited for.
const PAUSE: Duration = Duration::from_millis(10);

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// A live process has it.
    #[error(
        "synward already runs (pid {pid}) with control socket {path}; stop it first, or choose another with --control"
    )]
    Running {
        /// The socket.
        path: PathBuf,
        /// Its process.
        pid: i32,
    },
    /// Something else has the name.
    #[error(
        "{0} is there and is no socket; remove it, or choose another control socket with --control"
    )]
    NotASocket(PathBuf),
    /// The name cannot be a socket's.
    #[error("control socket {0}: the path is too long; a socket's path has at most 107 bytes")]
    TooLong(PathBuf),
    /// The folder cannot be made or opened.
    #[error(
        "control socket: cannot use the folder {0}: {1}; make it, or choose another control socket with --control"
    )]
    Folder(PathBuf, io::Error),
    /// The socket cannot be made.
    #[error("cannot listen on control socket {0}: {1}; choose another with --control")]
    Listen(PathBuf, io::Error),
}

/// The file of a listening socket; dropping it removes the file, unless somebody has replaced it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl SocketFile {
    /// Makes the socket, unless a live process has it.
    pub(super) fn claim(path: &Path) -> Result<(Self, UnixListener), ControlError> {
        let address = address(path).map_err(|_| ControlError::TooLong(path.to_owned()))?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        let _lock = make(folder)
            .and_then(|()| lock(folder))
            .map_err(|error| ControlError::Folder(folder.to_owned(), error))?;
        clear(path)?;
        let claim = || {
            let listener = listen(&address)?;
            let metadata = fs::symlink_metadata(path)?;
            let file = Self {
                path: path.to_owned(),
                identity: (metadata.dev(), metadata.ino()),
            };
            Ok((file, listener))
        };
        claim().map_err(|error| ControlError::Listen(path.to_owned(), error))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|now| (now.dev(), now.ino()) == self.identity);
        if ours {
            // Whoever comes next replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Connects to the socket at `path`; `until` bounds the wait for a process that is too busy to accept.
pub(super) fn connect(path: &Path, until: Instant) -> io::Result<UnixStream> {
    let address = address(path)?;
    loop {
        let socket = socket()?;
        match net::connect(&socket, &address) {
            Ok(()) => {
                let stream = UnixStream::from(socket);
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            // The backlog is full.
            Err(Errno::AGAIN) if Instant::now() < until => thread::sleep(PAUSE),
            Err(error) => return Err(error.into()),
        }
    }
}

fn address(path: &Path) -> Result<SocketAddrUnix, Errno> {
    SocketAddrUnix::new(path)
}

fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        flags,
        None,
    )?)
}

/// Makes the folder 0755, whatever the umask; one that is there is left as it is.
fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(0o755))
}

/// Keeps two processes that start at the same time from each replacing the other's socket. Somebody who holds the
/// lock for longer is no such process, and is not waited for.
fn lock(folder: &Path) -> io::Result<File> {
    let file = File::open(folder)?;
    let until = Instant::now() + CLAIM;
    while flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::AGAIN)
        && Instant::now() < until
    {
        thread::sleep(PAUSE);
    }
    Ok(file)
}

/// Removes the file that a dead process left.
fn clear(path: &Path) -> Result<(), ControlError> {
    let listen = |error| ControlError::Listen(path.to_owned(), error);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(listen(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ControlError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match connect(path, Instant::now() + CLAIM) {
        Ok(stream) => Err(ControlError::Running {
            path: path.to_owned(),
            pid: pid(&stream),
        }),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(listen)
        }
        Err(error) => Err(listen(error)),
    }
}

/// The process that listens at the other end (SO_PEERCRED, unix(7)); 0 if it is not to be seen from here.
pub(super) fn pid(stream: &UnixStream) -> i32 {
    socket_peercred(stream).map_or(0, |peer| peer.pid.as_raw_nonzero().get())
}

/// A listening socket that only its owner may connect to, from its first moment: the kernel takes the file's mode from
/// the unbound socket (unix_bind_bsd, net/unix/af_unix.c).
fn listen(address: &SocketAddrUnix) -> io::Result<UnixListener> {
    let socket = socket()?;
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    net::bind(&socket, address)?;
    net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}
