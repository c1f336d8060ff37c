"""A flood to one address begins: `auto` challenges the clients of that address within a second, and no others; no connection from
before is lost, now or when it is over.

With `--full` for each handoff, and at the end the rate hovers at the threshold for a minute: it is one attack, not many."""

import json
import os
import threading
import time

from background import Work
from segments import LINUX, SERVER_MAC, SYN, Segment, Wire
from story import AT_SERVER, FULL, PATIENCE, PORT, SERVER, Synward, receive, story, talk, wait_until

# Neither the activation nor what passes depends on a responder.
ONCE = "xdp"
# With --full the activation is timed.
BESIDE_OTHERS = "usual"
# A SYN-ACK is out, and the client's ACK does not arrive, on connections to this port.
HALF_OPEN = 9001
# Connections of each kind and family.
EACH = 10 if FULL else 5
THRESHOLD = 1000
HOLD = 10 if FULL else 4
HOVER = 60
CHUNK = os.urandom(1 << 14)
WSCALE = "wscale = 7"


def splice(lab, synward):
    under_attack(lab, synward, synward)


def local(lab, synward):
    if synward.responder != "none":
        lab.free_server()
    under_attack(lab, synward, synward)


def forward(lab, edge):
    server = Synward(lab, edge.responder, "server", "server", interfaces=AT_SERVER, handoff="local", service=WSCALE,
                     ports=edge.settings["ports"])
    if edge.responder != "none":
        lab.free_server()
    server.start()
    under_attack(lab, edge, server, WSCALE)
    server.stop()


def under_attack(lab, synward, accepting, service=""):
    """`accepting`: the one whose clients get their connections, the server's behind an edge."""
    notes = lab.folder / "events"
    notes.unlink(missing_ok=True)
    synward.start(service=f"""{service}
activate_syn_rate = {THRESHOLD}
hold_seconds = {HOLD}
on_event = ["/bin/sh", "-c", 'cat >> "$0"', "{notes}"]""")
    downloads = [Download(*lab.pair(family)) for family in (4, 6) for _ in range(EACH)]
    used = [lab.pair(family) for family in (4, 6) for _ in range(EACH)]
    talk_all(used)
    # Nobody has said a word on these: only their server knows them.
    silent = [lab.pair(family) for family in (4, 6) for _ in range(EACH)]
    if synward.process:
        assert not is_active(synward)
        assert synward.metric("cookies_total", result="sent") == 0, "inactive, yet a client was challenged"

    half = HalfOpen(lab)
    with Syns(lab, synward, lambda seconds: 5 * THRESHOLD * seconds) as syns:
        if synward.process:
            wait_until("the service is active", lambda: is_active(synward))
            # The event comes with the activation. When this story notices it does not matter.
            begin, = json.loads(synward.succeed("status", "--json"))["events"]
            took = begin["time"] - syns.began
            print(f"{synward.settings['handoff']}: active {took:.2f} s after the flood began")
            assert 0 < took < (1 if FULL else 10), f"active {took:.2f} s after the flood began"
        half.complete()
        # The other address is not attacked: its client is not challenged.
        newcomers = [lab.pair(4), lab.pair(6)]
        talk_all(newcomers)
        accepting.carried(1)
        if synward.process and synward.settings["handoff"] == "splice":
            spliced = synward.metric("handoffs_total", handoff="splice", result="established")
            assert spliced == 1, f"{spliced:.0f} new clients were challenged, not that of the attacked address alone"
        before = [download.chunks for download in downloads]
        talk_all(used + half.pairs)
        # Long after the last adopted segment.
        if synward.process:
            wait_until("adoption is over", lambda: adoption_is_over(synward), 60)
        talk_all(silent + used + half.pairs + newcomers)
        wait_until("all downloads go on", lambda: all(d.chunks > n for d, n in zip(downloads, before)))
    syns.check()

    ended = time.monotonic()
    if synward.process:
        wait_until("the service is inactive", lambda: not is_active(synward), HOLD + 60)
        print(f"inactive {time.monotonic() - ended:.1f} s after the flood ended, hold_seconds = {HOLD}")
        assert synward.metric("attacks_total", service="web") == 1
        assert synward.metric("attack_active", service="web") == 0
        events = synward.status()["events"]
        wait_until("the program has both events", lambda: notes.exists() and notes.read_text().count("\n") == 2)
        told = [json.loads(line) for line in notes.read_text().splitlines()]
        assert told == events, f"the program was told {told}, and status says {events}"
        begin, end = events
        assert (begin["event"], end["event"]) == ("attack_begin", "attack_end")
        assert begin["address"] == end["address"] == SERVER[4], events
        assert end["service"] == "web" and end["syns"] > 1000 and end["peak_rate"] >= THRESHOLD, end
    last = lab.pair(4)
    pairs = silent + used + half.pairs + newcomers + [last]
    talk_all(pairs)
    if FULL and synward.process:
        hover(lab, synward)
        talk_all(pairs)
    for download in downloads:
        download.check()
    print(f"{len(downloads)} downloads, {len(used)} used, {len(silent)} silent and {len(half.pairs)} half-open connections live")


