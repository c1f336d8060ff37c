"""A service on synward's own machine under a flood of SYNs at the generator's full speed: every request succeeds, and
the kernel's listener never sees the flood: no overflow, no cookie of its own, no SYN."""

from flood import check, requests_under_flood
from story import local_story


def run(lab, synward):
    outcome = requests_under_flood(lab, synward, 4, "http")
    check(outcome, synward.responder)
    # The kernel itself shakes hands again with a tuple that it still has in TIME_WAIT, and with no other.
    others = outcome.syns_at_server
    assert others <= len(outcome.seconds) // 20, f"{others} SYNs reached the kernel"
    synward.carried(len(outcome.seconds) - others)


local_story(run)
