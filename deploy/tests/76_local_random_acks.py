"""XDP drops ACKs with random numbers for a service on synward's own machine; the kernel sees none. The story prints
what an ACK costs, and what a SYN costs. With --full it is a million in each case."""

import contextlib
import json
from pathlib import Path

from flood import request
from story import FULL, local_story, wait_until
from traces import program_times

# Random ACKs end in the XDP program; no responder sees them.
ONCE = "xdp"
COUNT = 1_000_000 if FULL else 100_000
STATISTICS = Path("/proc/sys/kernel/bpf_stats_enabled")


def run(lab, synward):
    if synward.responder == "none":
        return
    lab.count_at_server()
    with statistics():
        for family in 4, 6:
            for options in ("--timestamps",), ():
                what = f"IPv{family}, {'with' if options else 'without'} timestamps"
                cost = acks(lab, synward, family, options, what)
                print(f"{what}: {cost:.0f} ns an ACK")
            if synward.responder == "xdp":
                cost, _ = flood(lab, family)
                print(f"IPv{family}: {cost:.0f} ns a SYN")
            _, error = request(lab, family, "http")
            assert error is None, error


def acks(lab, synward, family, options, what):
    before, seen = counted(synward), lab.counted_at_server("flood")
    cost, sent = flood(lab, family, "--kind", "ack", *options)
    wait_until("all are counted", lambda: sum(counted(synward)) >= sum(before) + sent)
    invalid, limited, valid = (now - then for now, then in zip(counted(synward), before))
    # Cookies without timestamps are verified within a limit.
    assert limited == 0 or not options, f"{what}: {limited} of {sent} fell to the limit of cookies without timestamps"
    # One in 2^25 of those without timestamps is valid by chance.
    assert valid <= (0 if options else 3), f"{what}: {valid} of {sent} were valid"
    assert invalid + limited + valid == sent, f"{what}: {invalid} of {sent} dropped as invalid, {limited} by the limit"
    reached = lab.counted_at_server("flood") - seen
    assert reached == valid, f"{what}: {reached} of {sent} reached the kernel"
    return cost


def flood(lab, family, *options):
    """Nanoseconds that the program took for each segment, and the number of segments."""
    link = json.loads(lab.run("server", "ip", "-j", "link", "show", "server0"))[0]
    program = link["xdp"]["prog"]["id"]
    nanoseconds, runs = program_times(program)
    generator = lab.flood(family, 80, 60, "--count", str(COUNT), *options)
    assert generator.wait(60) == 0, generator.output()
    sent = generator.report()["sent"]
    wait_until("all have arrived", lambda: program_times(program)[1] >= runs + sent)
    later, ran = program_times(program)
    return (later - nanoseconds) / (ran - runs), sent


def counted(synward):
    """ACKs with a wrong cookie, those that were not verified, and those with a valid one."""
    drops = (synward.metric("drops_total", reason=reason) for reason in ("invalid_cookie", "plain_limit"))
    return (*drops, synward.metric("cookies_total", result="valid"))


@contextlib.contextmanager
def statistics():
    """The kernel keeps statistics of programs meanwhile."""
    was = STATISTICS.read_text()
    STATISTICS.write_text("1")
    try:
        yield
    finally:
        STATISTICS.write_text(was)


local_story(run)
