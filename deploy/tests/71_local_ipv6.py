"""The same over IPv6, with TLS."""

from flood import check, requests_under_flood
from story import local_story


def tell(lab, synward):
    outcome = requests_under_flood(lab, synward, 6, "https")
    check(outcome, synward.responder)
    # The kernel itself shakes hands again with a tuple that it still has in TIME_WAIT, and with no other.
    others = outcome.syns_at_server
    assert others <= len(outcome.seconds) // 20, f"{others} SYNs reached the kernel"
    synward.carried(len(outcome.seconds) - others)


local_story(tell)
