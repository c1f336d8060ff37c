"""Real requests by stock curls while a flood runs: what the flood stories and deploy/quickstart have in common."""

import statistics
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from story import FAST, SERVER, total

REQUESTS = 100 if FAST else 1000
SHORTEST = 3 if FAST else 10
AT_ONCE = 12
BODY = b"synward lab\n"
# A SYN that drowns in the flood is sent again after 1, 2, 4, … s, by the client's kernel alone.
CURL = ("curl", "--silent", "--show-error", "--max-time", "100", "--write-out", "%{stderr}%{http_code} %{time_total}")


@dataclass
class Outcome:
    """What happened while the flood ran."""

    seconds: list = field(default_factory=list)  # of each request that succeeded
    failures: list = field(default_factory=list)  # what curl said of the others
    flood: dict = field(default_factory=dict)  # the generator's report
    answered: dict = field(default_factory=dict)  # SYNs by who answered them: afxdp, xdp
    syn_received: int = 0  # most that the server had at a time
    openings: int = 0  # most that synward had at a time
    flood_at_server: int = 0  # packets of the flood that reached the server
    syns_at_server: int = 0
    handed_over: dict = field(default_factory=dict)  # proven clients by what became of them
    growth: int = 0  # of synward's resident memory, bytes
    overflows: dict = field(default_factory=dict)  # how often the server's kernel had no room, or sent a cookie itself

    def answers_per_second(self):
        return sum(self.answered.values()) / self.flood["seconds"]

    def figures(self):
        """A line for people."""
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


def requests_under_flood(lab, synward, family, scheme="http", requests=REQUESTS, shortest=SHORTEST):
    """So many requests, one connection each, some at a time, and for at least `shortest` seconds a flood at full speed."""
    outcome = Outcome()
    lab.count_at_server()
    before, kernel = synward.metrics(), overflows(lab)
    warm_up = [request(lab, family, scheme) for _ in range(20)]
    assert all(error is None for _, error in warm_up), f"before the flood: {warm_up}"

    flood = lab.flood(family, 443 if scheme == "https" else 80, 300)
    start = time.monotonic()
    # The flood's first seconds touch what memory there is to touch.
    time.sleep(2)
    memory = synward.process.memory() if synward.process else 0
    ended = threading.Event()
    watch = threading.Thread(target=watch_server, args=(lab, synward, ended, outcome))
    watch.start()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for seconds, error in threads.map(lambda _: request(lab, family, scheme), range(requests)):
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


def overflows(lab):
    counters = lab.kernel_counters()
    return {name: counters[name] for name in ("TCPReqQFullDrop", "TCPReqQFullDoCookies", "ListenOverflows",
                                              "ListenDrops", "SyncookiesSent", "SyncookiesFailed")}


def request(lab, family, scheme):
    """One curl: (seconds, what was wrong with it or None)."""
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
    """What a flood story promises."""
    print(outcome.figures())
    assert not outcome.failures, f"{len(outcome.failures)} requests failed, the first: {outcome.failures[:3]}"
    assert outcome.flood_at_server == 0, f"{outcome.flood_at_server} packets of the flood reached the server"
    # A connection that is half open at the server is a client that has proven itself, and has an opening.
    assert outcome.syn_received <= AT_ONCE, f"{outcome.syn_received} sockets of the server were in SYN-RECV"
    assert not any(outcome.overflows.values()), f"the server's kernel was flooded: {outcome.overflows}"
    # A few are sent twice, and synward itself asks a server what options it does.
    proven = sum(outcome.handed_over.values())
    assert outcome.syns_at_server <= proven * 1.01 + 20, f"{outcome.syns_at_server} SYNs for {proven} proven clients"
    assert outcome.answered[responder] > outcome.flood["sent"] / 1000, f"hardly any answer by {responder}"
    assert outcome.growth < 4 << 20, f"synward's memory grew by {outcome.growth >> 10} KiB"
