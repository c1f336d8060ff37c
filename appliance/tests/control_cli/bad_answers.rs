//! Processes behind the control socket that answer nothing, or nothing that can be read.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixListener;

use crate::control_socket::TestFolder;

#[test]
fn a_process_that_ends_before_it_answers_is_not_one_of_another_version() {
    for answer in [&b""[..], b"{\"reload\":{\"do"] {
        let folder = TestFolder::new();
        fs::create_dir(folder.control().parent().unwrap()).unwrap();
        let listener = UnixListener::bind(folder.control()).unwrap();
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]).unwrap();
            stream.write_all(answer).unwrap();
        });
        let ran = folder.synward(&["reload"]);
        answering.join().unwrap();
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
        assert!(
            ran.stderr.contains("before it had answered"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn a_process_that_does_not_respond_is_degraded() {
    let folder = TestFolder::new();
    fs::create_dir(folder.control().parent().unwrap()).unwrap();
    let listener = UnixListener::bind(folder.control()).unwrap();
    let ran = folder.synward(&["status"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (3, ""));
    let pid = std::process::id();
    assert!(
        ran.stderr
            .contains(&format!("runs (pid {pid}), but did not answer"))
    );
    assert_eq!(ran.stderr.lines().count(), 1);

    // A response that is not JSON may come from another version.
    let answering = std::thread::spawn(move || {
        let mut stream = loop {
            // The first connection in the queue is that of the program that timed out.
            let (mut stream, _) = listener.accept().unwrap();
            match stream.read(&mut [0; 1024]) {
                Ok(_) if stream.write_all(b"hello\n").is_ok() => break stream,
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            }
        };
        stream.flush().unwrap();
    });
    let ran = folder.synward(&["status"]);
    assert_eq!(ran.code, 3);
    assert!(
        ran.stderr.contains("is not one of synward's"),
        "{}",
        ran.stderr
    );
    answering.join().unwrap();
}
