"""The valid ACK of a handshake opens one connection. A replay changes nothing while the connection is open, and opens nothing
afterwards: not with data either, and not after synward was killed and started again.

With `--full` also behind an edge (`forward`)."""

import itertools
import signal
import time

from cookie_counters import replays_dropped
from handoffs import each_handoff
from segments import ACK, PSH, SERVER_MAC, Wire
from story import FULL, PATIENCE, PORT, local_story, talk, wait_until
from transfer import timestamps

# The programs at XDP and TC check ACKs; no responder sees them.
ONCE = "xdp"
BESIDE_OTHERS = True
COMBINATIONS = list(itertools.product((4, 6), (True, False)))


def run(lab, synward):
    if synward.responder == "none":
        return
    once_each(lab, [synward], Wire(lab, "client", "client0", SERVER_MAC))


def behind_an_edge(lab, synwards):
    once_each(lab, synwards, Wire(lab, "client", "client0"))


def once_each(lab, synwards, wire):
    """The last synward is that of the server."""
    synward, over, made = synwards[-1], [], time.monotonic()
    for family, stamped in COMBINATIONS:
        timestamps(lab, stamped)
        with lab.listen(family) as listener:
            for first in "client", "server":
                ack = connection(lab, synward, wire, listener, family, first)
                if first == "server":
                    in_time_wait(lab, synward, wire, listener, ack)
                refused(synward, wire, listener, ack, made)
                over.append((family, ack))
    synward.carried(2 * len(COMBINATIONS))
    after_a_kill(lab, synwards, wire, over, made)


def connection(lab, synward, wire, listener, family, first):
    """Opens a connection, replays its first ACK without effect, and closes it. Returns that ACK."""
    wire.forget()
    client = lab.connect(family)
    server, _ = listener.accept()
    port = client.getsockname()[1]
    ack = wire.see(lambda segment: (segment.sport, segment.flags, segment.payload) == (port, ACK, b""))
    before = counted(synward)
    for number in range(3):
        wire.send(ack)
        talk(client, server, b"words %d" % number)
    assert counted(synward) == before, f"while the connection is open: {before}, then {counted(synward)}"
    one, other = (client, server) if first == "client" else (server, client)
    one.close()
    assert other.recv(1) == b""
    other.close()
    last = "nothing" if first == "client" else "TIME_WAIT"
    wait_until(f"the server's socket is: {last}", lambda: state(lab, port) == last)
    return ack


def refused(synward, wire, listener, ack, made):
    for segment in ack, ack.but(flags=ACK | PSH, payload=b"once more"):
        before, dropped = counted(synward), replays_dropped(synward, made)
        wire.send(segment)
        wait_until("the replay is counted", lambda: replays_dropped(synward, made) > dropped)
        established, _, stale = counted(synward)
        assert (established, stale) == (before[0], before[2])
    nothing_accepted(listener)


def in_time_wait(lab, synward, wire, listener, ack):
    """The kernel answers an old duplicate itself; the client's kernel, which has no such connection, then resets it."""
    before, passed = counted(synward), synward.metric("segments_total", fate="passed")
    wire.send(ack)
    wait_until("the replay passes", lambda: synward.metric("segments_total", fate="passed") > passed)
    assert counted(synward) == before, f"in TIME_WAIT: {before}, then {counted(synward)}"
    wait_until("the server has no socket for it", lambda: state(lab, ack.sport) == "nothing")
    nothing_accepted(listener)


def after_a_kill(lab, synwards, wire, over, made):
    """Their cookies are still valid, unless this machine is slow."""
    for one in synwards:
        one.process.stop(signal.SIGKILL)
    for one in reversed(synwards):
        one.start()
    synward = synwards[-1]
    for family, ack in over:
        with lab.listen(family) as listener:
            refused(synward, wire, listener, ack, made)


def counted(synward):
    metrics = [("handoffs_total", {"result": "established"}), ("drops_total", {"reason": "replayed_cookie"}),
               ("handoffs_total", {"result": "stale_reset"})]
    return tuple(synward.metric(name, **labels) for name, labels in metrics)


def nothing_accepted(listener):
    listener.setblocking(False)
    try:
        taken, address = listener.accept()
        taken.close()
        raise AssertionError(f"the replay opened a connection from {address}")
    except BlockingIOError:
        listener.settimeout(PATIENCE)


def state(lab, port):
    """The state of the server's socket for the client's port: /proc/net/tcp."""
    with lab.inside("server"):
        rows = [line.split() for six in ("", "6") for line in open(f"/proc/thread-self/net/tcp{six}")]
    names = {"06": "TIME_WAIT"}
    remote = [row[3] for row in rows if row[2].endswith(f":{port:04X}") and row[1].endswith(f":{PORT:04X}")]
    return names.get(remote[0], remote[0]) if remote else "nothing"


local_story(run)
if FULL:
    each_handoff(behind_an_edge, ("forward",))
