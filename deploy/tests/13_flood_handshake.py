"""A flood of clients that complete the handshake and then send nothing: each gets its connection to the server, and real
requests succeed meanwhile."""

import signal
import subprocess

from flood import request
from story import BENCH, FLOOD_SOURCES, FULL, SERVER, story, wait_until

# With AF_XDP a worker answers the SYNs and also opens the connections: the harder case.
ONCE = "afxdp"
CONNECTIONS = 2000 if FULL else 500
PER_SECOND = 500


def run(lab, synward):
    for family in 4, 6:
        before = synward.metric("handoffs_total", result="established")
        host = f"[{SERVER[family]}]" if family == 6 else SERVER[family]
        flood = lab.start(
            "client", "flood", BENCH, "flood", "--interface", "client0", "--destination", f"{host}:80", "--sources",
            FLOOD_SOURCES[family], "--core", "0", "--kind", "handshake", "--rate", str(PER_SECOND), "--count",
            str(CONNECTIONS), "--seconds", "60", "--json")
        outcomes = [request(lab, family, "http") for _ in range(20)]
        try:
            code = flood.wait(90)
        except subprocess.TimeoutExpired:
            flood.stop(signal.SIGINT)
            raise
        assert code == 0, flood.output()
        print(flood.output().strip())
        report = flood.json()
        assert report["answers"]["acknowledged"] >= CONNECTIONS * 0.99, report
        assert all(error is None for _, error in outcomes), outcomes
        if synward.responder != "none":
            wait_until(f"{CONNECTIONS} connections are open, but for one in a hundred", lambda: synward.metric(
                "handoffs_total", result="established") - before >= CONNECTIONS * 0.99)


story(run)
