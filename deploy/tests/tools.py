"""Stock load generators."""

import re
import subprocess

from story import FAST, FULL, PATIENCE, PORT, SERVER, receive, wait_until

SECONDS = 10 if FULL else 1 if FAST else 2
GREETING = b"SSH-2.0-lab\r\n"


def wrk(lab, host, at_once=32):
    """Requests from one address, one connection each; every one is answered."""
    before = {role: lab.kernel_counters(role) for role in ("client", "server")}
    said = lab.run("client", "wrk", "-t", "1", "-c", str(at_once), "-d", f"{SECONDS}s", "--timeout", "30s",
                   "-H", "Connection: close", f"http://{host}/")
    count = int(re.search(r"(\d+) requests in", said)[1])
    print(f"wrk, Connection: close, {host}: {count:,} requests in {SECONDS} s")
    if "Socket errors" in said:
        for role, counters in before.items():
            after = lab.kernel_counters(role)
            print(role, {name: after[name] - count for name, count in counters.items() if after[name] != count})
    assert "Socket errors" not in said and "Non-2xx" not in said and count > 50 * SECONDS, said


def iperf(lab, family):
    """Bulk data in four connections."""
    server = lab.start("server", "iperf3", "iperf3", "-s", "-1", "-B", SERVER[family], "-p", str(PORT))
    with lab.inside("server"):
        wait_until("iperf3 listens", lambda: subprocess.run(
            ["ss", "-tlnH", "sport", "=", f":{PORT}"], capture_output=True, check=True).stdout)
    for line in lab.run("client", "iperf3", "-c", SERVER[family], "-p", str(PORT), "-P", "4", "-t", str(SECONDS)).splitlines():
        if "SUM" in line and "receiver" in line:
            print(f"iperf3, IPv{family}, 4 streams:{line.partition('sec')[2]}")
    assert server.wait() == 0, server.output()


def greet(lab, listener, family):
    """Both ends send a greeting at once. A client that only receives would wait for ever if the flood displaced its ACK:
    a server with cookies keeps no state from which it could retransmit its SYN-ACK."""
    with lab.connect(family) as client:
        client.sendall(GREETING)
        server, _ = listener.accept()
        with server:
            server.settimeout(PATIENCE)
            server.sendall(GREETING)
            for end in client, server:
                assert receive(end, len(GREETING)) == GREETING
