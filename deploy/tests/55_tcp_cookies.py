"""Without a valid cookie a client gets no connection: random ACKs, and altered, expired and replayed cookies."""

import json
import os
import socket
import subprocess
import time

from segments import ACK, LINUX, PSH, SPOOFED, SYN, WINDOWS, Segment, Wire, padded_timestamps, shake_hands
from story import BENCH, FAST, FLOOD_SOURCES, PORT, SERVER, receive, story, wait_until

# The XDP program checks every ACK, and both responders make the same cookie.
ONCE = "xdp"
BESIDE_OTHERS = True
EPOCH = 32
RANDOM = 10_000 if FAST else 100_000
# At most so many of them are valid by chance: 0.005 are expected.
LUCKY = 2


def run(lab, synward):
    count_clients_syns(lab)
    wire = Wire(lab, "client", "client0")
    listeners = [lab.listen(family) for family in (4, 6)]
    old, made = cookies_of_an_epochs_end(wire)
    random_acks(lab, synward)
    altered_cookies(lab, synward, wire)
    replayed_acks(lab, synward, wire, listeners)
    expired_cookies(lab, synward, wire, old, made)
    for listener in listeners:
        listener.close()


def count_clients_syns(lab):
    """Counts the SYNs that the server receives from now on, without those of synward itself."""
    rules = """
        table inet cookies {
            counter syns {}
            chain arriving {
                type filter hook prerouting priority raw;
                ip saddr 192.0.2.1 accept
                ip6 saddr 2001:db8:5::1 accept
                iifname "server0" tcp flags & (syn|ack) == syn counter name syns
            }
        }"""
    with lab.inside("server"):
        subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


def clients_syns(lab):
    listing = json.loads(lab.run("server", "nft", "-j", "list", "counter", "inet", "cookies", "syns"))
    return next(entry["counter"]["packets"] for entry in listing["nftables"] if "counter" in entry)


class Change:
    """What changes in synward's metrics and at the server."""

    def __init__(self, lab, synward):
        self.lab, self.synward = lab, synward
        self.before = self.now()

    def now(self):
        metric = self.synward.metric
        return {
            "valid": metric("cookies_total", result="valid"),
            "invalid": metric("cookies_total", result="invalid"),
            "expired": metric("cookies_total", result="expired"),
            "dropped as invalid": metric("drops_total", reason="invalid_cookie"),
            "dropped as expired": metric("drops_total", reason="expired_cookie"),
            "handed over": metric("handoffs_total"),
            "SYNs at the server": clients_syns(self.lab),
        }

    def so_far(self):
        now = self.now()
        return {name: int(now[name] - self.before[name]) for name in now if now[name] != self.before[name]}

    def is_exactly(self, what, **expected):
        """Waits until the counters have changed by exactly this, and no others have."""
        if self.synward.responder == "none":
            return
        expected = {name.replace("_", " "): number for name, number in expected.items() if number}
        expected = {name.replace("SYNs at", "SYNs at the"): number for name, number in expected.items()}
        try:
            wait_until(what, lambda: self.so_far() == expected)
        except TimeoutError:
            raise AssertionError(f"{what}: {self.so_far()} instead of {expected}") from None
        assert self.synward.metric("openings") == 0, f"{what}: an opening"


def random_acks(lab, synward):
    for family in 4, 6:
        host = f"[{SERVER[family]}]" if family == 6 else SERVER[family]
        for stamped in (), ("--timestamps",):
            change = Change(lab, synward)
            with lab.inside("client"):
                subprocess.run(
                    [BENCH, "flood", "--interface", "client0", "--destination", f"{host}:{PORT}", "--sources",
                     FLOOD_SOURCES[family], "--kind", "ack", "--count", str(RANDOM), "--rate", "50k", *stamped],
                    check=True, stdout=subprocess.DEVNULL)
            if not stamped and synward.responder != "none":
                # One in 22 million is valid by chance, and then opens a connection.
                checked = lambda: sum(change.so_far().get(name, 0) for name in ("valid", "invalid", "expired"))
                wait_until("all random ACKs are checked", lambda: checked() == RANDOM)
                lucky = RANDOM - change.so_far().get("invalid", 0)
                assert lucky <= LUCKY, f"{lucky} of {RANDOM} random ACKs were valid"
                if lucky:
                    print(f"{lucky} random ACKs were valid by chance")
                    continue
            change.is_exactly(f"random ACKs, IPv{family} {stamped}", invalid=RANDOM, dropped_as_invalid=RANDOM)
    print(f"4 times {RANDOM} random ACKs opened nothing")


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
    change.is_exactly("altered cookies", invalid=sent, dropped_as_invalid=sent)
    print(f"{sent} ACKs with one altered field were refused")


def cookies_of_an_epochs_end(wire):
    """Cookies made just before their epoch ends, so that they expire soon; and the epoch."""
    while time.time() % EPOCH < EPOCH - 4:
        time.sleep(0.1)
    epoch = time.time() // EPOCH
    cookies = [shake_hands(wire, syn_of(family, options, 3100 + number))
               for family in (4, 6) for number, options in enumerate((LINUX, WINDOWS))]
    assert time.time() // EPOCH == epoch, "this machine took seconds for four handshakes"
    return cookies, epoch


def expired_cookies(lab, synward, wire, cookies, made):
    """A cookie is refused from the second epoch after its own on, and counted as expired during that one."""
    wait = (made + 2) * EPOCH + 1 - time.time()
    assert wait > -EPOCH + 5, "the cookies are too old to be counted as expired"
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
        server = server_end(listener, client)
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


def server_end(listener, client):
    """The server's end of a client's connection. A random ACK that was valid has one as well, which comes first."""
    while True:
        server, peer = listener.accept()
        if peer[:2] == client.getsockname()[:2]:
            server.settimeout(10)
            return server
        server.close()


def exactly_one(synward, change):
    """One cookie was valid, and one SYN reached the server."""
    if synward.responder == "none":
        return
    seen = change.so_far()
    wanted = {"valid": 1, "handed over": 1, "SYNs at the server": 1}
    assert seen == wanted, f"{seen} instead of {wanted}"


story(run, lab=("--no-nginx",))
