"""Real requests by stock curls during a flood: shared by the flood stories and deploy/quickstart."""

import statistics
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from story import FAST, FULL, SERVER, total

REQUESTS = 1000 if FULL else 100 if FAST else 500
# For the stories that repeat this with another family or protocol.
FEWER_REQUESTS = 1000 if FULL else 100 if FAST else 300
SHORTEST = 10 if FULL else 3 if FAST else 5
# Requests at the same time. AF_XDP loses more SYNs of a flood, so its requests mostly wait to retransmit one.
AT_ONCE = {"xdp": 12, "afxdp": 32}
BODY = b"synward lab\n"
# The client's kernel retransmits a SYN that the flood displaces after 1, 2, 4, … s; curl does not retry.
CURL = ("curl", "--silent", "--show-error", "--max-time", "100", "--write-out", "%{stderr}%{http_code} %{time_total}")


@dataclass
class Outcome:
    """What happened during the flood."""

    seconds: list = field(default_factory=list)  # of each request that succeeded
    failures: list = field(default_factory=list)  # what curl printed for the others
    flood: dict = field(default_factory=dict)  # the generator's report
    answered: dict = field(default_factory=dict)  # SYNs by responder: afxdp, xdp
    syn_received: int = 0  # the most that the server had at the same time
    openings: int = 0  # the most that synward had at the same time
    flood_at_server: int = 0  # packets of the flood that reached the server
    syns_at_server: int = 0
    handed_over: dict = field(default_factory=dict)  # handoffs by result
    growth: int = 0  # of synward's resident memory, bytes
    overflows: dict = field(default_factory=dict)  # how often the server's kernel had no room, or sent a cookie of its own

    def answers_per_second(self):
        return sum(self.answered.values()) / self.flood["seconds"]

    def figures(self):
        """One line for the log."""
        share = self.flood["pps"] / 1e6
        by = ", ".join(f"{by} {count:,.0f}" for by, count in self.answered.items() if count)
        return (
            f"flood of {share:.2f} M SYN/s for {self.flood['seconds']:.1f} s on core 0;"
            f" {self.answers_per_second() / 1e6:.3f} M answered a second ({by or 'none'});"
            f" {len(self.seconds)} of {len(self.seconds) + len(self.failures)} requests,"
            f" median {statistics.median(self.seconds or [0]) * 1e3:.1f} ms, max {max(self.seconds or [0]):.2f} s,"
            f" {sum(second > 0.9 for second in self.seconds)} over 0.9 s;"
            f" server: {self.syn_received} in SYN-RECV, {self.flood_at_server} of the flood,"
            f" {self.syns_at_server} SYNs; {self.openings} openings, {self.handed_over}; memory {self.growth / 1024:+.0f} KiB")


def requests_under_flood(lab, synward, family, scheme="http", requests=REQUESTS, shortest=SHORTEST, at_once=None):
    """Sends requests, one connection each, during a flood at full speed that lasts at least `shortest` seconds."""
    outcome = Outcome()
    lab.count_at_server()
    before, kernel = synward.metrics(), overflows(lab)
    warm_up = [request(lab, family, scheme) for _ in range(20)]
    assert all(error is None for _, error in warm_up), f"before the flood: {warm_up}"

    flood = lab.flood(family, 443 if scheme == "https" else 80, 300)
    start = time.monotonic()
    # In the flood's first seconds synward touches memory for the first time.
    time.sleep(2)
    memory = synward.process.memory() if synward.process else 0
    ended = threading.Event()
    watch = threading.Thread(target=watch_server, args=(lab, synward, ended, outcome))
    watch.start()
    for seconds, error in send_requests(lab, family, scheme, requests, at_once or AT_ONCE.get(synward.responder, 12)):
        if error is None:
            outcome.seconds.append(seconds)
        else:
            outcome.failures.append(error)
    time.sleep(max(0, start + shortest - time.monotonic()))
    after = synward.metrics()
    outcome.growth = synward.process.memory() - memory if synward.process else 0
    outcome.flood = flood.report()
    ended.set()
    watch.join()
    outcome.answered = {
        by: total(after, "answers_total", by=by) - total(before, "answers_total", by=by) for by in ("afxdp", "xdp")}
    outcome.handed_over = results(before, after)
    outcome.overflows = {name: count - kernel[name] for name, count in overflows(lab).items()}
    outcome.flood_at_server = lab.counted_at_server("flood")
    outcome.syns_at_server = lab.counted_at_server("syns")
    return outcome


def send_requests(lab, family, scheme, count, at_once):
    """Sends requests from stock curls. Returns (seconds, failure) for each."""
    with ThreadPoolExecutor(at_once) as threads:
        return list(threads.map(lambda _: request(lab, family, scheme), range(count)))


def overflows(lab):
    counters = lab.kernel_counters()
    return {name: counters[name] for name in ("TCPReqQFullDrop", "TCPReqQFullDoCookies", "ListenOverflows",
                                              "ListenDrops", "SyncookiesSent", "SyncookiesFailed")}


def request(lab, family, scheme):
    """Runs curl once. Returns (seconds, the failure or None)."""
    host = f"[{SERVER[family]}]" if family == 6 else SERVER[family]
    trust = ("--cacert", lab.nginx / "cert.pem") if scheme == "https" else ()
    with lab.inside("client"):
        done = subprocess.run([*CURL, *trust, f"{scheme}://{host}/"], capture_output=True)
    said = done.stderr.decode().strip()
    if done.returncode or done.stdout != BODY or not said.startswith("200 "):
        return 0, f"exit code {done.returncode}, {said}, {done.stdout[:40]}"
    return float(said.split()[1]), None


def results(before, after):
    """Handoffs by result."""
    return {result: int(number - before.get((name, labels), 0)) for (name, labels), number in after.items()
            if name == "synward_handoffs_total" and number and (result := dict(labels)["result"])}


def watch_server(lab, synward, ended, outcome):
    """Samples until `ended`."""
    while not ended.wait(0.05):
        outcome.syn_received = max(outcome.syn_received, lab.syn_received())
        outcome.openings = max(outcome.openings, int(synward.metric("openings")))


def check(outcome, responder):
    """Checks what every flood story asserts."""
    print(outcome.figures())
    assert not outcome.failures, f"{len(outcome.failures)} requests failed, the first: {outcome.failures[:3]}"
    assert outcome.flood_at_server == 0, f"{outcome.flood_at_server} packets of the flood reached the server"
    # Each half-open connection of the server belongs to a request: a client whose cookie was valid.
    assert outcome.syn_received <= AT_ONCE[responder], f"{outcome.syn_received} sockets of the server were in SYN-RECV"
    assert not any(outcome.overflows.values()), f"the server's kernel was flooded: {outcome.overflows}"
    # A worker that does not run for 250 ms sends SYNs twice, and synward itself sends SYNs to learn a server's options.
    valid = sum(outcome.handed_over.values())
    assert outcome.syns_at_server <= valid * 1.1 + 20, f"{outcome.syns_at_server} SYNs for {valid} validated clients"
    assert outcome.answered[responder] > outcome.flood["sent"] / 1000, f"hardly any answer by {responder}"
    assert outcome.growth < 4 << 20, f"synward's memory grew by {outcome.growth >> 10} KiB"
