"""Interfaces that are moved to another network namespace and back, with which their sockets and the program at TC go, and ones that
are renamed, and pins that are removed: connections go on, clients are served, and `status` says what is wrong meanwhile.

With `--full` with each handoff, one by one, and renamed."""

import signal

from elsewhere import elsewhere, settings
from handoffs import HANDOFFS, each_handoff, pins_of
from story import FULL, talk, wait_until

# With this responder the new sockets answer SYNs, too.
ONCE = "afxdp"
BESIDE_OTHERS = True
# Seconds; each round looks at the interfaces.
NOTICED = 10


def run(lab, synwards):
    interfaces = [(one, name) for one in synwards for name in steered(one)]
    old = [lab.pair(family) for family in (4, 6)]
    say(old)
    if FULL:
        for one, name in interfaces:
            moved(lab, [(one, name)])
            goes_on(lab, synwards, old)
            renamed(lab, one, name, "lan0")
            goes_on(lab, synwards, old)
            renamed(lab, one, "lan0", name)
    # Before anybody looks: a round takes a second. What workers were to get waits for the new sockets. Until the program at TC is
    # back, the kernel of a `local` service resets clients.
    again = [times_steered(one) for one in synwards]
    moved(lab, interfaces, is_noticed=False)
    if synwards[-1].settings["handoff"] == "local":
        for one, before in zip(synwards, again):
            wait_until("it is steered again", lambda: times_steered(one) > before)
    goes_on(lab, synwards, old)
    moved(lab, interfaces)
    goes_on(lab, synwards, old)
    # What is there after all of that, and what somebody removes, is what the next process takes over.
    for one in synwards:
        unpinned(one)
    say(old)
    for one in synwards:
        process, one.process = one.process, None
        process.stop(signal.SIGKILL)
        say(old)
        one.start()
    goes_on(lab, synwards, old)


def times_steered(synward):
    return synward.process.output().count("steered again")


def steered(synward):
    return ["server0"] if synward.role == "server" else ["out0", "in0"]


def moved(lab, interfaces, is_noticed=True):
    with elsewhere(lab, [(one.role, name) for one, name in interfaces]):
        if is_noticed:
            for one, name in interfaces:
                wait_until(f"status names {name}", lambda: f"{name} is gone" in degraded(one), NOTICED)


def renamed(lab, one, name, to):
    before = settings(lab, one.role, name)
    lab.run(one.role, "ip", "link", "set", name, "down")
    lab.run(one.role, "ip", "link", "set", name, "name", to)
    lab.run(one.role, "ip", "link", "set", to, "up")
    for command in before:
        lab.run(one.role, *(to if word == name else word for word in command))


def unpinned(one):
    pins = pins_of(one)
    before = {file.name for file in pins.iterdir()}
    # At once: synward may pin again while others are still there.
    removed = pins.rename(pins.with_name("removed"))
    for file in removed.iterdir():
        file.unlink()
    removed.rmdir()
    wait_until("it is pinned again", lambda: pins.exists() and {file.name for file in pins.iterdir()} == before, NOTICED)
    wait_until("the log says so", lambda: "somebody has removed pins; pinned again" in one.process.output())


def goes_on(lab, synwards, old):
    for one in synwards:
        wait_until("the appliance serves again", lambda: not degraded(one), NOTICED)
    say(old)
    for family in 4, 6:
        # By both queues.
        new = [lab.pair(family) for _ in range(4)]
        say(new)
        for client, server in new:
            client.close()
            server.close()


def say(pairs):
    for client, server in pairs:
        talk(client, server)


def degraded(synward):
    return " ".join(synward.status()["degraded"])


each_handoff(run, HANDOFFS if FULL else ("splice",))
