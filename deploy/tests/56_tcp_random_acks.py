"""ACKs with random numbers open nothing, except for the few whose cookie is valid by chance."""

import subprocess

from cookie_counters import Change, count_clients_syns
from story import BENCH, FLOOD_SOURCES, FULL, PORT, SERVER, story, wait_until

# The XDP program checks every ACK.
ONCE = "xdp"
RANDOM = 100_000 if FULL else 20_000
# At most so many of them are valid by chance: 0.005 are expected.
LUCKY = 2


def run(lab, synward):
    count_clients_syns(lab)
    for family in 4, 6:
        for options in (), ("--timestamps",):
            random_acks(lab, synward, family, options)
    print(f"4 times {RANDOM} random ACKs opened nothing")


def random_acks(lab, synward, family, options):
    host = f"[{SERVER[family]}]" if family == 6 else SERVER[family]
    change = Change(lab, synward)
    with lab.inside("client"):
        subprocess.run(
            [BENCH, "flood", "--interface", "client0", "--destination", f"{host}:{PORT}", "--sources",
             FLOOD_SOURCES[family], "--kind", "ack", "--count", str(RANDOM), "--rate", "50k", *options],
            check=True, stdout=subprocess.DEVNULL)
    if not options and synward.responder != "none":
        # One in 45 million is valid by chance, and then opens a connection.
        checked = lambda: sum(change.so_far().get(name, 0) for name in ("valid", "invalid", "expired"))
        wait_until("all random ACKs are checked", lambda: checked() == RANDOM)
        lucky = RANDOM - change.so_far().get("invalid", 0)
        assert lucky <= LUCKY, f"{lucky} of {RANDOM} random ACKs were valid"
        if lucky:
            print(f"{lucky} random ACKs were valid by chance")
            return
    change.is_exactly(f"random ACKs, IPv{family} {options}", invalid=RANDOM, dropped_as_invalid=RANDOM)


story(run, lab=("--no-nginx",))
