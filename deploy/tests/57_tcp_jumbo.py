"""Jumbo frames: with an MTU of 9000, bulk data both ways, in segments of more than one page, through splice and for a local
service; IPv4 and IPv6. An MTU that changes meanwhile is named."""

import hashlib
import socket
import struct
import threading

from story import AT_SERVER, BENCH, Synward, story, wait_until
from transfer import pseudo_random

BESIDE_OTHERS = True
MTU = 9000
PAGE = 4096
DATA = pseudo_random(8)
# The headers of IPv4 and IPv6 with TCP, and the timestamps (RFC 7323), with which both ends count their MSS.
HEADERS = {4: 40, 6: 60}
TIMESTAMPS = 12
# Offsets in struct tcp_info, linux/tcp.h.
SEND_MSS, DATA_SEGMENTS = 16, 156


def run(lab, synward):
    make_jumbo(lab)
    synward.start()
    for family in 4, 6:
        carry(lab, family)
    synward.carried(2)
    lost = synward.metric("xsk_rx_dropped_total") + synward.metric("worker_unreadable_total")
    assert lost == 0, f"{lost:.0f} frames did not reach their worker"
    assert synward.metric("redirect_failed_total") == 0, "redirected frames were lost"
    another_mtu(lab, synward)
    synward.stop()
    at_the_server(lab, synward.responder)


def make_jumbo(lab):
    """Hosts without an XDP program receive what XDP transmits if their veth has GRO (`veth_xdp_xmit`, drivers/net/veth.c)."""
    for role, device in ("client", "client0"), ("server", "server0"):
        lab.start(role, "pass", BENCH, "pass", "--interface", device, "--detach").wait()
    for role, device in ("client", "client0"), ("server", "server0"), ("edge", "out0"), ("edge", "in0"):
        lab.run(role, "ip", "link", "set", device, "mtu", str(MTU))
        lab.run(role, "ethtool", "-K", device, "gro", "on")


def carry(lab, family):
    client, server = lab.pair(family)
    with client, server:
        for what, source, sink in ("up", client, server), ("down", server, client):
            send(source, sink)
            info = source.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            (mss,), (segments,) = (struct.unpack_from("I", info, at) for at in (SEND_MSS, DATA_SEGMENTS))
            length = len(DATA) / segments
            print(f"IPv{family} {what}: MSS {mss}, {segments} segments of {length:.0f} bytes on average")
            assert mss == MTU - HEADERS[family] - TIMESTAMPS, f"the MSS is {mss}"
            assert length > PAGE, f"a segment has {length:.0f} bytes on average"


def send(source, sink):
    sender = threading.Thread(target=source.sendall, args=(DATA,))
    sender.start()
    digest, left = hashlib.sha256(), len(DATA)
    while left:
        part = sink.recv(min(left, 1 << 18))
        assert part, f"the connection ended {left} bytes early"
        digest.update(part)
        left -= len(part)
    sender.join()
    assert digest.digest() == hashlib.sha256(DATA).digest(), "other data arrived than was sent"


def another_mtu(lab, synward):
    lab.run("edge", "ip", "link", "set", "out0", "mtu", "1500")
    wait_until("status names the MTU", lambda: "out0 has an MTU of 1500, and had 9000 at start" in synward.command("status")[1])
    lab.run("edge", "ip", "link", "set", "out0", "mtu", str(MTU))
    wait_until("status is well again", lambda: "has an MTU of" not in synward.command("status")[1])


def at_the_server(lab, responder):
    local = Synward(lab, responder, role="server", name="local", interfaces=AT_SERVER, handoff="local")
    local.start()
    try:
        for family in 4, 6:
            carry(lab, family)
    finally:
        local.stop()


story(run, lab=("--no-nginx",), start=False)
