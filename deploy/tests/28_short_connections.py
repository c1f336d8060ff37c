"""Connections that their server resets at once fill the flow table many times over: those that have ended give way, and other clients
are served.

With `--full` none is refused at 20,000 a second, for half a minute in the default table and for a minute in one that is full after
25 s. SYNWARD_RATE sets another rate, to find the highest."""

import os
import sys

from churn import Requests
from story import FULL, PORT, story, total, wait_until

# Workers open connections, whoever has answered their SYNs.
ONCE = "xdp"
# With --full it fills the cores.
BESIDE_OTHERS = "usual"
RATE = int(os.environ.get("SYNWARD_RATE", 20_000))
# Capacities, and how many connections. A table takes a tenth of its capacity a second: one for RATE, with some room. The smallest
# takes a hundred, so that a part of a burst is refused. Who meets it full then waits for some seconds.
SMALLEST = 1024
TABLES = [(1 << 20, 30 * RATE), (13 * RATE, 60 * RATE)] if FULL else [(SMALLEST, 2_500)]
# Accepts and resets: a socket inherits its listener's SO_LINGER.
SERVER_PROGRAM = f"""
import socket, struct
listener = socket.create_server(("192.0.2.10", {PORT}), backlog=4096)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
while True:
    listener.accept()[0].close()
"""


def run(lab, synward):
    server = lab.start("server", "resets", sys.executable, "-c", SERVER_PROGRAM)
    for capacity, count in TABLES:
        synward.start(appliance=f"[flows]\ncapacity = {capacity}")
        short_connections(lab, synward, capacity, count)
        synward.stop()
    assert server.running()


def short_connections(lab, synward, capacity, count):
    before, memory = synward.metrics(), synward.process and synward.process.memory()
    with Requests(lab, pause=0.02) as requests:
        flood = lab.flood(4, PORT, 300, "--kind", "handshake", "--rate", str(RATE), "--count", str(count), "--batch", "16")
        flood.wait(330)
        requests.go_on(5, 30)
    report = flood.json()
    requests.check()
    assert not requests.failures, requests.failures[:5]
    if not synward.process:
        return
    wait_until("no opening waits", lambda: synward.metric("openings") == 0)
    after = synward.metrics()
    names = {dict(labels)["result"] for name, labels in after if name == "synward_handoffs_total"}
    results = {name: total(after, "handoffs_total", result=name) - total(before, "handoffs_total", result=name) for name in names}
    made, proven = results["established"] - requests.count, report["answers"]["acknowledged"]
    print(f"capacity {capacity}: {proven} handshakes in {report['seconds']:.1f} s ({proven / report['seconds']:.0f} a second), {made:.0f}"
          f" handed over, {total(after, 'flow_table_used'):.0f} in the table; {requests.count} requests of another client, none failed;"
          f" memory grew by {synward.process.memory() - memory >> 10} KiB;",
          ", ".join(f"{number:.0f} {name}" for name, number in sorted(results.items()) if number))
    if capacity == SMALLEST:
        assert results["table_full"], "too few connections to fill the table"
        return
    refused = {name: results[name] for name in ("table_full", "openings_full", "server_limit", "source_limit") if results[name]}
    assert not refused, refused
    # Rings of a busy machine lose some ACKs, which clients would send again.
    assert made > 0.95 * proven, f"{proven - made:.0f} of {proven} connections were not handed over"


story(run, start=False)
