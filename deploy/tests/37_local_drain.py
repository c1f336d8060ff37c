"""A service of synward's own machine: lists hold in the modes always and auto, and a drain ends with the kernel's
connections going on."""

import socket

from story import CLIENT, FAMILY, PORT, SERVER, local_story

# The lists are looked up, and SYNs are dropped, before a responder is chosen.
ONCE = "xdp"
BESIDE_OTHERS = True


def run(lab, synward):
    with lab.listen(4), lab.listen(6):
        for family in 4, 6:
            command(synward, "deny", "add", CLIENT[family])
            assert not connects(lab, family), f"{CLIENT[family]} is denied"
        synward.mode("monitor")
        assert connects(lab, 4), "monitor drops nothing"
        synward.mode("auto")
        assert not connects(lab, 4), "a denied client is dropped also while there is no attack"
        for family in 4, 6:
            command(synward, "deny", "remove", CLIENT[family])
            assert connects(lab, family), f"{CLIENT[family]} is not denied any more"
        drain(lab, synward)


def drain(lab, synward):
    """It waits for no connection of the kernel, and these go on."""
    connection = lab.connect(4)
    text = command(synward, "drain", "--timeout", "5")
    assert "no connection is left" in text, "a connection of this machine's kernel does not need the process"
    process, synward.process = synward.process, None
    assert process.wait() == 0, "the process ends after the drain"
    connection.sendall(b"still here")
    assert connects(lab, 4)


def command(synward, *arguments):
    code, text = synward.command(*arguments)
    assert code == 0, f"synward {' '.join(arguments)}: exit code {code}: {text}"
    return text


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


local_story(run)
