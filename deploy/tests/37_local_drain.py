"""A service of synward's own machine: lists hold in the modes always and auto, and a drain ends with the kernel's
connections going on."""

from story import CLIENT, local_story

# The lists are looked up, and SYNs are dropped, before a responder is chosen.
ONCE = "xdp"
BESIDE_OTHERS = True


def run(lab, synward):
    with lab.listen(4), lab.listen(6):
        for family in 4, 6:
            synward.succeed("deny", "add", CLIENT[family])
            assert lab.hears_nothing(family), f"{CLIENT[family]} is denied"
        synward.mode("monitor")
        # It drops nothing.
        lab.connect(4).close()
        synward.mode("auto")
        assert lab.hears_nothing(4), "a denied client is dropped also while there is no attack"
        for family in 4, 6:
            synward.succeed("deny", "remove", CLIENT[family])
            lab.connect(family).close()
        drain(lab, synward)


def drain(lab, synward):
    """It waits for no connection of the kernel, and these go on."""
    connection = lab.connect(4)
    text = synward.succeed("drain", "--timeout", "60")
    assert "no connection is left" in text, "a connection of this machine's kernel does not need the process"
    process, synward.process = synward.process, None
    assert process.wait() == 0, "the process ends after the drain"
    connection.sendall(b"still here")
    lab.connect(4).close()


local_story(run)
