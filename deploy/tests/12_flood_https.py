"""Under a flood of SYNs at the generator's full speed every request succeeds: https."""

from flood import check, requests_under_flood
from story import story

# TLS begins after the handshake: stories 10 and 11 flood both responders.
ONCE = "xdp"


def run(lab, synward):
    check(requests_under_flood(lab, synward, 4, "https"), synward.responder)


story(run)
