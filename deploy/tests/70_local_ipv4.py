"""A service on synward's own machine under a flood of SYNs at the generator's full speed: every request succeeds, and
the kernel's listener never sees the flood: no overflow, no cookie of its own, nothing in SYN-RECV."""

from flood import check, requests_under_flood
from story import local_story


def tell(lab, synward):
    outcome = requests_under_flood(lab, synward, 4, "http")
    check(outcome, synward.responder)
    assert outcome.syn_received == 0, f"{outcome.syn_received} sockets in SYN-RECV: the kernel shook hands itself"
    synward.carried(len(outcome.seconds))


local_story(tell)
