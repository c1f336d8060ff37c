"""synward in a guest: starts it, asks it, stops it."""

import json
import time

from network import ENDS, VLAN

# The verifier takes minutes on an emulated CPU of a busy machine.
START_SECONDS = 1800

# Failed transmissions show only here (include/trace/events/xdp.h).
TRACE = """t=/sys/kernel/tracing; echo 0 >$t/tracing_on; echo >$t/trace
echo 'drops > 0' >$t/events/xdp/xdp_devmap_xmit/filter
for event in xdp_redirect_err xdp_exception xdp_devmap_xmit; do echo 1 >$t/events/xdp/$event/enable; done; echo 1 >$t/tracing_on
"""
# The module and the type of a device above ports. The ports of a bridge do not wait before they forward.
UPPER = {
    "bond": ("bonding max_bonds=0", "bond mode active-backup miimon 100"),
    "balance-xor": ("bonding max_bonds=0", "bond mode balance-xor miimon 100 xmit_hash_policy layer3+4"),
    "bridge": ("bridge", "bridge forward_delay 0"),
}
GUEST_MAC = "02:53:57:00:00:02"


class Appliance:
    """The synward of a guest."""

    def __init__(self, guest, program):
        self.guest, self.program = guest, program
        guest.run(f"(umask 077; {program} secret >/run/secret)", check=True)

    def route(self, case):
        """Makes the guest a router between its interfaces, with the MTU and the VLAN of a case."""
        channels = self.guest.device.channels
        client = f"out0.{VLAN}" if case.vlan else "upper0" if case.upper else "out0"
        lines = [
            "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=0 "
            "net.ipv4.conf.default.rp_filter=0 net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0",
            f"for i in out0.{VLAN} upper0; do ip link del $i 2>/dev/null; done; for i in out0 {'out1 ' if case.ports > 1 else ''}in0; do ip addr flush dev $i; ip link set $i mtu {case.mtu} up; done",
            f"for i in out0 in0; do ethtool -L $i combined {channels} 2>/dev/null; done" if channels else "",
        ]
        if case.vlan:
            state = "on" if case.vlan == "stripped" else "off"
            lines.append(f"modprobe 8021q; ethtool -K out0 rxvlan {state} 2>/dev/null; "
                         f"ip link add link out0 name {client} type vlan id {VLAN}; ip link set {client} up; "
                         # The relay behind out0 takes no frame that a device would still have to cut or to checksum.
                         f"for i in out0 {client}; do ethtool -K $i tx off tso off gso off; done")
        if case.upper:
            module, kind = UPPER[case.upper]
            ports = ["out0", "out1"][:case.ports]
            lines.append(f"modprobe {module}; ip link add upper0 type {kind}")
            lines += [f"ip link set {port} down; ip link set {port} master upper0" for port in ports]
            lines.append(f"ip link set upper0 address {GUEST_MAC} mtu {case.mtu} up")
            lines += [f"ip link set {port} up" for port in ports]
            if case.upper == "balance-xor":
                # The relay takes no frame that a device would still have to cut or to checksum.
                lines.append("for i in out0 out1 upper0; do ethtool -K $i tx off tso off gso off; done 2>/dev/null")
        for device, four, six, host in ((client, "198.51.100", "2001:db8:c", 2), ("in0", "192.0.2", "2001:db8:5", 10)):
            mac = ENDS["in0" if device == "in0" else "out0"]
            lines.append(f"ip addr add {four}.1/24 dev {device}; ip -6 addr add {six}::1/64 dev {device} nodad; "
                         f"ip neigh replace {four}.{host} lladdr {mac} dev {device}; "
                         f"ip -6 neigh replace {six}::{host} lladdr {mac} dev {device}")
        lines.append(f"ip route replace 10.0.0.0/8 via 198.51.100.2 dev {client}; sysctl -qw net.ipv4.tcp_syncookies="
                     f"{2 if case.cookies == 'kernel' else 1}")
        code, output = self.guest.run("\n".join(lines))
        if code:
            raise RuntimeError(f"the guest cannot route: {output}")

    def start(self, configuration):
        """Starts it. Returns whether it is ready, its log, and its state."""
        (self.guest.share / "synward.toml").write_text(configuration)
        _, output = self.guest.run(f"""dmesg -C; rm -f /run/synward.log /run/synward.code; {TRACE}
setsid sh -c '{self.program} run --config /share/synward.toml >/run/synward.log 2>&1; echo $? >/run/synward.code' </dev/null >/dev/null 2>&1 &
end=$(($(date +%s) + {START_SECONDS}))
until grep -q ready: /run/synward.log 2>/dev/null || [ -f /run/synward.code ] || [ $(date +%s) -gt $end ]; do sleep 0.3; done
if [ -f /run/synward.code ]; then echo ended; elif grep -q ready: /run/synward.log; then echo ready; {self.write_state()}; else echo late; fi
cat /run/synward.log""", seconds=START_SECONDS + 120)
        first, _, log = output.partition("\n")
        if first == "late":
            raise TimeoutError(f"synward is not ready after {START_SECONDS} s: {log}")
        return first == "ready", log, self.written_state()

    def command(self, command):
        return f"{self.program} --control /run/synward.sock {command}"

    def state(self):
        """Its state as `status --json` gives it, and frames that XDP could not transmit, as the kernel traced them."""
        _, trace = self.guest.run(f"""{self.write_state()}
grep -v '^#' /sys/kernel/tracing/trace | sed 's/^.*: xdp_/xdp_/' | sort | uniq -c | sort -rn | head -n 5""")
        return self.written_state(), trace.strip()

    def write_state(self):
        return f"{self.command('status --json')} >/share/state.json"

    def written_state(self):
        try:
            return json.loads((self.guest.share / "state.json").read_text())
        except (OSError, ValueError):
            return {}

    def stop(self):
        """Stops it, and removes what it may have pinned."""
        self.guest.run(f"""pkill -TERM -x synward
end=$(($(date +%s) + 60)); while [ ! -f /run/synward.code ] && [ $(date +%s) -lt $end ]; do sleep 0.2; done
pkill -KILL -x synward; {self.program} unload""")
        time.sleep(0.2)
