"""A log that nobody reads any more, or that cannot be written, costs lines and nothing else: synward serves, answers commands at
once, reloads, and stops. Once the log is read again, it says how many lines were lost."""

import fcntl
import os
import signal
import subprocess
import time

from story import FULL, PATIENCE, START, SYNWARD, receive, story, wait_until

BESIDE_OTHERS = True
# The log does not depend on who answers SYNs.
ONCE = "xdp"
# linux/fcntl.h
F_SETPIPE_SZ = 1031
# Seconds that nine commands may take on a busy machine, and the stop: half a second is what the end of the program waits for the
# log. A log that blocked would block for ever.
AT_ONCE = 15


def run(lab, synward):
    synward.configure()
    pipe = lab.folder / "log.pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    serves_unread(lab, synward, f'2>"{pipe}"', lambda: os.close(reader))
    print("the reader of the log went away")
    serves_unread(lab, synward, '2>/dev/full')
    print("the log was written to a full disk")
    serves_unread(lab, synward, '2>&-')
    print("there was no log")

    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, F_SETPIPE_SZ, 4096)
    serves_unread(lab, synward, f'2>"{pipe}"')
    os.close(reader)
    print("the pipe was full")
    if FULL:
        a_stopped_reader_goes_on(lab, synward, pipe)


def a_stopped_reader_goes_on(lab, synward, pipe):
    log = lab.folder / "read.log"
    both = os.open(pipe, os.O_RDWR)
    fcntl.fcntl(both, F_SETPIPE_SZ, 4096)
    with open(log, "wb") as file:
        cat = subprocess.Popen(["cat", pipe], stdout=file)
    try:
        serves_unread(lab, synward, f'2>"{pipe}"', lambda: cat.send_signal(signal.SIGSTOP),
                      lambda: cat.send_signal(signal.SIGCONT), log)
        os.close(both)
        cat.wait(PATIENCE)
    finally:
        # It ends also if it is still stopped.
        cat.kill()
        cat.wait()
    print("the reader was stopped, and went on")


def serves_unread(lab, synward, redirection, go_away=lambda: None, come_back=None, log=None):
    command = f'exec "$0" run --config "$1" {redirection}'
    process = lab.start("edge", "synward", "sh", "-c", command, SYNWARD, synward.file)
    wait_until("synward serves", lambda: synward.command("status")[0] == 0, START)
    old, server = lab.pair()
    go_away()
    began = time.monotonic()
    # Each change of the mode is a line of the log, and each reload.
    for _ in range(3):
        for mode in "monitor", "always":
            synward.mode(mode)
        synward.succeed("reload")
        os.kill(process.pid, signal.SIGHUP)
    if come_back:
        # More than the queue and the pipe hold (`CAPACITY`).
        for number in range(1200):
            synward.mode(("monitor", "always")[number % 2])
    took = time.monotonic() - began
    new, other = lab.pair()
    for client, accepted in ((old, server), (new, other)):
        client.sendall(b"hello")
        assert receive(accepted, 5) == b"hello"
        client.close()
        accepted.close()
    # A worker that did not run for a second is degraded for a moment.
    wait_until("nothing is wrong", lambda: synward.command("status")[0] == 0)
    if come_back:
        come_back()
        synward.succeed("reload")
        wait_until("the log says what was lost", lambda: " log lines were lost" in log.read_text())
    else:
        assert took < AT_ONCE, f"the commands took {took:.1f} s"
    assert process.running(), "synward ended"
    began = time.monotonic()
    assert process.stop(seconds=60) == 0, "synward did not stop cleanly"
    took = time.monotonic() - began
    assert took < AT_ONCE, f"the stop took {took:.1f} s"


story(run, start=False)
