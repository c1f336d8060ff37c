"""A captured first segment of a spliced connection opens nothing once the connection is forgotten: not in the same process,
and not in the next one after a kill, or after a stop that leaves nothing."""

import itertools
import signal
import time

from cookie_counters import replays_dropped
from segments import ACK, LINUX, PSH, RST, SPOOFED, SYN, WINDOWS, Segment, Wire, shake_hands
from story import PATIENCE, PORT, SERVER, receive, story, wait_until

# The XDP program checks every ACK.
ONCE = "xdp"
BESIDE_OTHERS = True
WORDS = b"first"


def run(lab, synward):
    if synward.responder == "none":
        return
    wire = Wire(lab, "client", "client0")
    listeners = {family: lab.listen(family) for family in (4, 6)}
    firsts, made = [], time.monotonic()
    for number, (family, options) in enumerate(itertools.product((4, 6), (LINUX, WINDOWS))):
        syn = Segment(SPOOFED[family], 43_500 + number, SERVER[family], PORT, seq=6510, flags=SYN, options=options)
        firsts.append((family, syn, connection(wire, listeners[family], syn)))
    # The flow itself would refuse the segment as an old duplicate. What is tried here is the mark that outlives it.
    wait_until("the flows are forgotten", lambda: synward.metric("flow_table_expired_total") == len(firsts))
    # Their cookies are still valid, unless this machine is slow.
    replayed = lambda: replays_dropped(synward, made)
    refused(wire, listeners, firsts, replayed)
    synward.process.stop(signal.SIGKILL)
    synward.start()
    refused(wire, listeners, firsts, replayed)
    synward.stop()
    synward.start()
    invalid = lambda: synward.metric("drops_total", reason="invalid_cookie")
    refused(wire, listeners, firsts, invalid)
    # Whoever repeats the SYN as well gets another cookie.
    for _, syn, first in firsts:
        assert shake_hands(wire, syn).ack != first.ack
    refused(wire, listeners, firsts, invalid)
    synward.process.stop(signal.SIGKILL)
    synward.start()
    refused(wire, listeners, firsts, invalid)
    for number, family in enumerate((4, 6)):
        # Clients of the new process are served.
        syn = Segment(SPOOFED[family], 43_600 + number, SERVER[family], PORT, seq=6510, flags=SYN, options=LINUX)
        connection(wire, listeners[family], syn)


def connection(wire, listener, syn):
    """A connection that carries data and that its client resets. Returns its first segment with data."""
    ack = shake_hands(wire, syn)
    first = ack.but(flags=ACK | PSH, payload=WORDS)
    wire.send(first)
    server, _ = listener.accept()
    with server:
        assert receive(server, len(WORDS)) == WORDS
        wire.send(ack.but(seq=ack.seq + len(WORDS), flags=RST | ACK))
        try:
            assert server.recv(1) == b"", "the connection goes on"
        except ConnectionResetError:
            pass
    return first


def refused(wire, listeners, firsts, dropped):
    """None of them opens a connection: each is among those that were `dropped`."""
    for family, _, first in firsts:
        before = dropped()
        wire.send(first)
        wait_until("the replay is counted", lambda: dropped() > before)
        listeners[family].setblocking(False)
        try:
            listeners[family].accept()
            raise AssertionError("the replay opened a connection")
        except BlockingIOError:
            listeners[family].settimeout(PATIENCE)


story(run, appliance="[flows]\ncapacity = 4096\nclosing_seconds = 1")
