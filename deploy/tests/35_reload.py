"""A reload adds, changes and removes services, a list and the secret while clients connect: no request fails, no cookie is
refused, and connections of a removed service go on. A file with a problem changes nothing. During a flood it is as quick.

With `--full`, also lists of 100,000 prefixes, 200 services, and a secret that is rotated during a flood."""

import ipaddress
import re
import subprocess
import time

from churn import Requests
from story import FULL, SYNWARD, story, talk, wait_until

OTHERS = """
[[service]]
name = "old"
addresses = ["192.0.2.10"]
ports = [9000]

[[service]]
name = "idle"
addresses = ["192.0.2.10"]
ports = [9002]
"""
CHANGED = """
deny = [{deny}]
unknown = "reset"

[[service]]
name = "new"
addresses = ["192.0.2.10", "2001:db8:5::10"]
ports = [443, 9001]
mode = "{mode}"
"""
DENIED = ", ".join(f'"10.{number // 256}.{number % 256}.0/24"' for number in range(1000))
LISTED = 100_000
SERVICES = 200
NEXT = '[[service]]\nname = "next"\naddresses = ["192.0.2.11"]\nports = [80]\n'
# What each of these adds to the file, and what the refusal names.
BAD = [
    ("[[service]]", "name"),
    ("nonsense = 1", "nonsense"),
    ("[flows]\ncapacity = 4096", "capacity"),
    ('[[interface]]\nname = "lo9"\nside = "inside"', "lo9"),
    ('[[service]]\nname = "web"\naddresses = ["192.0.2.11"]\nports = [80]', "already exists"),
    ('[[service]]\nname = "here"\naddresses = ["192.0.2.77"]\nports = [80]\nhandoff = "local"', "restart"),
]
WORSE = [
    ("this is no TOML", "expected"),
    ("[appliance]\nresponder = \"xdp\"", "appliance"),
    ("[nonsense]", "nonsense"),
    ("[flows]\nidle_seconds = -1", "idle_seconds"),
    (NEXT.replace("[80]", "[70000]"), "70000"),
    (NEXT.replace("[80]", "[]"), "ports"),
    (NEXT.replace("192.0.2.11", "192.0.2.300"), "192.0.2.300"),
    (NEXT.replace("192.0.2.11", "192.0.2.10"), "192.0.2.10"),
    (NEXT + 'mode = "sometimes"', "sometimes"),
    (NEXT + 'handoff = "teleport"', "teleport"),
    (NEXT + 'allow = ["10.0.0.0/33"]', "10.0.0.0/33"),
    (NEXT + 'deny_file = "/run/synward-lab/none.list"', "none.list"),
    (NEXT + "hold_bytes = 1", "hold_bytes"),
    (NEXT + 'on_event = ["relative"]', "absolute path"),
]


def run(lab, synward):
    client, server = lab.pair()
    dropped = synward.metric("drops_total", service="web")
    with Requests(lab) as requests:
        requests.go_on(50)
        changed = CHANGED.format(deny=DENIED, mode="always")
        lines = reload(synward, service=changed)
        for part in 'new: added', 'old: removed', 'deny +1000', 'unknown drop -> reset':
            assert part in lines, lines
        requests.go_on(50)
        talk(client, server)
        before = synward.metric("syns_total", service="new")
        lab.pair(port=9001)[0].close()
        assert synward.metric("syns_total", service="new") == before + 1, "the new service takes its clients"
        rotate_secret(synward, requests)
        place_is_freed(synward, requests)
    report(requests)
    assert synward.metric("cookies_total", result="invalid") == 0, "a cookie was refused"
    assert synward.metric("drops_total", service="web") == dropped, "a segment of an untouched service was dropped"
    talk(client, server)
    synward.carried(requests.count)

    refusals(synward, changed)
    talk(client, server)
    reload_in_flood(lab, synward)
    talk(client, server)
    if FULL:
        at_length(lab, synward)
        talk(client, server)


def rotate_secret(synward, requests):
    """A new secret issues cookies, then the old one is removed."""
    old = synward.secret.read_text()
    new = subprocess.run([SYNWARD, "secret"], check=True, text=True, stdout=subprocess.PIPE).stdout
    for secret, said in (new + old, "2 accepted (1 new, 0 gone)"), (new, "1 accepted (0 new, 1 gone)"):
        synward.secret.write_text(secret)
        assert said in (lines := reload(synward)), lines
        requests.go_on(50)
    assert reload(synward) == "nothing changes\n"


