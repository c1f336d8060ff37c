"""Every attack at once: SYNs, ACKs with bad cookies, forged segments into living connections, handshakes with a silent server from one
address and from ten thousand, clients that send a byte a second. Meanwhile 200 requests a second to three services succeed, 100
long connections live, and memory stays flat.

With `--full` for a minute; SYNWARD_EVERYTHING_SECONDS sets another time."""

import os
import random
import signal
import sys
import time

from background import Work
from segments import ACK, FIN, LINUX, PSH, RST, SYN, Segment, Wire, padded_timestamps, shake_hands
from story import BENCH, CLIENT, FULL, PORT, SERVER, receive, story, talk, wait_until

# The worker opens what the handshakes ask for, whoever has answered them.
ONCE = "xdp"
SECONDS = int(os.environ.get("SYNWARD_EVERYTHING_SECONDS", 60 if FULL else 4))
QUIET_SECONDS = min(SECONDS, 10)
REQUESTS_A_SECOND = 200
LONG, SLOW = 100, 20
ANSWERING, SILENT = 9001, 9002
SERVICES = f"""
[[service]]
name = "tls"
addresses = ["192.0.2.10", "2001:db8:5::10"]
ports = [443]

[[service]]
name = "answers"
addresses = ["192.0.2.10", "2001:db8:5::10"]
ports = [{ANSWERING}]

[[service]]
name = "silent"
addresses = ["192.0.2.10", "2001:db8:5::10"]
ports = [{SILENT}]
"""
# Answers a request of whatever kind, and closes. It has patience: a client may have to send its request again.
ANSWERING_PROGRAM = f"""
import socket, threading
listener = socket.create_server(("::", {ANSWERING}), family=socket.AF_INET6, backlog=1024, dualstack_ipv6=True)
def answer(connection):
    try:
        connection.settimeout(60)
        connection.recv(1000)
        connection.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n")
    except OSError:
        pass
    connection.close()
while True:
    threading.Thread(target=answer, args=listener.accept()[:1], daemon=True).start()
"""
# Name, destination, sources, and the rest of the command line of each generator.
FLOODS = [
    ("syns", (4, 80), "10.0.0.0/9", "--kind", "mixed", "--rate", "100k"),
    ("stamped", (6, 443), "2001:db8:f::/48", "--kind", "ack", "--timestamps", "--rate", "20k"),
    ("handshakes", (4, SILENT), "10.200.0.0/18", "--kind", "handshake", "--rate", "500", "--batch", "1"),
]


def run(lab, synward):
    answering = lab.start("server", "answering", sys.executable, "-c", ANSWERING_PROGRAM)
    lab.run("server", "nft", "add table inet silent; add chain inet silent in { type filter hook input priority 0; }; "
                             f"add rule inet silent in tcp dport {SILENT} drop")
    synward.start()
    quiet = requests(lab, QUIET_SECONDS)
    pairs = [lab.pair((4, 6)[number % 2]) for number in range(LONG + SLOW)]
    with Living(pairs[:LONG], pairs[LONG:]) as living, Forger(lab, pairs[:LONG]) as forger, Newcomer(lab) as newcomer:
        floods = [flood(lab, *each) for each in FLOODS]
        if synward.process:
            wait_until("all floods arrive", lambda: synward.metric("cookies_total", result="valid", service="silent") > newcomer.count + 100
                       and synward.metric("cookies_total", result="invalid", service="web")
                       and synward.metric("cookies_total", result="invalid", service="tls"), 60)
        watch = Memory(synward)
        attacked = requests(lab, SECONDS, watch.look)
        sent = {each.name: each.report()["sent"] for each in floods}
    living.check()
    assert answering.running()
    show(quiet, attacked, living, forger, newcomer, sent, watch)
    assert sum(attacked["failures"].values()) == 0, attacked["failures"]
    assert attacked["answered"] == attacked["attempted"]
    if not synward.process:
        return
    assert watch.growth() < 4 << 20, f"memory grew by {watch.growth() >> 10} KiB"
    code, said = synward.command("status")
    assert code == 0, said
    print("drops:", ", ".join(f"{dict(labels)['reason']} {number:.0f}" for (name, labels), number in sorted(synward.metrics().items())
                              if name == "synward_drops_total" and number))
    lines = synward.process.output().count("\n")
    assert lines < 100 + SECONDS, f"{lines} lines in the log"


