"""Downloads and uploads arrive unharmed over a path with a round trip of 100 ms: CUBIC and BBR, both settings of `rtt`,
clients with timestamps and without."""

import itertools

from story import FULL, story
from transfer import (PAIRS, WHOLE, congestion_control, connection, finished, negotiated, part, pseudo_random, send,
                      timestamps, source_and_sink)

# The XDP program carries the data, and a worker completes the handshake, whoever answered the SYN.
ONCE = "xdp"
BESIDE_OTHERS = True
DATA = pseudo_random(WHOLE or (64 if FULL else 6))


def run(lab, synward):
    transfers = 0
    for rtt, control in itertools.product(("fast", "true"), ("cubic", "bbr")):
        if synward.settings["service"] != f'rtt = "{rtt}"':
            synward.stop()
            synward.start(service=f'rtt = "{rtt}"')
            transfers = 0
        congestion_control(lab, control)
        for stamped, direction in PAIRS:
            timestamps(lab, stamped)
            client, server = connection(lab, 4 if stamped else 6)

            def inspect():
                for end in negotiated(lab, stamped):
                    assert end.has(control), f"no {control} at the {end.role}: {end.text}"

            data = part(DATA, direction)
            took = send(*source_and_sink(direction, client, server), data, inspect)
            finished(client, server)
            print(f"rtt {rtt:4} {control:5} {'with' if stamped else 'without':7} timestamps {direction:8}"
                  f" {len(data) >> 20} MiB in {took:.2f} s")
            transfers += 1
            synward.carried(transfers)


story(run, lab=("--delay", "50", "--no-nginx"), service='rtt = "fast"')
