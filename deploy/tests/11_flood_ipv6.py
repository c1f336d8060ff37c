"""Every IPv6 request succeeds during a flood of SYNs at the generator's full speed."""

from flood import FEWER_REQUESTS, check, requests_under_flood
from story import story


def run(lab, synward):
    check(requests_under_flood(lab, synward, 6, "http", FEWER_REQUESTS), synward.responder)


story(run)
