"""Under a flood of SYNs at the generator's full speed every request succeeds: IPv6."""

from flood import check, requests_under_flood
from story import story


def run(lab, synward):
    check(requests_under_flood(lab, synward, 6, "http"), synward.responder)


story(run)
