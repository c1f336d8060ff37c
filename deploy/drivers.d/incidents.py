"""What happens to a device while synward serves, and whether traffic flows afterwards: `deploy/drivers --incidents`.

Each incident befalls a running appliance. Afterwards requests are made for some time. The appliance must answer them all again,
or `status` must say what is wrong and how to mend it.
"""

import json
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass

import network
from cell import Cell, frames_of, mode_of

# How long the appliance may take to notice and to mend what happened. The guest is slow.
MEND_SECONDS = 30


@dataclass(frozen=True)
class Incident:
    """Something that befalls a device: commands for `out0`, run in the guest."""

    name: str
    script: str
    # What happens at the other end at the same time: run in the client's namespace.
    other_end: str = "true"
    # What is done before the appliance starts.
    before: str = ""
    # Whether the interface has lost its addresses, so that they are set again.
    forgets: bool = False


DOWN = "ip link set out0 down; sleep 2; ip link set out0 up; sleep 2"
# The driver lets go of its device and takes it again, as it does when its module is loaded anew. The interface is another one then.
REBIND = """device=$(basename $(readlink -f /sys/class/net/out0/device)); case $device in virtio*) bus=virtio ;; *) bus=pci ;; esac
driver=/sys/bus/$bus/drivers/$(basename $(readlink -f /sys/class/net/out0/device/driver)); mac=$(cat /sys/class/net/out0/address)
echo $device >$driver/unbind; sleep 2; echo $device >$driver/bind; sleep 3
for path in /sys/class/net/*; do if [ "$(cat $path/address)" = "$mac" ]; then name=$(basename $path); fi; done
[ $name = out0 ] || { ip link set $name down; ip link set $name name out0; }; ip link set out0 up; sleep 2"""

INCIDENTS = (
    Incident("link down and up", DOWN, forgets=True),
    Incident("fewer channels", "ethtool -L out0 combined 1"),
    Incident("more channels", "for i in out0 in0; do ethtool -L $i combined 2; done; sleep 3",
             "for i in out0 in0; do ethtool -L $i combined 1; done; sleep 3"),
    Incident("shorter rings", "ethtool -G out0 rx 128 tx 128"),
    Incident("MTU 1400", "ip link set out0 mtu 1400; ip link set in0 mtu 1400"),
    Incident("MTU 1500", "ip link set out0 mtu 1500; ip link set in0 mtu 1500"),
    Incident("offloads", "ethtool -K out0 rx off gro off; ethtool -K out0 rx on gro on"),
    Incident("negotiation", "ethtool -r out0; sleep 3"),
    Incident("RSS table", "ethtool -X out0 equal 1"),
    Incident("driver bound again", REBIND, forgets=True),
)


# A cable is pulled, and later the other one. Somebody takes a port out, and puts it back.
PULL = "ip link set {0} up; ip link set {1} down; sleep 2"
TAKE = "ip link set out0 nomaster; sleep 2"
PUT = f"{TAKE}; ip link set out0 down; ip link set out0 master upper0; ip link set out0 up; sleep 2"
BOND_INCIDENTS = (
    Incident("the first port fails", PULL.format("out1", "out0"), other_end=PULL.format("out1", "out0")),
    Incident("the second port fails", PULL.format("out0", "out1"), other_end=PULL.format("out0", "out1")),
    Incident("one fails after the other", "; ".join(PULL.format(*two) for two in (("out1", "out0"), ("out0", "out1")) * 2),
             other_end="; ".join(PULL.format(*two) for two in (("out1", "out0"), ("out0", "out1")) * 2)),
    Incident("a port is taken out", TAKE, other_end="ip link set out0 down"),
    Incident("a port is taken out and put back", PUT),
    # An active-backup bond goes on with the second port.
    Incident("it starts while the second port is used", "true",
             before="ip link set out0 down; sleep 2; ip link set out0 up; sleep 2; "
                    "! grep -q active-backup /proc/net/bonding/upper0 || grep -q 'Active Slave: out1' /proc/net/bonding/upper0"),
)
# The client is behind another port than before.
BRIDGE_INCIDENTS = (
    Incident("the client moves", "sleep 2", other_end="ip link set out0 nomaster; ip link set out1 master plain0"),
    Incident("a port is taken out", "ip link set out1 nomaster"),
    Incident("a port is taken out and put back", PUT.replace("out0", "out1")),
)


def incidents_of(case):
    """What happens in a case."""
    if case.ports == 1:
        return INCIDENTS
    return BRIDGE_INCIDENTS if case.upper == "bridge" else BOND_INCIDENTS


def report(bench, case, log):
    """Lets everything happen, with a fresh appliance each time. Returns (incident, outcome, what was seen) of each."""
    rows = []
    for incident in incidents_of(case):
        cell = Cell("", "", case)
        code, output = befall(bench, case, incident, cell)
        log(f"{incident.name}: {cell.outcome}; {cell.mode}; {'; '.join(cell.traffic)}; {cell.note}"
            + (f"; the commands: exit code {code}, {output.strip()[-120:]}" if code else ""))
        rows.append((incident.name, cell.outcome, cell.note))
    return rows


def befall(bench, case, incident, cell):
    with ExitStack() as until_end:
        bench.prepare(case, until_end)
        if incident.before:
            bench.guest.run(incident.before, check=True)
        ready, text, _ = bench.appliance.start(case.configuration())
        until_end.callback(bench.appliance.stop)
        if not ready or not bench.request(cell, case):
            cell.outcome, cell.note = "FAILED", f"before anything happens: {text.strip().splitlines()[-1]}"
            return 0, ""
        cell.traffic.clear()
        other_end = subprocess.Popen(["ip", "netns", "exec", network.CLIENT, "sh", "-ec", incident.other_end])
        code, output = bench.guest.run(incident.script)
        code = other_end.wait() or code
        if incident.forgets:
            bench.appliance.route(case)
        network.set_checksums(case)
        end = time.monotonic() + MEND_SECONDS
        while True:
            state, _ = bench.appliance.state()
            cell.traffic.clear()
            flows = bench.request(cell, case)
            if flows and not state.get("degraded") or time.monotonic() > end:
                break
        state, trace = bench.appliance.state()
        logs = bench.guest.run("cat /run/synward.log; dmesg | tail -n 20")[1]
        bench.log(f"{incident.name}: {json.dumps(state)}\n{trace}\n{logs}")
        cell.mode = mode_of(state)
        cell.note = "; ".join(state.get("degraded", ()))
        frames = frames_of(state)
        if len(set(frames.values())) > 1:
            cell.note += f"; frames: {frames}"
        if not state:
            cell.note = "it does not answer `status`"
        else:
            cell.outcome = "degraded" if cell.note else "flows" if flows else "FAILED"
        if cell.outcome == "FAILED" and case.handoff != "forward":
            bench.try_without(cell, case)
        return code, output
