"""Every https request succeeds during a flood of SYNs at the generator's full speed."""

from flood import FEWER_REQUESTS, check, requests_under_flood
from story import story

# TLS begins after the handshake: stories 10 and 11 flood both responders.
ONCE = "xdp"


def run(lab, synward):
    check(requests_under_flood(lab, synward, 4, "https", FEWER_REQUESTS), synward.responder)


story(run)
