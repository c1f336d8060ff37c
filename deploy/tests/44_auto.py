"""A flood begins: `auto` challenges clients within a second, and no connection from before is lost, now or when it is over."""

import json
import os
import threading
import time

from story import PORT, receive, story, wait_until

# Neither the activation nor what passes depends on a responder.
ONCE = "xdp"
BESIDE_OTHERS = True
# A SYN-ACK is out, and the client's ACK does not arrive, on connections to this port.
HALF_OPEN = 9001
EACH = 5
HOLD = 2
CHUNK = os.urandom(1 << 14)


def run(lab, synward):
    notes = lab.folder / "events"
    notes.unlink(missing_ok=True)
    synward.start(service=f"""
activate_syn_rate = 1000
hold_seconds = {HOLD}
on_event = ["/bin/sh", "-c", 'cat >> "$0"', "{notes}"]""")
    downloads = [Download(*lab.pair(family)) for family in (4, 6) for _ in range(EACH)]
    used = [lab.pair(family) for family in (4, 6) for _ in range(EACH)]
    talk(used)
    # Nobody has said a word on these: only their server knows them.
    silent = [lab.pair(family) for family in (4, 6) for _ in range(EACH)]
    if synward.process:
        assert synward.metric("service_active", service="web") == 0
        assert synward.metric("handoffs_total", handoff="splice") == 0, "inactive, yet a connection is spliced"

    half = HalfOpen(lab)
    flood = lab.flood(4, 80, 30, "--rate", "5000")
    if synward.process:
        begun = wait_until("the flood arrives", lambda: synward.metric("syns_total") > 500 and time.monotonic())
        wait_until("the service is active", lambda: synward.metric("service_active", service="web") == 1)
        took = time.monotonic() - begun
        assert took < 3, f"active only {took:.1f} s after the flood began"
    half.complete()
    newcomer = lab.pair(6)
    talk([newcomer])
    synward.carried(1)
    before = [download.chunks for download in downloads]
    talk(used + half.pairs)
    # Long after the last adopted segment.
    if synward.process:
        wait_until("adoption is over", lambda: adoption_is_over(synward), 20)
    talk(silent + used + half.pairs + [newcomer])
    wait_until("all downloads go on", lambda: all(d.chunks > n for d, n in zip(downloads, before)))

    flood.report()
    if synward.process:
        wait_until("the service is inactive", lambda: synward.metric("service_active", service="web") == 0)
        assert synward.metric("attacks_total", service="web") == 1
        assert synward.metric("attack_active", service="web") == 0
        events = json.loads(synward.command("status", "--json")[1])["events"]
        wait_until("the program has both events", lambda: notes.read_text().count("\n") == 2)
        told = [json.loads(line) for line in notes.read_text().splitlines()]
        assert told == events, f"the program was told {told}, and status says {events}"
        begin, end = events
        assert (begin["event"], end["event"]) == ("attack_begin", "attack_end")
        assert end["service"] == "web" and end["syns"] > 1000 and end["peak_rate"] >= 1000, end
    last = lab.pair(4)
    talk(silent + used + half.pairs + [newcomer, last])
    for download in downloads:
        download.check()


def adoption_is_over(synward):
    """Whether so long has passed since the begin of the attack."""
    events = json.loads(synward.command("status", "--json")[1])["events"]
    return time.time() - events[0]["time"] > 6


class HalfOpen:
    """Connections whose server waits for the client's ACK."""

    def __init__(self, lab):
        self.lab = lab
        self.listeners = {family: lab.listen(family, HALF_OPEN) for family in (4, 6)}
        self.rule("add table inet half; add chain inet half out { type filter hook output priority 0; }; "
                  f"add rule inet half out tcp dport {HALF_OPEN} tcp flags & (syn|ack|rst) == ack drop")
        self.clients = [(family, lab.connect(family, HALF_OPEN)) for family in (4, 6) for _ in range(EACH)]
        self.pairs = []

    def rule(self, text):
        self.lab.run("client", "nft", text)

    def complete(self):
        """Lets ACKs pass again, and waits until the server accepts all of them."""
        self.rule("delete table inet half")
        for family, client in self.clients:
            client.sendall(b"late")
        waiting = {(family, client.getsockname()[1]): client for family, client in self.clients}
        for family, _ in self.clients:
            server, address = self.listeners[family].accept()
            server.settimeout(10)
            assert receive(server, 4) == b"late"
            self.pairs.append((waiting.pop((family, address[1])), server))


class Download:
    """Chunks from server to client, ten a second, until `check()`."""

    def __init__(self, client, server):
        self.client, self.server = client, server
        self.chunks, self.enough, self.failure = 0, threading.Event(), None
        self.thread = threading.Thread(target=self.go)
        self.thread.start()

    def go(self):
        try:
            while not self.enough.wait(0.1):
                self.server.sendall(CHUNK)
                assert receive(self.client, len(CHUNK)) == CHUNK
                self.chunks += 1
        except (OSError, AssertionError) as error:
            self.failure = error

    def check(self):
        self.enough.set()
        self.thread.join()
        assert not self.failure, f"a download failed after {self.chunks} chunks: {self.failure}"


def talk(pairs):
    for client, server in pairs:
        for one, other in (client, server), (server, client):
            one.sendall(b"hello")
            assert receive(other, 5) == b"hello"


story(run, start=False, mode="auto", ports=[80, 443, PORT, HALF_OPEN])
