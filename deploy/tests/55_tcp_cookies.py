"""Without a valid cookie a client gets no connection: altered and replayed cookies, and, except with --fast, expired ones."""

import os
import socket
import time

from cookie_counters import Change, count_clients_syns
from segments import ACK, LINUX, PSH, SPOOFED, SYN, WINDOWS, Segment, Wire, padded_timestamps, shake_hands
from story import FAST, PATIENCE, PORT, SERVER, receive, story

# The XDP program checks every ACK, and both responders make the same cookie.
ONCE = "xdp"
BESIDE_OTHERS = True
EPOCH = 32


def run(lab, synward):
    count_clients_syns(lab)
    wire = Wire(lab, "client", "client0")
    listeners = [lab.listen(family) for family in (4, 6)]
    # They expire half a minute later.
    old = None if FAST else cookies_of_an_epochs_end(wire)
    altered_cookies(lab, synward, wire)
    replayed_acks(lab, synward, wire, listeners)
    if old:
        expired_cookies(lab, synward, wire, *old)
    for listener in listeners:
        listener.close()


def syn_of(family, options, port):
    return Segment(SPOOFED[family], port, SERVER[family], PORT, seq=int.from_bytes(os.urandom(4), "big"), flags=SYN,
                   options=options)


def altered_cookies(lab, synward, wire):
    sent = 0
    change = Change(lab, synward)
    for family in 4, 6:
        for number, options in enumerate((LINUX, WINDOWS)):
            good = shake_hands(wire, syn_of(family, options, 3000 + number))
            other = {4: "10.7.0.8", 6: "2001:db8:f::8"}[family]
            bad = [good.but(source=other), good.but(sport=good.sport ^ 1), good.but(dport=80)]
            bad += [good.but(seq=good.seq ^ 1 << bit) for bit in range(32)]
            bad += [good.but(ack=good.ack ^ 1 << bit) for bit in range(32)]
            if times := good.timestamps():
                bad += [good.but(options=padded_timestamps(times[0], times[1] ^ 1 << bit)) for bit in range(32)]
                bad += [good.but(options=b"")]
            else:
                bad += [good.but(options=padded_timestamps(1, 2))]
            for segment in bad:
                wire.send(segment)
                wire.send(segment.but(payload=b"GET / HTTP/1.0\r\n\r\n", flags=ACK | PSH))
            sent += 2 * len(bad)
            # More of them at a time than a veth holds would be lost if nobody takes them.
            change.is_exactly("altered cookies", invalid=sent, dropped_as_invalid=sent)
    change.is_exactly("altered cookies", invalid=sent, dropped_as_invalid=sent)
    print(f"{sent} ACKs with one altered field were refused")


def cookies_of_an_epochs_end(wire):
    """Cookies made just before their epoch ends, so that they expire soon; and the epoch."""
    while True:
        while not EPOCH - 6 <= time.time() % EPOCH < EPOCH - 2:
            time.sleep(0.1)
        epoch = time.time() // EPOCH
        cookies = [shake_hands(wire, syn_of(family, options, 3100 + number))
                   for family in (4, 6) for number, options in enumerate((LINUX, WINDOWS))]
        # Unless this machine took seconds for four handshakes.
        if time.time() // EPOCH == epoch:
            return cookies, epoch


def expired_cookies(lab, synward, wire, cookies, made):
    """A cookie is refused from the second epoch after its own on, and counted as expired during that one."""
    wait = (made + 2) * EPOCH + 1 - time.time()
    assert wait > -EPOCH + 10, "the cookies are too old to be counted as expired"
    time.sleep(max(wait, 0))
    change = Change(lab, synward)
    for cookie in cookies:
        wire.send(cookie)
    change.is_exactly("expired cookies", expired=len(cookies), dropped_as_expired=len(cookies))
    print(f"{len(cookies)} expired cookies were refused and counted as expired")


def replayed_acks(lab, synward, wire, listeners):
    """The ACK of a real client's handshake is replayed: while the connection is open, while it closes, and afterwards."""
    for listener in listeners:
        family = 4 if listener.family == socket.AF_INET else 6
        change = Change(lab, synward)
        wire.forget()
        client = lab.connect(family)
        server, _ = listener.accept()
        server.settimeout(PATIENCE)
        port = client.getsockname()[1]
        # The last segment of the handshake.
        ack = wire.see(lambda segment: segment.sport == port and segment.flags == ACK)
        replays = 300
        for _ in range(replays):
            wire.send(ack)
        for number in range(100):
            word = b"%08d" % number
            client.sendall(word)
            assert receive(server, 8) == word, "the server got something else"
            server.sendall(word)
            assert receive(client, 8) == word, "the client got something else"
            wire.send(ack)
        exactly_one(synward, change)
        client.shutdown(socket.SHUT_WR)
        assert server.recv(1) == b""
        for _ in range(replays):
            wire.send(ack)
        server.close()
        assert client.recv(1) == b""
        client.close()
        for _ in range(replays):
            wire.send(ack)
            wire.send(ack.but(payload=b"spoofed", flags=ACK | PSH))
        time.sleep(0.3)
        exactly_one(synward, change)
        listener.settimeout(0.2)
        try:
            listener.accept()
            raise AssertionError("a replayed ACK opened a second connection")
        except TimeoutError:
            pass
    print("replayed ACKs disturbed nothing and opened nothing")


def exactly_one(synward, change):
    """One cookie was valid, and its SYN reached the server."""
    if synward.responder == "none":
        return
    seen = change.so_far()
    # A worker that does not run for 250 ms sends its SYN again.
    syns = seen.pop("SYNs at the server")
    assert seen == {"valid": 1, "handed over": 1} and syns in (1, 2), f"{seen}, {syns} SYNs at the server"


# Each altered cookie is to be checked.
story(run, lab=("--no-nginx",), service='plain_cookies = "accept"')