def place_is_freed(synward, requests):
    """A removed service without connections leaves, whoever is connected to other ports of its address. The others keep their
    keys."""
    if synward.process:
        wait_until("only the service with a connection is left", lambda: removed(synward) == ['"old (removed)"'], 60)
    requests.go_on(50)


def removed(synward):
    return re.findall(r'"\w+ \(removed\)"', synward.succeed("status"))


def refusals(synward, changed):
    for text, named in BAD + (WORSE if FULL else []):
        synward.configure(service=changed + text)
        for command in ("reload",), ("check", "--against-running", "--config", synward.file):
            code, said = synward.command(*command)
            assert code == 1 and named in said, f"{command}, {text}: exit code {code}: {said}"
    assert synward.metric("config_last_reload_successful") == 0
    synward.configure(service=changed)
    assert reload(synward) == "nothing changes\n", "a refused reload has changed something"
    assert synward.metric("config_last_reload_successful") == 1
    assert time.time() - synward.metric("config_last_reload_success_timestamp_seconds") < 60
    broken_secret(synward)


def broken_secret(synward):
    """A secret file that is not one refuses the reload, too."""
    secret = synward.secret.read_text()
    synward.secret.write_text("no secret\n")
    code, said = synward.command("reload")
    assert code == 1 and str(synward.secret) in said, f"exit code {code}: {said}"
    synward.secret.write_text(secret)
    assert reload(synward) == "nothing changes\n"


def reload_in_flood(lab, synward):
    flood = lab.flood(4, seconds=120)
    wait_until("the flood arrives", lambda: synward.metric("syns_total", service="web") > 100_000)
    took = []
    for mode in "monitor", "always", "off", "always":
        start = time.monotonic()
        reload(synward, service=CHANGED.format(deny="", mode=mode))
        took.append(time.monotonic() - start)
    flood.report()
    print("reloads during a flood took", ", ".join(f"{seconds * 1e3:.0f} ms" for seconds in took))
    assert max(took) < 5, took


def at_length(lab, synward):
    """What a site may have, while clients connect, then the secret during a flood."""
    listed, plain = lab.folder / "deny.list", CHANGED.format(deny="", mode="always")
    others = "".join(f'[[service]]\nname = "s{number}"\naddresses = ["192.0.2.10"]\nports = [{20_000 + number}]\n'
                     for number in range(SERVICES))
    changed = others.replace("\nports", '\nunknown = "reset"\nports')
    with_list = f'deny_file = "{listed}"\n' + plain
    steps = [
        (with_list, range(LISTED), f"deny_file +{LISTED}"),
        (with_list, range(LISTED // 2, LISTED * 3 // 2), f"deny_file +{LISTED // 2}"),
        (plain, (), f"deny_file -{LISTED}"),
        (plain + others, (), "s0: added"),
        (plain + changed, (), "s0: unknown drop -> reset"),
        (plain, (), "s0: removed"),
    ]
    reload(synward, service=plain)
    invalid = synward.metric("cookies_total", result="invalid")
    with Requests(lab) as requests:
        requests.go_on(50)
        for service, prefixes, said in steps:
            listed.write_text("".join(f"{ipaddress.ip_address((11 << 24) + (number << 8))}/24\n" for number in prefixes))
            start = time.monotonic()
            lines = reload(synward, service=service)
            print(f"{said}: {time.monotonic() - start:.2f} s")
            assert said in lines, lines[:1000]
            requests.go_on(50)
        before = synward.metric("syns_total", service="web")
        # As fast as workers answer it: what is slow then is the reload's fault.
        flood = lab.flood(4, 80, 60, "--rate", "30000")
        if synward.process:
            wait_until("the flood arrives", lambda: synward.metric("syns_total", service="web") > before + 1000)
        rotate_secret(synward, requests)
        sent = flood.report()["sent"]
    print(f"the secret was rotated during a flood of {sent:,} SYNs")
    report(requests)
    assert synward.metric("cookies_total", result="invalid") == invalid, "a cookie was refused"


def reload(synward, **settings):
    """Reloads with these settings changed; returns what it prints."""
    if synward.process is None:
        return ""
    synward.configure(**settings)
    code, lines = synward.command("reload")
    assert code == 0, f"synward reload: exit code {code}: {lines}"
    return lines


def report(requests):
    requests.check()
    print(f"{requests.count} requests during reloads, {len(requests.failures)} failed, {requests.retried()} SYNs were sent again")
    assert not requests.failures, requests.failures[:5]
    # A machine that stops for a second has a client send its SYN again.
    assert requests.retried() <= requests.count // 100, "SYNs of an untouched service were lost"


story(run, ports=[80], service=OTHERS)
