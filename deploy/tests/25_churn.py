"""One client connects again and again, so every tuple returns soon, with TIME_WAIT at either end."""

from churn import SHARE, churn, restrict_ports
from story import story

BESIDE_OTHERS = True


def run(lab, synward):
    # nginx closes first: the server has TIME_WAIT, and the client can use the port again at once.
    restrict_ports(lab, 2000)
    churn(lab, 40_000 // SHARE, b"close", "the server closes first")
    # The client closes first; it reuses a port whose TIME_WAIT is more than a second old (tcp_tw_reuse).
    restrict_ports(lab, 8000)
    lab.run("client", "sysctl", "-qw", "net.ipv4.tcp_tw_reuse=1")
    churn(lab, 10_000 // SHARE, b"keep-alive", "the client closes first")
    synward.carried(50_000 // SHARE)


story(run)
