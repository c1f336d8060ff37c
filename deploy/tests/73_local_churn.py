"""Connections in quick succession to a service on synward's own machine: TIME_WAIT at either end, wrk without keep-alive,
and much data by iperf3."""

import re
import subprocess

from churn import SHARE, churn, restrict_ports
from flood import overflows
from story import FAST, PORT, SERVER, local_story, wait_until

SECONDS = 2 if FAST else 10


def tell(lab, synward):
    before = overflows(lab)
    # The server closes first: its kernel knows the tuple when it comes back, and answers the SYN itself.
    restrict_ports(lab, 2000)
    churn(lab, 20_000 // SHARE, b"close", "the server closes first")
    # connect(2) takes every other port, at random.
    synward.carried(500)
    # The client closes first: the server's kernel has forgotten the tuple, unless it is one of those above.
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


def wrk(lab, host):
    said = lab.run("client", "wrk", "-t", "1", "-c", "32", "-d", f"{SECONDS}s", "-H", "Connection: close", f"http://{host}/")
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])
    print(f"wrk, Connection: close, {host}: {rate:,.0f} requests a second")
    assert "Socket errors" not in said and "Non-2xx" not in said, said
    assert rate > 500, said


def iperf(lab, family):
    server = lab.start("server", "iperf3", "iperf3", "-s", "-1", "-B", SERVER[family], "-p", str(PORT))
    with lab.inside("server"):
        wait_until("iperf3 listens", lambda: subprocess.run(
            ["ss", "-tlnH", "sport", "=", f":{PORT}"], capture_output=True, check=True).stdout)
    for line in lab.run("client", "iperf3", "-c", SERVER[family], "-p", str(PORT), "-P", "4", "-t", str(SECONDS)).splitlines():
        if "SUM" in line and "receiver" in line:
            print(f"iperf3, IPv{family}, 4 streams:{line.partition('sec')[2]}")
    assert server.wait() == 0, server.output()


local_story(tell)
