"""A device that restarts begins with the same source port and ISN. Its next connection, a moment after the last, carries data like
the first one, and the captured first segment of the last one delivers nothing a second time.

With `--full` with each handoff."""

import itertools

from handoffs import each_handoff
from segments import ACK, FIN, LINUX, PSH, RST, SERVER_MAC, SPOOFED, SYN, WINDOWS, Segment, Wire, answer_to, shake_hands
from story import FULL, PORT, SERVER, receive, story

BESIDE_OTHERS = True
ISN = 6510


def run(lab, synward):
    same_isn(lab, Wire(lab, "client", "client0"), synward.responder != "none")


def behind(lab, synwards):
    """With `local` and `forward`, where the kernel has the connections."""
    is_local = synwards[0].settings["handoff"] == "local"
    same_isn(lab, Wire(lab, "client", "client0", SERVER_MAC if is_local else None), True)


def same_isn(lab, wire, is_checked):
    for number, (family, options) in enumerate(itertools.product((4, 6), (LINUX, WINDOWS))):
        with lab.listen(family) as listener:
            syn = Segment(SPOOFED[family], 43_000 + number, SERVER[family], PORT, seq=ISN, flags=SYN, options=options)
            last = None
            # The third follows one that the server has closed first: it is in TIME_WAIT.
            for words, end in (b"first", reset), (b"again", close_at_server), (b"third", reset):
                ack = connection(wire, listener, syn, words, end)
                assert last is None or ack.ack != last.ack, "both handshakes have the same numbers"
                last = ack
            if not is_checked:
                continue
            wire.send(last.but(flags=ACK | PSH, payload=b"replay"))
            nothing_accepted(listener)


def connection(wire, listener, syn, words, end):
    """A connection that carries data. Returns its first ACK."""
    wire.forget()
    ack = handshake(wire, syn)
    wire.send(ack.but(flags=ACK | PSH, payload=words))
    server, _ = listener.accept()
    with server:
        assert receive(server, len(words)) == words
        end(wire, server, ack.but(seq=ack.seq + len(words)))
    return ack


def handshake(wire, syn):
    """The client's ACK. A TIME_WAIT challenges its SYN first, which it answers with a RST (RFC 9293 §3.10.7.3)."""
    wire.send(syn)
    answer = wire.see(lambda segment: segment.answers(syn))
    if answer.flags & (SYN | ACK) != SYN | ACK:
        wire.forget()
        wire.send(syn.but(seq=answer.ack, flags=RST, options=b""))
        return shake_hands(wire, syn)
    ack = answer_to(syn, answer)
    wire.send(ack)
    return ack


def reset(wire, server, last):
    wire.send(last.but(flags=RST | ACK))
    try:
        assert server.recv(1) == b"", "the connection goes on"
    except ConnectionResetError:
        pass


def close_at_server(wire, server, last):
    wire.forget()
    server.close()
    fin = wire.see(lambda segment: segment.answers(last) and segment.flags & FIN)
    end = last.but(ack=fin.seq + 1, flags=FIN | ACK)
    wire.send(end)
    assert wire.see(lambda segment: segment.answers(last) and segment.ack == (end.seq + 1) & 0xFFFFFFFF)


def nothing_accepted(listener):
    listener.settimeout(0.3)
    try:
        taken, address = listener.accept()
        taken.close()
        raise AssertionError(f"the replay opened a connection from {address}")
    except TimeoutError:
        pass


story(run)
if FULL:
    each_handoff(behind, ("local", "forward"))
