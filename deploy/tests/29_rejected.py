"""A firewall in front of the server that rejects SYNs by an ICMP error: its client is told within about a second, as if the
server had refused it, and the next client is served when the firewall lets it through."""

import re
import subprocess
import time

from story import PORT, SERVER, receive, story

# The error concerns an opening of a worker, whoever answered the client's SYN.
ONCE = "xdp"
BESIDE_OTHERS = True

# What `reject with` says, by family, and whether the error is hard (RFC 1122 §4.2.3.9), so that the first one ends the opening.
# A soft one counts when the retransmitted SYN has one too.
REASONS = {
    4: (("icmp type port-unreachable", True), ("icmp type admin-prohibited", True), ("icmp type host-unreachable", False)),
    6: (("icmpv6 type port-unreachable", True), ("icmpv6 type admin-prohibited", True), ("icmpv6 type no-route", False)),
}


def run(lab, synward):
    if synward.responder == "none":
        return
    told = 0
    for family, reasons in REASONS.items():
        with lab.listen(family) as listener:
            for reason, is_hard in reasons:
                rejecting(lab, reason)
                began = time.monotonic()
                expect_reset(lab, family, reason)
                took = time.monotonic() - began
                syns = int(re.search(r"packets (\d+)", lab.run("server", "nft", "list", "table", "inet", "rejecting"))[1])
                assert syns == (1 if is_hard else 2), f"IPv{family}, {reason}: told after {syns} SYNs"
                told += 1
                print(f"IPv{family}, {reason}: told after {syns} SYNs, {took:.2f} s")
                lab.run("server", "nft", "delete", "table", "inet", "rejecting")
            client = lab.connect(family)
            server, _ = listener.accept()
            server.sendall(b"welcome")
            assert receive(client, 7) == b"welcome"
    counted = synward.metric("handoffs_total", result="unreachable")
    assert counted == told, f"{counted:.0f} handoffs count as unreachable, not {told}"


def rejecting(lab, reason):
    """The server's host rejects SYNs to the port."""
    rules = f"""
        table inet rejecting {{
            chain arriving {{
                type filter hook input priority filter;
                tcp dport {PORT} tcp flags & (syn|ack) == syn counter reject with {reason}
            }}
        }}"""
    with lab.inside("server"):
        subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


def expect_reset(lab, family, what):
    try:
        with lab.connect(family) as client:
            got = client.recv(1)
    # The reset may follow the SYN-ACK so closely that it ends `connect`.
    except ConnectionResetError:
        return
    raise AssertionError(f"{what}: {got!r} instead of ECONNRESET from {SERVER}")


story(run)
