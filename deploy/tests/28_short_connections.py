"""Connections that their server resets at once fill the flow table many times over: those that have ended are replaced, and other
clients are served.

With `--full` none is refused at 20,000 a second, for half a minute in the default table and for a minute in one with fewer places than
connections. SYNWARD_RATE sets another rate, to find the highest. Clients are frames of packet sockets, the server accepts and resets: both
leave most of both cores to the kernel and to synward, and the CPU time of each is printed."""

import os

from churn import Requests
from story import BENCH, FLOOD_SOURCES, FULL, PORT, SERVER, story, total, wait_until

# Workers open connections, whoever has answered their SYNs.
ONCE = "xdp"
# With --full it fills the cores.
BESIDE_OTHERS = "usual"
RATE = int(os.environ.get("SYNWARD_RATE", 20_000))
# Capacities, and how many connections. A table takes a tenth of its capacity a second, but for one in a million: the second one is
# for RATE, with room. The smallest takes a hundred, so that a part of a burst is refused. Who meets it full waits for some seconds.
SMALLEST = 1024
TABLES = [(1 << 20, 30 * RATE), (17 * RATE, 60 * RATE)] if FULL else [(SMALLEST, 2_500)]
# The lab has two queues, and a veth chooses among them by the sender's core: with two cores, both workers have work.
CORES = ",".join(map(str, sorted(os.sched_getaffinity(0))[:2]))
TARGET = f"{SERVER[4]}:{PORT}"


def run(lab, synward):
    server = lab.start("server", "resets", BENCH, "reset", TARGET, "--cores", CORES)
    wait_until("the server listens", lambda: "ready" in server.output())
    for capacity, count in TABLES:
        synward.start(appliance=f"[flows]\ncapacity = {capacity}")
        short_connections(lab, synward, server, capacity, count)
        synward.stop()
    assert server.running()


def short_connections(lab, synward, server, capacity, count):
    before, memory = synward.metrics(), synward.process and synward.process.memory()
    parts = {"synward": synward.process, "the server": server} if synward.process else {}
    times = {name: process.cpu_time() for name, process in parts.items()}
    with Requests(lab, pause=0.02) as requests:
        flood = lab.start("client", "flood", BENCH, "flood", "--interface", "client0", "--destination", TARGET, "--sources",
                          FLOOD_SOURCES[4], "--kind", "handshake", "--rate", str(RATE), "--count", str(count), "--seconds", "300",
                          "--bursts-from", CORES, "--json")
        assert flood.wait(330) == 0, flood.output()
        # In the smallest table each waits for its place: three seconds.
        requests.go_on(5 if FULL else 2, 30)
    report = flood.json()
    times = {name: process.cpu_time() - times[name] for name, process in parts.items()}
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
          f" memory grew by {synward.process.memory() - memory >> 10} KiB; CPU time of one with softirqs:",
          ", ".join(f"{name} {seconds / max(made, 1) * 1e6:.1f} µs" for name, seconds in times.items()) + ";",
          ", ".join(f"{number:.0f} {name}" for name, number in sorted(results.items()) if number))
    if capacity == SMALLEST:
        assert results["table_full"], "too few connections to fill the table"
        return
    refused = {name: results[name] for name in ("table_full", "openings_full", "server_limit", "source_limit") if results[name]}
    assert not refused, refused
    # Rings of a busy machine lose some ACKs, which clients would send again.
    assert made > 0.95 * proven, f"{proven - made:.0f} of {proven} connections were not handed over"


story(run, start=False)
