"""A log that nobody reads any more, or that cannot be written, costs lines and nothing else: synward serves, answers, stops."""

import os

from story import START, SYNWARD, receive, story, wait_until

BESIDE_OTHERS = True
# The log does not depend on who answers SYNs.
ONCE = "xdp"


def run(lab, synward):
    synward.configure()
    pipe = lab.folder / "log.pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    serves_unread(lab, synward, pipe, lambda: os.close(reader))
    print("the reader of the log went away")
    serves_unread(lab, synward, "/dev/full", lambda: None)
    print("the log was written to a full disk")


def serves_unread(lab, synward, log, go_away):
    process = lab.start("edge", "synward", "sh", "-c", 'exec "$0" run --config "$1" 2>"$2"', SYNWARD, synward.file, log)
    wait_until("synward serves", lambda: synward.command("status")[0] == 0, START)
    old, server = lab.pair()
    go_away()
    # Each change of the mode is a line of the log.
    for mode in ("monitor", "always") * 3:
        synward.mode(mode)
    new, other = lab.pair()
    for client, accepted in ((old, server), (new, other)):
        client.sendall(b"hello")
        assert receive(accepted, 5) == b"hello"
        client.close()
        accepted.close()
    code, text = synward.command("status")
    assert code == 0, f"status exits with {code}: {text}"
    assert process.running(), "synward ended"
    assert process.stop() == 0, "synward did not stop cleanly"


story(run, start=False)
