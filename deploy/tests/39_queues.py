"""Interfaces get receive queues while synward serves: clients whose packets arrive there are served by the workers that there are,
and `status` says so. The kernel refuses fewer queues than there are sockets.

With `--full` with each handoff."""

import subprocess

from handoffs import HANDOFFS, each_handoff
from steady_clients import Clients, Server, Transfer
from story import FULL, total, wait_until

# A veth chooses among them by the sender's core.
BEFORE, AFTER = 1, 2
# Clients a second.
RATE = 40
MANY = 100
# Both ends of the links, as (role, interface).
PATHS = {"out0": (("client", "client0"), ("edge", "out0")), "in0": (("edge", "in0"), ("server", "server0"))}
DIRECT = {"server0": (("client", "client0"), ("server", "server0"))}


def paths(lab):
    return PATHS if "out0" in lab.run("edge", "ip", "-br", "link") else DIRECT


def before(lab):
    for ends in paths(lab).values():
        fewer(lab, ends, BEFORE)


def run(lab, synwards):
    first, has_workers = synwards[0], bool(synwards[0].status()["workers"])
    servers = [Server(lab, family) for family in (4, 6)]
    transfers = [Transfer(lab, family) for family in (4, 6)]
    grow(lab, synwards)
    clients = Clients(lab, RATE)
    if has_workers:
        assert len(first.status()["workers"]) == BEFORE
        for name in steered(first):
            note = f"{name}: 1 of 2 receive queues have appeared since the start"
            assert note in notes(first), notes(first)
            if first.settings["handoff"] == "splice":
                wait_until(f"the new queue of {name} receives", lambda: received(first, name, BEFORE))
            refused(lab, paths(lab)[name])
    check(clients)
    if not has_workers:
        for ends in paths(lab).values():
            fewer(lab, ends, BEFORE)
        wait_until("they are followed", lambda: queues(first, steered(first)[0]) == list(range(BEFORE)))
        grow(lab, synwards)
        check(Clients(lab, RATE))
    for transfer in transfers:
        transfer.check()
    if has_workers:
        first.stop()
        first.start()
        assert "since the start" not in notes(first), notes(first)
        assert [worker["queue"] for worker in first.status()["workers"]] == list(range(AFTER))
        check(Clients(lab, RATE))
    for server in servers:
        server.close()


def grow(lab, synwards):
    """The queues appear. A veth runs no program on them before it is attached anew, so nothing is sent there until then."""
    each = paths(lab).values()
    for ends in each:
        more(lab, ends, AFTER, "rx")
    for synward in synwards:
        for name in steered(synward):
            wait_until(f"{name} is served whole", lambda: synward.queues(name) == list(range(AFTER)))
        wait_until("nothing is wrong", lambda: not degraded(synward))
    for ends in each:
        more(lab, ends, AFTER, "tx")


def check(clients):
    wait_until("many clients are served", lambda: len(clients.seconds) >= MANY)
    clients.check()
    print(clients.figures())


def more(lab, ends, count, direction):
    for role, name in ends:
        lab.run(role, "ethtool", "-L", name, direction, str(count))


def fewer(lab, ends, count):
    """A veth with an XDP program needs a receive queue for each transmit queue of its peer."""
    for direction in "tx", "rx":
        for role, name in ends:
            lab.run(role, "ethtool", "-L", name, direction, str(count))


def refused(lab, ends):
    """The kernel keeps the queues of sockets."""
    try:
        fewer(lab, ends, BEFORE)
    except subprocess.CalledProcessError:
        more(lab, ends, AFTER, "tx")
    else:
        raise AssertionError("the kernel took queues away that have sockets")


def steered(synward):
    return ["server0"] if synward.role == "server" else ["out0", "in0"]


def received(synward, name, queue):
    return total(synward.metrics(), "xsk_received_total", interface=name, queue=str(queue))


def degraded(synward):
    return " ".join(synward.status()["degraded"])


def notes(synward):
    return " ".join(synward.status()["notes"])


each_handoff(run, HANDOFFS if FULL else ("splice",), before=before)
