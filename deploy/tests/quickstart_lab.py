"""What deploy/quickstart shows: during a flood real requests succeed, with either responder."""

import os
import signal
import statistics
import sys
from contextlib import redirect_stdout
from io import StringIO

from flood import check, requests_under_flood
from story import BENCH, SYNWARD, Lab, Synward

NAME = "quickstart"
REQUESTS = 300
SECONDS = 8
AT_ONCE = 12
WHO = {"afxdp": "worker threads answer SYNs over AF_XDP", "xdp": "the XDP program answers SYNs itself"}
PICTURE = f"""
  client ───── out0 [ synward ] in0 ───── server with a stock nginx      ({os.uname().release}, {os.cpu_count()} cores)

  The flood: SYNs from random addresses of 10.0.0.0/8, as many as core 0 can make.
  Meanwhile {REQUESTS} requests, each by a curl of its own, {AT_ONCE} at a time."""


def main():
    keep = "--keep" in sys.argv[1:]
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    lab = Lab(NAME)
    kept = False
    try:
        print(PICTURE)
        problems = [problem for responder in WHO if (problem := show(lab, responder))]
        if problems:
            sys.exit("\n" + "\n".join(f"FAILED: {problem}" for problem in problems))
        print("\nEvery request succeeded, and no packet of the flood reached the server.")
        if keep:
            Synward(lab, "auto").start()
            kept = True
            print(look_around())
    finally:
        if not kept:
            lab.down()


def show(lab, responder):
    """Shows one responder. Returns the failure, or None."""
    print(f'\n  responder = "{responder}": {WHO[responder]}', flush=True)
    synward = Synward(lab, responder)
    try:
        synward.start()
        outcome = requests_under_flood(lab, synward, 4, requests=REQUESTS, shortest=SECONDS, at_once=AT_ONCE)
        print(table(outcome), flush=True)
        with redirect_stdout(StringIO()):
            check(outcome, responder)
        synward.stop()
    except (AssertionError, OSError) as problem:
        return f'responder = "{responder}": {problem}'
    return None


def table(outcome):
    flood, answered = outcome.flood, outcome.answered
    total = len(outcome.seconds) + len(outcome.failures)
    median = statistics.median(outcome.seconds or [0])
    slow = sum(second > 0.9 for second in outcome.seconds)
    rows = {
        "the flood": f"{flood['pps'] / 1e6:.2f} million SYNs a second for {flood['seconds']:.0f} s",
        "answered": f"{outcome.answers_per_second() / 1e6:.2f} million a second:"
                    f" {answered['afxdp']:,.0f} over AF_XDP, {answered['xdp']:,.0f} in XDP",
        "requests": f"{len(outcome.seconds)} of {total} succeeded; median {median * 1e3:.1f} ms,"
                    f" slowest {max(outcome.seconds or [0]):.2f} s, {slow} after a lost SYN was retransmitted",
        "the server": f"{outcome.flood_at_server} packets of the flood; at most {outcome.syn_received} in SYN-RECV",
        "synward": f"at most {outcome.openings} openings; its memory grew by {max(0, outcome.growth) >> 10} KiB",
    }
    return "\n".join(f"    {name:<12}{text}" for name, text in rows.items())


def look_around():
    return f"""
The lab and synward are still running. To look around:
  {SYNWARD} --control /run/synward-lab/{NAME}/control.sock status
  deploy/lab exec {NAME} client curl -i http://192.0.2.10/
  deploy/lab exec {NAME} client {BENCH} flood --interface client0 --destination 192.0.2.10:80 --sources 10.0.0.0/8
  deploy/lab exec {NAME} edge curl http://127.0.0.1:9470/metrics
To remove both:
  deploy/lab down {NAME}"""


main()
