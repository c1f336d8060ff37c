"""`bench connect` through synward opens every connection, receives every answer, and counts both, and every failure."""

import json

from story import BENCH, FULL, PORT, SERVER, story

# The benchmark does not depend on the responder.
ONCE = "xdp"
# With --full it opens more connections.
BESIDE_OTHERS = "usual"
COUNT = 2000 if FULL else 400
RATE = 500
# The least microseconds of a handshake whose SYN is retransmitted.
RETRIED = 900_000


def run(lab, synward):
    addresses = [f"{SERVER[4]}:80", f"[{SERVER[6]}]:80"]
    number = ["--connections", str(COUNT)]

    # At a constant rate, to both families in turn, each with a request.
    report = connect(lab, *addresses, *number, "--rate", str(RATE), "--data", "200")
    succeeded(report, COUNT, answered=COUNT)
    assert report["seconds"] >= (COUNT - 1) / RATE, "faster than the rate"
    assert report["until_connected"]["max"] >= RETRIED or not report["syn_retries"]
    assert report["until_answered"]["p50"] >= report["until_connected"]["p50"]

    # Eight at the same time, from few ports, each closed by a FIN after the server's.
    ports = ["--source-ports", "20000-20999"]
    report = connect(lab, addresses[0], *number, "--closed", "8", "--close", "fin", "--data", "18", *ports)
    succeeded(report, COUNT, answered=COUNT)

    # For half a second.
    report = connect(lab, addresses[1], "--rate", "100", "--seconds", "0.5")
    succeeded(report, 50, answered=0)
    synward.carried(2 * COUNT)

    # A server's refusal is a failure with its own name; through synward it comes after the handshake.
    report = connect(lab, f"{SERVER[4]}:{PORT}", "--connections", "20", "--rate", "100", "--data", "18")
    assert report["attempted"] == 20 and report["answered"] == 0, report
    reasons = {"connect: ECONNREFUSED"} if synward.responder == "none" else {"answer: ECONNRESET", "connect: ECONNRESET"}
    assert set(report["failures"]) <= reasons and sum(report["failures"].values()) == 20, report

    # So is a SYN that nobody answers.
    report = connect(lab, "10.0.0.1:80", "--connections", "5", "--rate", "100", "--patience", "0.3")
    assert report["failures"] == {"connect: given up": 5} and report["established"] == 0, report


def connect(lab, *arguments):
    return json.loads(lab.run("client", BENCH, "connect", *arguments, "--json"))


def succeeded(report, count, answered):
    print(report)
    assert report["attempted"] == report["established"] == count and not report["failures"], report
    assert report["answered"] == answered, report


story(run)
