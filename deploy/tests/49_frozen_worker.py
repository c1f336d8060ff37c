"""One worker makes no progress, in the middle of its work: clients are served, `status` names the worker alone and does not accuse
its driver, and when the worker goes on, all is well."""

import json
import os
import socket
import time

from background import Work
from frozen import Frozen
from story import FULL, PATIENCE, story, talk, wait_until

# Which responder a worker has work from does not matter.
ONCE = "xdp"
BESIDE_OTHERS = True
# For longer than a driver may take for a frame.
FROZEN = 2.5


def run(lab, synward):
    if synward.responder == "none":
        return
    pairs = [lab.pair(4), lab.pair(6)]
    for worker in workers(synward) if FULL else workers(synward)[:1]:
        with Clients(lab):
            time.sleep(0.3)
            frozen = Frozen(worker)
        time.sleep(FROZEN)
        # Another that did not run for a second is named for a moment.
        wait_until("status names this worker alone", lambda: [
            "has not sent a heartbeat" in reason for reason in degraded(synward)] == [True])
        for family in 4, 6, 4, 6:
            with_words(lab, family)
        for ends in pairs:
            talk(*ends)
        frozen.go_on()
        wait_until("it serves", lambda: not degraded(synward))
    log = synward.process.output()
    assert "the driver completes nothing" not in log, log
    assert log.count("socket bound") == 4, log


def with_words(lab, family):
    """A client connects and is answered. What arrives at the queue of the frozen worker is lost, and each end that sends it again
    chooses a queue by chance, so a connection may take long: the client tries again with another port."""
    client, server = wait_until("a client is served", lambda: attempt(lab, family), 4 * PATIENCE)
    talk(client, server)
    client.close()
    server.close()


def attempt(lab, family):
    """Both ends of a new connection, or None if it takes more than a few seconds."""
    with lab.listen(family) as listener, lab.inside("client"):
        client = socket.socket(listener.family)
        client.settimeout(8)
        listener.settimeout(8)
        try:
            client.connect(listener.getsockname()[:2])
            server, _ = listener.accept()
        except TimeoutError:
            client.close()
            return None
    for end in client, server:
        end.settimeout(PATIENCE)
    return client, server


def workers(synward):
    """The threads of the workers."""
    process = json.loads(synward.succeed("status", "--json"))["pid"]
    threads = {}
    for thread in map(int, os.listdir(f"/proc/{process}/task")):
        with open(f"/proc/{process}/task/{thread}/comm") as name:
            threads[thread] = name.read()
    return [thread for thread, name in threads.items() if name.startswith("worker")]


def degraded(synward):
    return synward.status()["degraded"]


class Clients(Work):
    """Connections, one after another, until the end of the `with` block."""

    def __init__(self, lab):
        super().__init__()
        self.lab = lab

    def work(self):
        while not self.over.is_set():
            with_words(self.lab, 4)


story(run)
