"""An interface that is deleted and created again is steered again, with sockets for its workers, also if it has more queues than
there are workers, or fewer: clients are served, and a spliced connection goes on."""

from story import BENCH, story, talk, wait_until

BESIDE_OTHERS = True

# Interface at the edge, its MAC address and its addresses; the same at the other end.
LINKS = {
    "in0": (("edge", "in0", "02:53:57:00:00:03", ("192.0.2.1/24", "2001:db8:5::1/64")),
            ("server", "server0", "02:53:57:00:00:04", ("192.0.2.10/24", "2001:db8:5::10/64"))),
    "out0": (("edge", "out0", "02:53:57:00:00:02", ("198.51.100.1/24", "2001:db8:c::1/64")),
             ("client", "client0", "02:53:57:00:00:01", ("198.51.100.2/24", "2001:db8:c::2/64"))),
}
# The interfaces begin with 2.
QUEUES = (2, 4, 1)


def run(lab, synward):
    if synward.responder == "none":
        return
    old = lab.pair()
    talk(*old)
    for interface, queues in ((interface, queues) for queues in QUEUES for interface in LINKS):
        lab.run("edge", "ip", "link", "del", interface)
        wait_until(f"status names {interface}", lambda: f"{interface} is gone" in degraded(synward))
        create(lab, interface, queues)
        wait_until("the appliance serves again", lambda: not degraded(synward))
        wait_until("its queues have sockets", lambda: sockets(synward, interface) == queues)
        for family in 4, 6:
            # By all queues.
            pairs = [lab.pair(family) for _ in range(2 * queues)]
            for pair in pairs:
                talk(*pair)
                for end in pair:
                    end.close()
        talk(*old)
        log = synward.process.output()
        assert "had lost a program or its sockets; steered again" in log and log.count("socket bound") > 4, log
    synward.carried(5)


def create(lab, interface, queues):
    """Makes the veth again, as the lab made it, with so many queues."""
    count = ("numrxqueues", str(queues), "numtxqueues", str(queues))
    here, there = LINKS[interface]
    _, name, mac, _ = here
    role, peer, peer_mac, _ = there
    lab.run("edge", "ip", "link", "add", name, "address", mac, *count, "type", "veth",
            "peer", "name", peer, "address", peer_mac, *count, "netns", f"sw-{lab.name}-{role}")
    for role, name, _, addresses in (here, there):
        lab.run(role, "ethtool", "-K", name, "tx", "off", "tso", "off", "gro", "off")
        for address in addresses:
            lab.run(role, "ip", "addr", "add", address, "dev", name, *(("nodad",) if ":" in address else ()))
        lab.run(role, "ip", "link", "set", name, "up")
    role, name, _, _ = there
    for gateway in (address.partition("/")[0] for address in here[3]):
        lab.run(role, "ip", "-6" if ":" in gateway else "-4", "route", "replace", "default", "via", gateway, "dev", name)
    # A veth transmits frames of XDP only if its other end has an XDP program.
    assert lab.start(role, "pass", BENCH, "pass", "--interface", name).wait() == 0


def sockets(synward, interface):
    """The number of its queues, if each has a socket."""
    known = next(one for one in synward.status()["interfaces"] if one["name"] == interface)
    return len(known["queues"]) if all(one["zero_copy"] is not None for one in known["queues"]) else 0


def degraded(synward):
    return " ".join(synward.status()["degraded"])


story(run)
