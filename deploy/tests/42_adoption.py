"""synward starts on a live path: existing downloads, uploads and idle connections continue."""

import hashlib
import os
import threading
import time

from story import receive, receive_all, story

# Connections are adopted segment by segment; no responder sees them.
ONCE = "xdp"
BESIDE_OTHERS = True
ADOPT = 3
# Long enough to be active before the start, during adoption and afterwards.
SECONDS = 9
STEPS = 90
DATA = os.urandom(1 << 16)


def run(lab, synward):
    transfers = [Transfer(*lab.pair(family), direction) for family in (4, 6) for direction in ("down", "up")]
    quiet = [lab.pair(4), lab.pair(6)]
    talk(quiet)
    time.sleep(1)
    synward.start()
    # New clients are challenged at once.
    newcomer = lab.pair()
    talk([newcomer])
    synward.carried(1)
    talk(quiet)
    time.sleep(ADOPT + 1)
    assert all(transfer.running() for transfer in transfers), "the transfers ended before the adoption did"
    talk(quiet + [newcomer])
    for transfer in transfers:
        transfer.check()


class Transfer:
    """Data sent in equal steps over some seconds."""

    def __init__(self, client, server, direction):
        self.what = f"{direction}load"
        self.source, self.sink = (server, client) if direction == "down" else (client, server)
        self.digest = None
        self.threads = [threading.Thread(target=self.send), threading.Thread(target=self.receive)]
        for thread in self.threads:
            thread.start()

    def send(self):
        with self.source:
            for _ in range(STEPS):
                self.source.sendall(DATA)
                time.sleep(SECONDS / STEPS)

    def receive(self):
        with self.sink:
            self.digest = hashlib.sha256(receive_all(self.sink)).digest()

    def running(self):
        return any(thread.is_alive() for thread in self.threads)

    def check(self):
        for thread in self.threads:
            thread.join()
        assert self.digest == hashlib.sha256(DATA * STEPS).digest(), f"the {self.what} received other data"


def talk(pairs):
    for client, server in pairs:
        for one, other in (server, client), (client, server):
            one.sendall(b"hello")
            assert receive(other, 5) == b"hello"


story(run, start=False, adopt_seconds=ADOPT)
