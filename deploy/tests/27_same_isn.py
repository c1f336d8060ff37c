"""A device that restarts counts source port and ISN from the same start. Its next connection, a moment after the last, carries
data like the first, and the captured first segment of the last delivers nothing again."""

import itertools

from segments import ACK, LINUX, PSH, RST, SPOOFED, SYN, WINDOWS, Segment, Wire, shake_hands
from story import PORT, SERVER, receive, story

BESIDE_OTHERS = True
ISN = 6510


def run(lab, synward):
    wire = Wire(lab, "client", "client0")
    for number, (family, options) in enumerate(itertools.product((4, 6), (LINUX, WINDOWS))):
        with lab.listen(family) as listener:
            syn = Segment(SPOOFED[family], 43_000 + number, SERVER[family], PORT, seq=ISN, flags=SYN, options=options)
            last = None
            for words in b"first", b"again":
                ack = connection(wire, listener, syn, words)
                assert last is None or ack.ack != last.ack, "both handshakes have the same numbers"
                last = ack
            if synward.responder == "none":
                continue
            wire.send(last.but(flags=ACK | PSH, payload=b"replay"))
            nothing_accepted(listener)


def connection(wire, listener, syn, words):
    """A connection that carries data and that its client resets. Returns its first ACK."""
    wire.forget()
    ack = shake_hands(wire, syn)
    wire.send(ack.but(flags=ACK | PSH, payload=words))
    server, _ = listener.accept()
    with server:
        assert receive(server, len(words)) == words
        wire.send(ack.but(seq=ack.seq + len(words), flags=RST | ACK))
        try:
            assert server.recv(1) == b"", "the connection goes on"
        except ConnectionResetError:
            pass
    return ack


def nothing_accepted(listener):
    listener.settimeout(0.3)
    try:
        taken, address = listener.accept()
        taken.close()
        raise AssertionError(f"the replay opened a connection from {address}")
    except TimeoutError:
        pass


story(run)
