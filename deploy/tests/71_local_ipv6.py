"""The same over IPv6, with TLS."""

from flood import check, requests_under_flood
from story import local_story


def tell(lab, synward):
    outcome = requests_under_flood(lab, synward, 6, "https")
    check(outcome, synward.responder)
    assert outcome.syn_received == 0, f"{outcome.syn_received} sockets in SYN-RECV: the kernel shook hands itself"
    synward.carried(len(outcome.seconds))


local_story(tell)
