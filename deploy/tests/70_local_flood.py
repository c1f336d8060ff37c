"""A service on synward's own machine: every request succeeds during a flood of SYNs at the generator's full speed, over IPv4
and, with TLS, over IPv6. The kernel's listener never sees the flood: no overflow, no cookie of its own, no SYN."""

from flood import FEWER_REQUESTS, REQUESTS, check, requests_under_flood
from story import local_story


def run(lab, synward):
    carried = 0
    for family, scheme, requests in (4, "http", REQUESTS), (6, "https", FEWER_REQUESTS):
        outcome = requests_under_flood(lab, synward, family, scheme, requests)
        check(outcome, synward.responder)
        # The kernel answers a SYN itself if it still has the tuple in TIME_WAIT, and no other.
        others = outcome.syns_at_server
        assert others <= len(outcome.seconds) // 20, f"{others} SYNs reached the kernel"
        carried += len(outcome.seconds) - others
        synward.carried(carried)


local_story(run)
