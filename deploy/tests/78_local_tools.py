"""Stock tools use a service on synward's own machine during a flood at full speed: every connection succeeds, and the
server's kernel sees nothing of the flood."""

from flood import overflows
from story import FULL, SERVER, local_story, wait_until
from tools import iperf, greet, wrk

# Story 70 floods both responders.
ONCE = "xdp"
# Story 71 uses such a service during a flood.
NOT_FAST = True
ROUNDS = 200 if FULL else 100


def run(lab, synward):
    if synward.responder == "none":
        return
    before = overflows(lab)
    for family, host in (4, SERVER[4]), (6, f"[{SERVER[6]}]"):
        flood = lab.flood(family, 80, 120)
        wait_until("synward answers the flood", lambda: synward.metric("answers_total") > 50_000)
        wrk(lab, host)
        iperf(lab, family)
        with lab.listen(family) as listener:
            for _ in range(ROUNDS):
                greet(lab, listener, family)
        assert lab.syn_received() <= 1
        print(f"IPv{family}: {flood.report()['sent']:,} SYNs meanwhile, {ROUNDS} sessions that start as SSH does")
    after = overflows(lab)
    assert after == before, f"the server's kernel was flooded: {before}, then {after}"


local_story(run)
