"""Allow and deny lists change while synward runs: 100,000 prefixes from a file, entries that end, none after a restart."""

import ipaddress
import json
import socket

from story import CLIENT, FAMILY, PORT, SERVER, story, wait_until

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
        command(synward, "deny", "add", CLIENT[4], "--for", "3s")
        assert origins(synward, "deny", CLIENT[4]) == ["run_time"]
        assert not connects(lab, 4)
        wait_until("the entry ends by itself", lambda: denied(synward) == PREFIXES)
        assert connects(lab, 4)
        assert not origins(synward, "deny", CLIENT[4])

        command(synward, "deny", "add", CLIENT[6])
        synward.stop()
        synward.start()
        assert not origins(synward, "deny", CLIENT[6]), "entries of the run time end with the process"
        assert connects(lab, 6)


def change_lists(lab, synward, family):
    """Denied, allowed by a longer prefix, challenged again."""
    around = str(ipaddress.ip_network(CLIENT[family]).supernet(new_prefix=24 if family == 4 else 48))
    command(synward, "deny", "add", around, "--service", "web")
    assert not connects(lab, family), f"{around} is denied"
    assert synward.metric("drops_total", reason="denied") > 0
    sent = cookies(synward)
    command(synward, "allow", "add", CLIENT[family])
    assert connects(lab, family), f"{CLIENT[family]} is allowed, and longer"
    assert cookies(synward) == sent, "an allowed client is not challenged"
    code, text = synward.command("deny", "add", CLIENT[family])
    assert code == 1 and "is allowed for all services" in text, f"exit code {code}: {text}"
    command(synward, "allow", "remove", CLIENT[family])
    command(synward, "deny", "remove", around)
    assert connects(lab, family)
    assert cookies(synward) == sent + 1, "it is challenged again"


def cookies(synward):
    """The number of SYNs that were answered with a cookie."""
    return synward.metric("cookies_total", result="sent")


def denied(synward):
    """The number of prefixes on the deny-list."""
    return synward.metric("list_prefixes", service="web", list="deny")


def command(synward, *arguments):
    code, text = synward.command(*arguments)
    assert code == 0, f"synward {' '.join(arguments)}: exit code {code}: {text}"
    return text


def origins(synward, which, prefix):
    return [entry["origin"] for entry in json.loads(command(synward, which, "list", prefix, "--json"))]


def connects(lab, family):
    with lab.inside("client"):
        client = socket.socket(FAMILY[family])
    with client:
        client.settimeout(0.8)
        try:
            client.connect((SERVER[family], PORT))
        except TimeoutError:
            return False
        return True


story(run, start=False)
