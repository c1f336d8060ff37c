"""Jumbo frames: with an MTU of 9000, bulk data both ways in segments of more than one page, through splice, and with `--full`
through local and forward, IPv4 and IPv6. An MTU that changes meanwhile is named."""

import hashlib
import os
import socket
import struct
import subprocess
import threading

from story import AT_SERVER, BENCH, FULL, ROOT, Synward, story
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
# An edge cannot learn them from its server.
OPTIONS = "wscale = 7\nmss = 8960"


def splice(lab, synward):
    make_jumbo(lab, passing=("client0", "server0"), edge=("out0", "in0"))
    carried_by(lab, synward)


def local(lab, synward):
    make_jumbo(lab, passing=("client0",))
    carried_by(lab, synward)


def forward(lab, edge):
    make_jumbo(lab, passing=("client0", "server0"), edge=("out0", "in0"))
    edge.start()
    lab.run("server", "ip", "link", "set", "server0", "xdpdrv", "off")
    server = Synward(lab, edge.responder, "server", "server", interfaces=AT_SERVER, handoff="local", service=OPTIONS)
    carried_by(lab, server, edge)
    assert edge.metric("segments_total", fate="forwarded") > 0, "the edge forwarded nothing"
    server.stop()


def make_jumbo(lab, passing, edge=()):
    """A veth transmits frames of XDP only if its other end has a program: for `passing` one that takes several buffers, and passes
    all."""
    devices = {"client0": "client", "server0": "server"} | dict.fromkeys(edge, "edge")
    for device in "client0", "server0":
        lab.start(devices[device], "pass", BENCH, "pass", "--interface", device, "--detach").wait()
    program = f"/sys/fs/bpf/sw-{lab.name}-pass"
    subprocess.run(["bpftool", "prog", "load", PASS, program, "type", "xdp"], check=True)
    try:
        for device in passing:
            lab.run(devices[device], "ip", "link", "set", device, "xdpdrv", "pinned", program)
    finally:
        os.unlink(program)
    for device, role in devices.items():
        lab.run(role, "ip", "link", "set", device, "mtu", str(MTU))


def carried_by(lab, synward, *edges):
    """Both families through `synward`, which opens the connections, and the edges that run before it."""
    # It asks a server for its options at the start, and tells them to the clients.
    with lab.listen(4), lab.listen(6):
        synward.start()
    for family in 4, 6:
        carry(lab, family)
    for each in synward, *edges:
        lost = each.metric("xsk_rx_dropped_total") + each.metric("worker_unreadable_total")
        assert lost == 0, f"{lost:.0f} frames did not reach their worker"
        assert each.metric("redirect_failed_total") == 0, "redirected frames were lost"
    synward.carried(2)


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


story(splice, lab=("--no-nginx",), start=False)
if FULL:
    story(local, lab=("--no-nginx", "--arms", "none"), start=False, role="server", interfaces=AT_SERVER, handoff="local")
    story(forward, lab=("--no-nginx",), start=False, handoff="forward", service=OPTIONS, appliance='pin = "/sys/fs/bpf/edge"')
