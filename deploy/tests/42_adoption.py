"""synward starts on a live path: existing downloads, uploads and idle connections continue."""

import hashlib
import os
import threading
import time

from story import receive_all, story, talk, wait_until

# Connections are adopted segment by segment; no responder sees them.
ONCE = "xdp"
BESIDE_OTHERS = True
ADOPT = 3
# Seconds between two steps of a transfer.
STEP = 0.1
DATA = os.urandom(1 << 16)


def run(lab, synward):
    transfers = [Transfer(*lab.pair(family), direction) for family in (4, 6) for direction in ("down", "up")]
    quiet = [lab.pair(4), lab.pair(6)]
    talk_all(quiet)
    time.sleep(1)
    synward.start()
    # New clients are challenged at once.
    newcomer = lab.pair()
    talk_all([newcomer])
    synward.carried(1)
    talk_all(quiet)
    time.sleep(ADOPT + 1)
    talk_all(quiet + [newcomer])
    for transfer in transfers:
        transfer.check()


class Transfer:
    """Data sent in equal steps until `check()`: before the start, during adoption and afterwards."""

    def __init__(self, client, server, direction):
        self.what = f"{direction}load"
        self.source, self.sink = (server, client) if direction == "down" else (client, server)
        self.digest = None
        self.steps, self.enough = 0, threading.Event()
        self.threads = [threading.Thread(target=self.send), threading.Thread(target=self.receive)]
        for thread in self.threads:
            thread.start()

    def send(self):
        with self.source:
            while not self.enough.wait(STEP):
                self.source.sendall(DATA)
                self.steps += 1

    def receive(self):
        with self.sink:
            self.digest = hashlib.sha256(receive_all(self.sink)).digest()

    def check(self):
        before = self.steps
        wait_until(f"the {self.what} continues", lambda: self.steps > before + 10)
        self.enough.set()
        for thread in self.threads:
            thread.join()
        assert self.digest == hashlib.sha256(DATA * self.steps).digest(), f"the {self.what} received other data"


def talk_all(pairs):
    """The server speaks first."""
    for client, server in pairs:
        talk(server, client)


story(run, start=False, adopt_seconds=ADOPT)