def flood(lab, name, destination, sources, *options):
    family, port = destination
    host = f"[{SERVER[family]}]" if family == 6 else SERVER[family]
    return lab.start("client", name, BENCH, "flood", "--interface", "client0", "--destination", f"{host}:{port}",
                     "--sources", sources, "--seconds", "600", "--json", *options)


def requests(lab, seconds, meanwhile=lambda: None):
    """The report of requests to all services, over both families."""
    targets = [f"{host}:{port}" for port in (80, 443, ANSWERING) for host in (SERVER[4], f"[{SERVER[6]}]")]
    process = lab.start("client", "requests", BENCH, "connect", *targets, "--rate", str(REQUESTS_A_SECOND), "--data", "200",
                        "--seconds", str(seconds), "--json")
    deadline = time.monotonic() + seconds + 60
    while process.running() and time.monotonic() < deadline:
        meanwhile()
        time.sleep(0.5)
    assert process.stop(signal.SIGINT) == 0, process.output()
    return process.json()


def show(quiet, attacked, living, forger, newcomer, sent, watch):
    for name, report in ("quiet", quiet), ("attacked", attacked):
        times = report["until_answered"]
        print(f"{name}: {report['answered']} of {report['attempted']} requests answered, {report['syn_retries']} SYNs sent again, ms: "
              + ", ".join(f"{part} {times[part] / 1e3:.2f}" for part in ("p50", "p90", "p99", "p999", "max") if part in times))
    print(f"sent: {sent}, {forger.count} forged segments, {newcomer.count} handshakes of one address")
    print(f"{LONG} long connections: {living.rounds} rounds, the slowest {living.slowest * 1e3:.0f} ms; {SLOW} slow clients;"
          f" memory {[look >> 10 for look in watch.looks[::max(1, len(watch.looks) // 8)]]} KiB")


class Living(Work):
    """Data both ways on long connections, and a byte from each slow client, every second."""

    def __init__(self, long, slow):
        super().__init__()
        self.long, self.slow, self.rounds, self.slowest = long, slow, 0, 0.0

    def work(self):
        while not self.over.wait(1):
            for number, (client, server) in enumerate(self.long):
                begun = time.monotonic()
                talk(client, server, b"long connection %d" % number)
                self.slowest = max(self.slowest, time.monotonic() - begun)
            for client, server in self.slow:
                client.sendall(b".")
                assert receive(server, 1) == b"."
            self.rounds += 1


class Forger(Work):
    """RSTs, FINs and data in the name of the long connections' clients, with numbers that are guessed."""

    def __init__(self, lab, long):
        super().__init__()
        self.wire, self.count = Wire(lab, "client", "client0"), 0
        self.ports = [((4, 6)[number % 2], client.getsockname()[1]) for number, (client, _) in enumerate(long)]

    def work(self):
        while not self.over.wait(0.02):
            for family, port in random.sample(self.ports, 10):
                flags, payload = random.choice([(RST, b""), (RST | ACK, b""), (FIN | ACK, b""), (ACK | PSH, b"forged")])
                options = random.choice([b"", padded_timestamps(random.getrandbits(32), random.getrandbits(32))])
                self.wire.send(Segment(CLIENT[family], port, SERVER[family], PORT, random.getrandbits(32), random.getrandbits(32),
                                       flags, options=options, payload=payload))
                self.count += 1


class Newcomer(Work):
    """Handshakes of one address with the silent server, each with a request that has to be held."""

    def __init__(self, lab):
        super().__init__()
        self.wire, self.count = Wire(lab, "client", "client0"), 0
        self.wire.only(f"tcp and src host {SERVER[4]} and dst host 10.250.0.1")

    def work(self):
        while not self.over.wait(0.01):
            syn = Segment("10.250.0.1", 1024 + self.count % 60_000, SERVER[4], SILENT, random.getrandbits(32), flags=SYN, options=LINUX)
            self.wire.send(shake_hands(self.wire, syn).but(flags=ACK | PSH, payload=b"request"))
            self.count += 1


class Memory:
    """synward's resident memory over the time of the attack."""

    def __init__(self, synward):
        self.synward, self.looks = synward, []

    def look(self):
        if self.synward.process:
            self.looks.append(self.synward.process.memory())

    def growth(self):
        """From a quarter of the time on, in bytes."""
        return max(self.looks) - self.looks[len(self.looks) // 4]


story(run, start=False, ports=[80, PORT], service=SERVICES)
