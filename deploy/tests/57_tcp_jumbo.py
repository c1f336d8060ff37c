"""Jumbo frames: with an MTU of 9000, bulk data both ways, in segments of more than one page, through splice, IPv4 and
IPv6. An MTU that changes meanwhile is named."""

import hashlib
import os
import socket
import struct
import subprocess
import threading

from story import BENCH, ROOT, story, wait_until
from transfer import pseudo_random

BESIDE_OTHERS = True
MTU = 9000
PAGE = 4096
# Passes every frame while nothing is behind it.
PASS = ROOT / "ebpf/xdp/objects/entry.o"
DATA = pseudo_random(4)
# The headers of IPv4 and IPv6 with TCP, and the timestamps (RFC 7323), with which both ends count their MSS.
HEADERS = {4: 40, 6: 60}
TIMESTAMPS = 12
# Offsets in struct tcp_info, linux/tcp.h.
SEND_MSS, DATA_SEGMENTS = 16, 156


def run(lab, synward):
    make_jumbo(lab)
    start_with_server(lab, synward)
    for family in 4, 6:
        carry(lab, family)
    synward.carried(2)
    lost = synward.metric("xsk_rx_dropped_total") + synward.metric("worker_unreadable_total")
    assert lost == 0, f"{lost:.0f} frames did not reach their worker"
    assert synward.metric("redirect_failed_total") == 0, "redirected frames were lost"
    another_mtu(lab, synward)


def make_jumbo(lab):
    """A veth transmits frames of XDP only if its other end has a program: here one that takes several buffers, and passes all."""
    program = f"/sys/fs/bpf/sw-{lab.name}-pass"
    subprocess.run(["bpftool", "prog", "load", PASS, program, "type", "xdp"], check=True)
    try:
        for role, device in ("client", "client0"), ("server", "server0"):
            lab.start(role, "pass", BENCH, "pass", "--interface", device, "--detach").wait()
            lab.run(role, "ip", "link", "set", device, "xdpdrv", "pinned", program)
    finally:
        os.unlink(program)
    for role, device in ("client", "client0"), ("server", "server0"), ("edge", "out0"), ("edge", "in0"):
        lab.run(role, "ip", "link", "set", device, "mtu", str(MTU))


def start_with_server(lab, synward):
    """The MSS that SYN-ACKs promise from the start is the server's, if it answers the probe."""
    with lab.listen(4), lab.listen(6):
        synward.start()


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


story(run, lab=("--no-nginx",), start=False)
