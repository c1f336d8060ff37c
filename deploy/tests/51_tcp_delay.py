"""Downloads and uploads arrive unharmed over a path with a round trip of 100 ms: CUBIC and BBR, both settings of `rtt`,
clients with timestamps and without."""

from story import FULL, story
from transfer import WHOLE, connection, each_case, finished, negotiated, part, pseudo_random, send, source_and_sink

# The XDP program carries the data, and a worker completes the handshake, whoever answered the SYN.
ONCE = "xdp"
BESIDE_OTHERS = True
DATA = pseudo_random(WHOLE or (64 if FULL else 6))


def run(lab, synward):
    for case in each_case(lab, synward):
        client, server = connection(lab, 4 if case.stamped else 6)

        def inspect():
            for end in negotiated(lab, case.stamped):
                assert end.has(case.control), f"no {case.control} at the {end.role}: {end.text}"

        data = part(DATA, case.direction)
        took = send(*source_and_sink(case.direction, client, server), data, inspect)
        finished(client, server)
        print(f"{case} {len(data) >> 20} MiB in {took:.2f} s")


story(run, lab=("--delay", "50", "--no-nginx"), service='rtt = "fast"')
