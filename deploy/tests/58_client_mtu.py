"""SYN-ACKs promise no larger MSS than fits through the links and routes towards clients, as they are now: after the MTU of a link or a
route was made smaller while synward runs, and again after it was made larger. A client whose way is small gets its segments."""

import struct
import subprocess

from segments import ACK, LINUX, SERVER_MAC, SPOOFED, SYN, WINDOWS, Segment, Wire
from story import FULL, PORT, SERVER, local_story, story, wait_until

BESIDE_OTHERS = True
HEADERS = {4: 40, 6: 60}
IP = {4: ("ip",), 6: ("ip", "-6")}
SMALL = {4: 1300, 6: 1340}


def at_an_edge(lab, synward):
    follow(lab, synward, "edge", "out0", Wire(lab, "client", "client0"))


def at_the_server(lab, synward):
    follow(lab, synward, "server", "server0", Wire(lab, "client", "client0", SERVER_MAC))


def follow(lab, synward, role, device, wire):
    listeners = [lab.listen(family) for family in (4, 6)]
    ports = iter(range(20_000, 60_000))

    def promised(family):
        """The MSS in SYN-ACKs to clients with and without timestamps. None: no SYN-ACK, as while a link comes up."""
        found = set()
        for options in LINUX, WINDOWS:
            syn = Segment(SPOOFED[family], next(ports), SERVER[family], PORT, seq=1000, flags=SYN, options=options)
            wire.forget()
            wire.send(syn)
            answer = wire.see(lambda segment: segment.answers(syn) and segment.flags & (SYN | ACK) == SYN | ACK, 1)
            if not answer:
                return None
            assert answer.options[:2] == b"\2\4", "a SYN-ACK without an MSS"
            found.add(struct.unpack(">H", answer.options[2:4])[0])
        return found

    def becomes(what, families=(4, 6), **mtus):
        for family in families:
            wanted = {mtus.get(f"v{family}", 1500) - HEADERS[family]}
            seen = []
            def is_promised():
                seen.append(promised(family))
                return seen[-1] == wanted
            try:
                wait_until(what, is_promised)
            except TimeoutError:
                raise AssertionError(f"IPv{family}, {what}: MSS {seen[-1]} instead of {wanted}") from None

    def route(family, *words):
        lab.run(role, *IP[family], "route", *words)

    becomes("as at the start")
    for family in 4, 6:
        route(family, "add", SPOOFED[family], "dev", device, "mtu", str(SMALL[family]))
    becomes("smaller routes", v4=SMALL[4], v6=SMALL[6])
    for family in 4, 6:
        route(family, "del", SPOOFED[family], "dev", device)
    lab.run(role, "ip", "link", "set", device, "mtu", "1400")
    becomes("a smaller link instead", v4=1400, v6=1400)
    # A worker that did not run for a second is degraded for a moment.
    wait_until("nothing is wrong", lambda: synward.command("status")[0] == 0)
    lab.run(role, "ip", "link", "set", device, "mtu", "1500")
    becomes("the link is as it was")
    if has_vlan(lab, role, device):
        # A device above the steered one has clients of its own.
        lab.run(role, "ip", "link", "set", "tagged", "mtu", "1420", "up")
        becomes("a VLAN with a smaller MTU", v4=1420, v6=1420)
        lab.run(role, "ip", "link", "set", "tagged", "mtu", "1500")
        route(4, "add", "203.0.113.0/26", "dev", "tagged", "mtu", "1440")
        becomes("a smaller route through it", v4=1440)
        lab.run(role, "ip", "link", "del", "tagged")
        becomes("without it")
    if FULL:
        route(4, "add", "203.0.113.0/25", "dev", device, "mtu", "1450")
        route(4, "add", "203.0.113.0/24", "dev", device, "mtu", "1420")
        becomes("the smallest of two", v4=1420)
        route(4, "change", "203.0.113.0/24", "dev", device)
        becomes("one has no MTU any more", v4=1450)
        # The routes go with the link.
        lab.run(role, "ip", "link", "set", device, "down")
        wait_until("the link is seen to be down", lambda: f"{device} is down" in synward.command("status")[1])
        lab.run(role, "ip", "link", "set", device, "up")
        becomes("without the routes of the link", families=(4,))
    for listener in listeners:
        listener.close()
    wire.close()


def has_vlan(lab, role, device):
    """Makes a VLAN device, if the kernel has such."""
    try:
        lab.run(role, "ip", "link", "add", "link", device, "name", "tagged", "type", "vlan", "id", "7")
    except subprocess.CalledProcessError:
        print("this kernel has no VLAN devices")
        return False
    return True


story(at_an_edge, lab=("--no-nginx",))
if FULL:
    story(at_an_edge, lab=("--no-nginx",), handoff="forward", service="wscale = 7", appliance='pin = "/sys/fs/bpf/edge"')
local_story(at_the_server)
