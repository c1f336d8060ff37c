//! The control socket's file: whether a process listens on it, and who may create it.

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

/// Maximum number of clients that wait to be accepted.
const BACKLOG: i32 = 64;
/// Timeout of another process for creating its own socket in the same directory, or for accepting on this one.
const CREATE_TIMEOUT: Duration = Duration::from_secs(2);
/// Interval between retries.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// Why the control socket cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// A running process has it.
    #[error(
        "synward already runs (pid {pid}) with control socket {path}; stop it first, or choose another with --control"
    )]
    Running {
        /// The socket.
        path: PathBuf,
        /// Its process.
        pid: i32,
    },
    /// The path exists and is not a socket.
    #[error(
        "{0} exists and is not a socket; remove it, or choose another control socket with --control"
    )]
    NotASocket(PathBuf),
    /// The path is too long for a socket.
    #[error("control socket {0}: the path is too long; a socket's path has at most 107 bytes")]
    TooLong(PathBuf),
    /// The directory cannot be created or opened.
    #[error(
        "control socket: cannot use the directory {0}: {1}; create it, or choose another control socket with --control"
    )]
    Folder(PathBuf, io::Error),
    /// The socket cannot be created.
    #[error("cannot listen on control socket {0}: {1}; choose another with --control")]
    Listen(PathBuf, io::Error),
}

/// The file of a listening socket. Dropping it removes the file, unless another process has replaced it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl SocketFile {
    /// Creates the socket, unless a running process has it.
    pub(super) fn create(path: &Path) -> Result<(Self, UnixListener), ControlError> {
        let address = socket_address(path).map_err(|_| ControlError::TooLong(path.to_owned()))?;
        let directory = path.parent().unwrap_or(Path::new("/"));
        let _lock = create_directory(directory)
            .and_then(|()| lock_directory(directory))
            .map_err(|error| ControlError::Folder(directory.to_owned(), error))?;
        remove_stale_file(path)?;
        let create = || {
            let listener = listen(&address)?;
            let metadata = fs::symlink_metadata(path)?;
            let file = Self {
                path: path.to_owned(),
                identity: (metadata.dev(), metadata.ino()),
            };
            Ok((file, listener))
        };
        create().map_err(|error| ControlError::Listen(path.to_owned(), error))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|now| (now.dev(), now.ino()) == self.identity);
        if ours {
            // If this fails, the next process replaces the file.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Connects to the socket at `path`. `until` bounds the wait for a process that is too busy to accept.
pub(super) fn connect(path: &Path, until: Instant) -> io::Result<UnixStream> {
    let address = socket_address(path)?;
    loop {
        let socket = new_socket()?;
        match net::connect(&socket, &address) {
            Ok(()) => {
                let stream = UnixStream::from(socket);
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            // The backlog is full.
            Err(Errno::AGAIN) if Instant::now() < until => thread::sleep(RETRY_INTERVAL),
            Err(error) => return Err(error.into()),
        }
    }
}

fn socket_address(path: &Path) -> Result<SocketAddrUnix, Errno> {
    SocketAddrUnix::new(path)
}

fn new_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        flags,
        None,
    )?)
}

/// Creates the directory with mode 0755, independent of the umask. An existing directory is not changed.
fn create_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)?;
    fs::set_permissions(directory, Permissions::from_mode(0o755))
}

/// Locks the directory, so that two processes that start at the same time do not replace each other's socket. A lock that
/// is held for longer than [`CREATE_TIMEOUT`] does not belong to a starting process and is ignored.
fn lock_directory(directory: &Path) -> io::Result<File> {
    let file = File::open(directory)?;
    let until = Instant::now() + CREATE_TIMEOUT;
    while flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::AGAIN)
        && Instant::now() < until
    {
        thread::sleep(RETRY_INTERVAL);
    }
    Ok(file)
}

/// Removes the file of a dead process.
fn remove_stale_file(path: &Path) -> Result<(), ControlError> {
    let listen = |error| ControlError::Listen(path.to_owned(), error);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(listen(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ControlError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match connect(path, Instant::now() + CREATE_TIMEOUT) {
        Ok(stream) => Err(ControlError::Running {
            path: path.to_owned(),
            pid: peer_pid(&stream),
        }),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(listen)
        }
        Err(error) => Err(listen(error)),
    }
}

/// The pid of the listening process (SO_PEERCRED, unix(7)); 0 if it is in another pid namespace.
pub(super) fn peer_pid(stream: &UnixStream) -> i32 {
    socket_peercred(stream).map_or(0, |peer| peer.pid.as_raw_nonzero().get())
}

/// A listening socket that only its owner can connect to from the start: the kernel takes the file's mode from the
/// unbound socket (unix_bind_bsd, net/unix/af_unix.c).
fn listen(address: &SocketAddrUnix) -> io::Result<UnixListener> {
    let socket = new_socket()?;
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    net::bind(&socket, address)?;
    net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}
