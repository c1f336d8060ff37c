"""Either end can close its direction and still receive."""

import hashlib
import os
import socket
import threading

from story import receive_all, story

# A spliced connection does not depend on who answered its SYN.
ONCE = "xdp"
BESIDE_OTHERS = True
DATA = os.urandom(3 << 20)


def run(lab, synward):
    for family in 4, 6:
        client, server = lab.pair(family)
        closes_then_receives(client, server)
        client, server = lab.pair(family)
        closes_then_receives(server, client)
    synward.carried(4)


def closes_then_receives(first, second):
    """The first end sends data and a FIN; the second receives both, and only then sends its data."""
    with first, second:
        first.sendall(b"that is all from me")
        first.shutdown(socket.SHUT_WR)
        assert receive_all(second) == b"that is all from me"
        sender = threading.Thread(target=lambda: (second.sendall(DATA), second.shutdown(socket.SHUT_WR)))
        sender.start()
        received = receive_all(first)
        sender.join()
        assert len(received) == len(DATA) and digest(received) == digest(DATA), f"{len(received)} bytes arrived"


def digest(data):
    return hashlib.sha256(data).hexdigest()


story(run)
