"""Interfaces are renamed while synward serves, and get receive queues afterwards: clients are served, also by the new queues, and
nothing is degraded. synward knows an interface by its index.

With `--full` with each handoff."""

from handoffs import HANDOFFS, each_handoff
from steady_clients import Clients, Server, Transfer
from story import FULL, wait_until

BEFORE, AFTER = 1, 2
# Clients a second.
RATE = 40
MANY = 60
# The other end of each interface.
ENDS = {"out0": ("client", "client0"), "in0": ("server", "server0"), "server0": ("client", "client0")}


def before(lab):
    """A veth with an XDP program needs a receive queue for each transmit queue of its peer."""
    has_edge = "out0" in lab.run("edge", "ip", "-br", "link")
    pairs = [(("edge", name), ENDS[name]) for name in ("out0", "in0")] if has_edge else [(("server", "server0"), ENDS["server0"])]
    for ends in pairs:
        for direction in "tx", "rx":
            for role, name in ends:
                lab.run(role, "ethtool", "-L", name, direction, str(BEFORE))


def run(lab, synwards):
    servers = [Server(lab, family) for family in (4, 6)]
    transfers = [Transfer(lab, family) for family in (4, 6)]
    clients = Clients(lab, RATE)
    clients.served_since_now()
    renamed = [(synward, interface["name"]) for synward in synwards for interface in synward.status()["interfaces"]]
    for synward, name in renamed:
        lab.run(synward.role, "ip", "link", "set", name, "name", f"{name}-new")
    clients.served_since_now()
    for synward, name in renamed:
        lab.run(synward.role, "ethtool", "-L", f"{name}-new", "rx", str(AFTER))
    for synward, name in renamed:
        wait_until(f"{name} has sockets on all queues", lambda: synward.queues(name) == list(range(AFTER)))
    # Packets reach the new queues now.
    for synward, name in renamed:
        role, end = ENDS[name]
        if (role, end) not in ((other.role, interface) for other, interface in renamed):
            lab.run(role, "ethtool", "-L", end, "tx", str(AFTER))
    many = len(clients.seconds) + MANY
    wait_until("many clients are served", lambda: len(clients.seconds) >= many)
    clients.check()
    for synward in synwards:
        wait_until("nothing is degraded", lambda: not synward.status()["degraded"])
    for transfer in transfers:
        transfer.check()
    for server in servers:
        server.close()


each_handoff(run, HANDOFFS if FULL else ("splice",), before=before)
