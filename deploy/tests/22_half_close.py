"""Either end can close its direction and still receive, also after a silence that is longer than `closing_seconds`.

With `--full` with each handoff."""

import hashlib
import os
import socket
import threading
import time

from handoffs import HANDOFFS, each_handoff
from story import FULL, receive_all

# A spliced connection does not depend on who answered its SYN.
ONCE = "xdp"
BESIDE_OTHERS = True
DATA = os.urandom(3 << 20)
# Seconds; flows that have ended are forgotten after one, and the sweep takes a moment.
SILENCE = 4


def run(lab, synwards):
    pairs = []
    for family in 4, 6:
        client, server = lab.pair(family)
        pairs.append((client, server))
        client, server = lab.pair(family)
        pairs.append((server, client))
    for first, second in pairs:
        closes(first, second)
    time.sleep(SILENCE)
    for first, second in pairs:
        receives(first, second)
    synwards[-1].carried(4)


def closes(first, second):
    """The first end sends data and a FIN; the second receives both."""
    first.sendall(b"that is all from me")
    first.shutdown(socket.SHUT_WR)
    assert receive_all(second) == b"that is all from me"


def receives(first, second):
    """Only now the second end sends its data."""
    with first, second:
        sender = threading.Thread(target=lambda: (second.sendall(DATA), second.shutdown(socket.SHUT_WR)))
        sender.start()
        received = receive_all(first)
        sender.join()
        assert len(received) == len(DATA) and digest(received) == digest(DATA), f"{len(received)} bytes arrived"


def digest(data):
    return hashlib.sha256(data).hexdigest()


each_handoff(run, HANDOFFS if FULL else ("splice",), appliance="[flows]\ncapacity = 4096\nclosing_seconds = 1")
