"""Every IPv4 request succeeds during a flood of SYNs at the generator's full speed."""

from flood import check, requests_under_flood
from story import story

# Story 12 does the same with TLS.
NOT_FAST = True


def run(lab, synward):
    check(requests_under_flood(lab, synward, 4, "http"), synward.responder)


story(run)
