"""What is tried on every device: a configuration of synward, and the network around it."""

from dataclasses import dataclass

from network import CLIENT_SIDE, SERVERS

HEAD = """[appliance]
control = "/run/synward.sock"
metrics = "127.0.0.1:9470"
responder = "{responder}"

[cookie]
secret = "/run/secret"
"""
INTERFACE = """
[[interface]]
name = "{name}"
side = "{side}"
xdp = "{xdp}"
zero_copy = "{zero_copy}"
"""
SERVICE = """
[[service]]
name = "web"
addresses = ["{addresses[4]}", "{addresses[6]}"]
ports = [80]
handoff = "{handoff}"
{more}
"""


@dataclass(frozen=True)
class Case:
    """A configuration, and the network in which it is tried."""

    name: str
    handoff: str = "splice"
    responder: str = "auto"
    xdp: str = "auto"
    zero_copy: str = "auto"
    # "kernel": the SYN cookies of the kernel (only local).
    cookies: str = ""
    # Whether client and server leave checksums to their devices, as guests and containers of one host do.
    unfinished_checksums: bool = False
    # Clients are behind a VLAN tag, which the device strips ("stripped") or leaves in the frame ("kept").
    vlan: str = ""
    # The kind of device that has out0 as a port, and the addresses: "bond" (active-backup), "balance-xor" (a bond) or "bridge".
    upper: str = ""
    # How many ports it has: with two, out1 is the other.
    ports: int = 1
    mtu: int = 1500
    # Whether requests are also made during a flood.
    flood: bool = False
    # Whether xdpdump watches the program meanwhile.
    dump: bool = False

    def configuration(self):
        """The configuration of the guest's synward."""
        more = {"forward": "wscale = 7"}.get(self.handoff, "")
        if self.cookies:
            more = f'cookies = "{self.cookies}"'
        text = HEAD.format(responder=self.responder)
        sides = {"out0": "outside"} if self.ports == 1 else {"out0": "outside", "out1": "outside"}
        if self.handoff != "local":
            sides["in0"] = "inside"
        for name, side in sides.items():
            text += INTERFACE.format(name=name, side=side, xdp=self.xdp, zero_copy=self.zero_copy)
        return text + SERVICE.format(addresses=self.addresses(), handoff=self.handoff, more=more)

    def addresses(self):
        """The protected addresses, by IP version."""
        return CLIENT_SIDE if self.handoff == "local" else SERVERS


def server_configuration(folder):
    """The configuration of the server's synward behind an edge that forwards. It runs on this machine's kernel."""
    head = HEAD.format(responder="xdp").replace("/run/synward.sock", f"{folder}/server.sock")
    head = head.replace("/run/secret", f"{folder}/secret").replace('metrics = "127.0.0.1:9470"', 'metrics = ""\npin = ""')
    interface = INTERFACE.format(name="in0", side="outside", xdp="generic", zero_copy="off")
    return head + interface + SERVICE.format(addresses=SERVERS, handoff="local", more="wscale = 7")


NATIVE = {"xdp": "native", "zero_copy": "off"}
ZERO_COPY = {"xdp": "native", "zero_copy": "on"}

CASES = {case.name: case for case in (
    Case("splice", flood=True),
    Case("local", handoff="local", flood=True),
    Case("local-kernel", handoff="local", cookies="kernel"),
    Case("forward", handoff="forward", flood=True),
    Case("xdp", responder="xdp", **NATIVE),
    Case("afxdp", responder="afxdp", **NATIVE),
    Case("zero-copy", responder="afxdp", **ZERO_COPY, flood=True),
    Case("zero-copy-xdp", responder="xdp", **ZERO_COPY),
    Case("generic", xdp="generic"),
    Case("generic-unfinished", xdp="generic", unfinished_checksums=True),
    Case("vlan-stripped", vlan="stripped"),
    Case("vlan-kept", vlan="kept"),
    Case("local-vlan", handoff="local", vlan="kept"),
    Case("bond", upper="bond"),
    Case("local-bond", handoff="local", upper="bond"),
    Case("forward-bond", handoff="forward", upper="bond"),
    Case("bridge", upper="bridge"),
    Case("local-bridge", handoff="local", upper="bridge"),
    Case("forward-bridge", handoff="forward", upper="bridge"),
    Case("jumbo", mtu=9000),
    # XDP sends answers back only if it makes them.
    Case("xdpdump", responder="xdp", dump=True),
)}

# Something happens to ports while synward serves (incidents.py): these are not in the matrix.
TWO_PORTS = {case.name: case for case in (
    Case(f"{prefix}{upper}-2", handoff=handoff, upper=upper, ports=2)
    for upper in ("bond", "balance-xor", "bridge")
    for prefix, handoff in (("", "splice"), ("local-", "local"), ("forward-", "forward"))
)}
