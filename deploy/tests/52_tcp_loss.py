"""Everything arrives over a path with a round trip of 100 ms, loss and reordering, and SACK repairs the loss."""

from story import FULL, story
from transfer import WHOLE, connection, counter, each_case, finished, negotiated, part, pseudo_random, send, source_and_sink

# The XDP program carries the data, and a worker completes the handshake, whoever answered the SYN.
ONCE = "xdp"
BESIDE_OTHERS = True
# With --full what CUBIC carries at this loss in about ten seconds; BBR ignores such loss and carries more.
CUBIC, BBR = (16, 64) if FULL else (4, 6)
SIZES = {"cubic": pseudo_random(WHOLE or CUBIC), "bbr": pseudo_random(WHOLE or BBR)}


def run(lab, synward):
    repaired = 0
    for case in each_case(lab, synward):
        sender = "server" if case.direction == "download" else "client"
        before = {name: counter(lab, sender, name) for name in ("TCPSackRecovery", "TCPRenoRecovery")}
        client, server = connection(lab, 4 if case.stamped else 6, seconds=60)
        data = part(SIZES[case.control], case.direction)
        took = send(*source_and_sink(case.direction, client, server), data, lambda: negotiated(lab, case.stamped))
        finished(client, server)
        recovered = {name: counter(lab, sender, name) - before[name] for name in before}
        print(f"{case} {len(data) >> 20} MiB in {took:.2f} s, {recovered['TCPSackRecovery']} recoveries by SACK")
        # A small transfer may lose nothing; all of them together lose some.
        assert not FULL or recovered["TCPSackRecovery"] > 0, f"nothing recovered by SACK: {recovered}"
        assert recovered["TCPRenoRecovery"] == 0, f"recovered without SACK: {recovered}"
        repaired += recovered["TCPSackRecovery"]
    assert repaired > 0, "no transfer recovered anything by SACK"


story(run, lab=("--delay", "50", "--loss", "0.0005", "--reorder", "0.001", "--no-nginx"), service='rtt = "fast"')
