"""Connections continue after the process is killed. After some seconds a splice drops the SYNs of clients or passes them to the
server, as `when_absent` says, until the next process serves them.

With `--full` both policies, a process that is frozen instead, and `local` and `forward`, which need no process."""

import os
import signal
import time

from handoffs import each_handoff
from story import FULL, PATIENCE, receive, talk, wait_until

# Who answers SYNs matters while there is a process: the programs answer for an absent worker.
ONCE = "xdp"
BESIDE_OTHERS = True
# A queue without a heartbeat for so long is without a worker (ABSENT_AFTER).
ABSENT = 4
# Accepted connections, by the port of their client.
kept = {}


def killed(policy):
    def run(lab, synwards):
        is_splice = synwards[0].settings["handoff"] == "splice"
        old = [lab.pair(family) for family in (4, 6)]
        listeners = {family: lab.listen(family) for family in (4, 6)}
        for one in synwards:
            process, one.process = one.process, None
            process.stop(signal.SIGKILL)
        gone = time.monotonic()
        # It is told "connected", and waits for its server to speak.
        early = {family: lab.connect(family) for family in (4, 6)}
        wait_until("nobody is there for some seconds", lambda: time.monotonic() > gone + ABSENT + 1.5)
        for pair in old:
            talk(*pair)
        served = {}
        for family in 4, 6:
            if is_splice and policy == "drop":
                assert lab.hears_nothing(family), f"IPv{family}: answered"
            else:
                served[family] = during(lab, listeners[family], family)
        for one in reversed(synwards):
            one.start()
        for pair in [*old, *served.values()]:
            talk(*pair)
        for family in 4, 6:
            greeted(listeners[family], early[family])
            late = lab.connect(family)
            greeted(listeners[family], late)
        # A connection that began unchallenged is one from before.
        for pair in served.values():
            talk(*pair)
    return run


def during(lab, listener, family):
    """A connection that is opened without a process."""
    client = lab.connect(family)
    server = accepted(listener, client)
    talk(client, server)
    return client, server


def accepted(listener, client):
    """The server's end. Those of others are kept until they are asked for."""
    port = client.getsockname()[1]
    while port not in kept:
        server, address = listener.accept()
        server.settimeout(PATIENCE)
        kept[address[1]] = server
    return kept.pop(port)


def greeted(listener, client):
    server = accepted(listener, client)
    server.sendall(b"220 lab")
    assert receive(client, 7) == b"220 lab"
    talk(client, server)


def frozen(lab, synwards):
    """Connections that began unchallenged, and have said nothing, go on when the process does."""
    [synward] = synwards
    listeners = {family: lab.listen(family) for family in (4, 6)}
    os.kill(synward.process.pid, signal.SIGSTOP)
    time.sleep(ABSENT + 1.5)
    passed = [(client, accepted(listener, client)) for family, listener in listeners.items()
              for client in (lab.connect(family), lab.connect(family))]
    for pair in passed[::2]:
        talk(*pair)
    os.kill(synward.process.pid, signal.SIGCONT)
    wait_until("they are adopted", lambda: "connections that passed meanwhile are adopted" in synward.process.output())
    for pair in passed:
        talk(*pair)
    for family, listener in listeners.items():
        greeted(listener, lab.connect(family))


each_handoff(killed("pass"), ("splice",), 'when_absent = "pass"', adopt_seconds=5)
if FULL:
    each_handoff(frozen, ("splice",), 'when_absent = "pass"')
    each_handoff(killed("drop"), service='when_absent = "drop"', adopt_seconds=5)
