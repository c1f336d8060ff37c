"""Allow and deny lists change while synward runs: 100,000 prefixes from a file, entries that end, none after a restart."""

import ipaddress
import json

from story import CLIENT, story, wait_until

# The lists are looked up before a responder is chosen.
ONCE = "xdp"
BESIDE_OTHERS = True
PREFIXES = 100_000


def run(lab, synward):
    file = lab.folder / "deny.list"
    lines = (f"{ipaddress.ip_address((11 << 24) + (number << 8))}/24\n" for number in range(PREFIXES))
    file.write_text("# one prefix a line\n" + "".join(lines))
    synward.start(service=f'deny_file = "{file}"')
    assert denied(synward) == PREFIXES
    assert origins(synward, "deny", "11.0.3.7") == ["file"], "the entry that decides about an address is found"
    with lab.listen(4), lab.listen(6):
        for family in 4, 6:
            change_lists(lab, synward, family)
        synward.succeed("deny", "add", CLIENT[4], "--for", "8s")
        assert origins(synward, "deny", CLIENT[4]) == ["run_time"]
        assert lab.hears_nothing(4)
        wait_until("the entry ends by itself", lambda: denied(synward) == PREFIXES, 30)
        lab.connect(4).close()
        assert not origins(synward, "deny", CLIENT[4])

        synward.succeed("deny", "add", CLIENT[6])
        synward.stop()
        synward.start()
        assert not origins(synward, "deny", CLIENT[6]), "entries of the run time end with the process"
        lab.connect(6).close()


def change_lists(lab, synward, family):
    """Denied, allowed by a longer prefix, challenged again."""
    around = str(ipaddress.ip_network(CLIENT[family]).supernet(new_prefix=24 if family == 4 else 48))
    synward.succeed("deny", "add", around, "--service", "web")
    assert lab.hears_nothing(family), f"{around} is denied"
    assert synward.metric("drops_total", reason="denied") > 0
    sent = cookies(synward)
    synward.succeed("allow", "add", CLIENT[family])
    # By the longer prefix.
    lab.connect(family).close()
    assert cookies(synward) == sent, "an allowed client is not challenged"
    code, text = synward.command("deny", "add", CLIENT[family])
    assert code == 1 and "is allowed for all services" in text, f"exit code {code}: {text}"
    synward.succeed("allow", "remove", CLIENT[family])
    synward.succeed("deny", "remove", around)
    lab.connect(family).close()
    assert cookies(synward) > sent, "it is challenged again"


def cookies(synward):
    """The number of SYNs that were answered with a cookie."""
    return synward.metric("cookies_total", result="sent")


def denied(synward):
    """The number of prefixes on the deny-list."""
    return synward.metric("list_prefixes", service="web", list="deny")


def origins(synward, which, prefix):
    return [entry["origin"] for entry in json.loads(synward.succeed(which, "list", prefix, "--json"))]


story(run, start=False)
