"""A firewall that knows nothing of spliced connections, and neighbours that are unknown or have moved, cut off no client.

With `--full` also with `forward`; a `local` service is its own next hop."""

import subprocess

from handoffs import each_handoff
from story import CLIENT, FULL, PATIENCE, SERVER, receive, wait_until

# XDP and the control thread look after neighbours; no responder does.
ONCE = "xdp"
BESIDE_OTHERS = True
FIREWALL = """
    table inet story {
        chain forward {
            type filter hook forward priority 0; policy drop;
            ct state invalid drop
            ct state established,related accept
            iifname "out0" tcp flags & (fin|syn|rst|ack) == syn ct state new accept
        }
    }"""
OLD_MAC = "02:00:00:00:00:99"


def run(lab, synwards):
    with lab.inside("edge"):
        subprocess.run(["nft", "-f", "-"], input=FIREWALL, text=True, check=True)
    for device in "out0", "in0":
        timing = "net.ipv4.neigh." + device
        lab.run("edge", "sysctl", "-qw", f"{timing}.base_reachable_time_ms=2000", f"{timing}.delay_first_probe_time=1")
    for family in 4, 6:
        forget(lab)
        talk(lab, family)
    for address, device in (SERVER[4], "in0"), (CLIENT[4], "out0"):
        lab.run("edge", "ip", "neigh", "replace", address, "dev", device, "lladdr", OLD_MAC, "nud", "stale")
        wait_until(f"the old MAC of {address} is noticed",
                   lambda: OLD_MAC not in lab.run("edge", "ip", "neigh", "show", address), 20)
        talk(lab, 4)


def forget(lab):
    """The edge knows no neighbour."""
    for device in "out0", "in0":
        lab.run("edge", "ip", "neigh", "flush", "dev", device, "nud", "permanent")
        lab.run("edge", "ip", "neigh", "flush", "dev", device)


def talk(lab, family):
    """An edge of `forward` holds nothing: what the firewall drops until the neighbour is known, the client sends again."""
    with lab.listen(family) as listener:
        client = lab.connect(family)
        client.sendall(b"request")
        server, _ = listener.accept()
    server.settimeout(PATIENCE)
    assert receive(server, 7) == b"request"
    server.sendall(b"answer")
    assert receive(client, 6) == b"answer"
    client.close()
    server.close()


each_handoff(run, ("splice", "forward") if FULL else ("splice",))
