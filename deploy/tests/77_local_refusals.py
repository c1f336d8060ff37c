"""synward refuses a service on its own machine that cannot work there, with one line and exit code 1, and leaves nothing
behind; what may be wrong it reports, and starts."""

import re
import subprocess
import time

from story import AT_SERVER, PORT, SYNWARD, story, wait_until

# The checks before the start are the same for both responders.
ONCE = "xdp"
BESIDE_OTHERS = True
FIREWALL = """
    table inet firewall {{
        chain arriving {{
            type {hook};
            {rule}
        }}
    }}"""


def run(lab, synward):
    if synward.responder == "none":
        return
    lab.free_server()
    sysctl(lab, "net.ipv4.tcp_syncookies=0")
    refused(lab, synward, ["net.ipv4.tcp_syncookies is 0", "splice"])
    assert "tcp_syncookies is 0" in checked(synward)
    sysctl(lab, "net.ipv4.tcp_syncookies=1")
    refused(lab, synward, ["web", "kernel", "net.ipv4.tcp_syncookies=2"], service='cookies = "kernel"')
    routed_elsewhere(lab, synward)

    sysctl(lab, "net.netfilter.nf_conntrack_tcp_loose=0")
    for rule, address in (
        ("ct state invalid drop", "192.0.2.10:80"),
        ("meta nfproto ipv6 ct state invalid drop", "[2001:db8:5::10]:80"),
        ('iifname "server0" tcp dport 443 ct state invalid drop', "192.0.2.10:443"),
    ):
        with firewall(lab, rule):
            refused(lab, synward, ["firewall", address, "server0", "nf_conntrack_tcp_loose=1"])
    sysctl(lab, "net.netfilter.nf_conntrack_tcp_loose=1")
    with firewall(lab, "tcp flags & (fin|syn|rst|ack) != syn ct state new drop"):
        refused(lab, synward, ["firewall", "192.0.2.10:80", "server0"])

    # Without a known neighbour there is nothing to test the firewall with: synward starts.
    with firewall(lab, "ip saddr 192.0.2.0/24 drop; ip6 saddr 2001:db8:5::/64 drop"):
        runs(lab, synward)
    reports_missing_listeners(lab, synward)


def reports_missing_listeners(lab, synward):
    """PORT has no listener."""
    runs(lab, synward, ends=False)
    # A worker that did not run for a second is degraded for a moment.
    wait_until("nothing is wrong", lambda: synward.command("status")[0] == 0)
    text = synward.command("status")[1]
    assert f"nothing listens at 192.0.2.10:{PORT}" in text, text
    assert "192.0.2.10:80" not in "".join(line for line in text.splitlines() if "note:" in line), text
    assert f"nothing listens at 192.0.2.10:{PORT}" in synward.process.output()
    synward.stop()


def routed_elsewhere(lab, synward):
    """Clients are sent to a container, here at the other end of a veth: by a DNAT rule, or by a route."""
    box = "ip link add box0 type veth peer box1; ip link set box0 up; ip link set box1 up; " \
          "ip address add 198.51.100.1/24 dev box0; ip neighbour add 198.51.100.2 lladdr 2:0:0:0:0:2 dev box0; " \
          "ip -6 address add 2001:db8:b::1/64 dev box0 nodad; " \
          "ip -6 neighbour add 2001:db8:b::2 lladdr 2:0:0:0:0:2 dev box0; " \
          "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"
    lab.run("server", "sh", "-ec", box)
    for rule, address, on in (
        ("ip daddr 192.0.2.10 tcp dport 80 dnat ip to 198.51.100.2:8080", "192.0.2.10:80", "198.51.100.2:8080"),
        ("ip6 daddr 2001:db8:5::10 tcp dport 443 dnat ip6 to [2001:db8:b::2]:8443", "[2001:db8:5::10]:443",
         "[2001:db8:b::2]:8443"),
    ):
        with firewall(lab, rule, "nat hook prerouting priority dstnat"):
            refused(lab, synward, ["DNAT", address, on, "splice"])
    lab.run("server", "ip", "route", "add", "203.0.113.7", "dev", "box0")
    elsewhere = '[[service]]\nname = "box"\naddresses = ["203.0.113.7"]\nports = [80]\nhandoff = "local"'
    refused(lab, synward, ["203.0.113.7", "box0", "splice"], service=elsewhere)
    synward.configure(service="")
    lab.run("server", "ip", "link", "del", "box0")


def runs(lab, synward, ends=True):
    began = time.monotonic()
    synward.start()
    print(f"ready after {time.monotonic() - began:.2f} s")
    if ends:
        synward.stop()


def refused(lab, synward, words, service=""):
    synward.configure(service=service)
    before = state(lab)
    began = time.monotonic()
    text = synward.refusal()
    print(f"{time.monotonic() - began:.2f} s: {text}")
    for word in words:
        assert word in text, f"the line does not name {word}"
    after = state(lab)
    assert after == before, f"before:\n{before}\nafter:\n{after}"


def checked(synward):
    """The output of `check` at the server."""
    with synward.lab.inside("server"):
        done = subprocess.run([SYNWARD, "check", "--config", synward.file], text=True, check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout


def state(lab):
    """What a start could change at the server."""
    links = lab.run("server", "ip", "-d", "link", "show", "server0")
    half_open = lab.syn_received()
    rules = re.sub(r"packets \d+ bytes \d+", "", lab.run("server", "nft", "list", "ruleset"))
    return links, half_open, rules, sorted((lab.pins / "synward").rglob("*"))


class firewall:
    """A firewall at the server with this rule."""

    def __init__(self, lab, rule, hook="filter hook input priority filter"):
        self.lab, self.rule, self.hook = lab, rule, hook

    def __enter__(self):
        with self.lab.inside("server"):
            subprocess.run(["nft", "-f", "-"], input=FIREWALL.format(rule=self.rule, hook=self.hook), text=True, check=True)

    def __exit__(self, *_):
        self.lab.run("server", "nft", "delete", "table", "inet", "firewall")


def sysctl(lab, setting):
    lab.run("server", "sysctl", "-qw", setting)


story(run, ("--file-mib", "1", "--arms", "none"), start=False, role="server", interfaces=AT_SERVER, handoff="local")
