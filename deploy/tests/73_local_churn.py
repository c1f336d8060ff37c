"""One client connects again and again to a service on synward's own machine, with TIME_WAIT at either end; wrk without
keep-alive and bulk data by iperf3 succeed too."""

from churn import SHARE, churn, restrict_ports
from flood import overflows
from story import SERVER, local_story
from tools import iperf, wrk


def run(lab, synward):
    before = overflows(lab)
    # The server closes first: its kernel still has the tuple when it returns, and answers the SYN itself.
    restrict_ports(lab, 2000)
    churn(lab, 20_000 // SHARE, b"close", "the server closes first")
    # connect(2) uses every other port, in random order.
    synward.carried(500)
    # The client closes first: the server's kernel has no longer the tuple, unless it is one of those above.
    restrict_ports(lab, 8000)
    lab.run("client", "sysctl", "-qw", "net.ipv4.tcp_tw_reuse=1")
    churn(lab, 10_000 // SHARE, b"keep-alive", "the client closes first")
    synward.carried(500 + 5_000 // SHARE)
    lab.run("client", "sysctl", "-qw", "net.ipv4.ip_local_port_range=10000 60000")
    for host in SERVER[4], f"[{SERVER[6]}]":
        wrk(lab, host)
    after = overflows(lab)
    assert after == before, f"the server's kernel was flooded: {before}, then {after}"
    for family in 4, 6:
        iperf(lab, family)


local_story(run)