def is_active(synward):
    return synward.metric("service_active", service="web") == 1


def hover(lab, synward):
    """A rate below and above the threshold by turns, two seconds each: an attack goes on until half of it."""
    def due(seconds):
        turns, rest = divmod(seconds, 4)
        return THRESHOLD * (4 * turns + 0.9 * min(rest, 2) + 1.1 * max(rest - 2, 0))

    attacks, states = synward.metric("attacks_total", service="web"), [is_active(synward)]
    end = time.monotonic() + HOVER
    with Syns(lab, synward, due) as syns:
        while time.monotonic() < end:
            if states[-1] != (now := is_active(synward)):
                states.append(now)
            time.sleep(0.02)
    syns.check()
    attacks = synward.metric("attacks_total", service="web") - attacks
    print(f"{syns.sent} SYNs in {HOVER} s at the threshold: {attacks:.0f} attack, {len(states) - 1} change of state")
    assert (attacks, states) == (1, [False, True]), f"{attacks:.0f} attacks, active: {states}"


class Syns(Work):
    """SYNs from addresses where nobody is, until the end of the `with` block. `due(seconds)` says how many are sent by then: what
    a busy machine delays is made up for, so that the mean rate is exact."""

    def __init__(self, lab, synward, due):
        super().__init__()
        self.due, self.sent = due, 0
        # When the first one was sent, seconds of Unix time.
        self.began = None
        self.wire = Wire(lab, "client", "client0", SERVER_MAC if synward.role == "server" else None)
        segments = (Segment(f"10.1.{number >> 8}.{number & 255}", 1024 + number, SERVER[4], 80, number, flags=SYN, options=LINUX)
                    for number in range(10_000))
        self.frames = [self.wire.frame(segment) for segment in segments]

    def __exit__(self, *_):
        super().__exit__()
        self.wire.close()

    def work(self):
        start = time.monotonic()
        while not self.over.wait(0.01):
            for number in range(self.sent, due := int(self.due(time.monotonic() - start))):
                self.began = self.began or time.time()
                self.wire.socket.send(self.frames[number % len(self.frames)])
            self.sent = due


def adoption_is_over(synward):
    """Whether so long has passed since the begin of the attack."""
    events = synward.status()["events"]
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
            server.settimeout(PATIENCE)
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


def talk_all(pairs):
    for client, server in pairs:
        talk(client, server)


SETTINGS = {"start": False, "mode": "auto", "ports": [80, 443, PORT, HALF_OPEN]}
story(splice, **SETTINGS)
if FULL:
    story(local, ("--file-mib", "1", "--arms", "none"), role="server", interfaces=AT_SERVER, handoff="local", **SETTINGS)
    story(forward, handoff="forward", appliance='pin = "/sys/fs/bpf/edge"', **SETTINGS)
