"""The self-test finds an interface on which XDP cannot transmit: a forced mode is refused, and "auto" serves in a safer one."""

from story import BENCH, TWO_ARMS, receive, story, wait_until

# The self-test is the same for both responders.
ONCE = "xdp"
BESIDE_OTHERS = True

NATIVE = TWO_ARMS.replace('\nside = "inside"', '\nside = "inside"\nxdp = "native"')
CAUSE = "in0 does not transmit frames of XDP, because the other end of the veth has no XDP program"


def run(lab, synward):
    # A veth transmits frames of XDP only if its other end has an XDP program.
    assert lab.start("server", "pass", BENCH, "pass", "--interface", "server0", "--detach").wait() == 0
    forced_mode_is_refused(synward)
    auto_serves(lab, synward)


def forced_mode_is_refused(synward):
    synward.configure(interfaces=NATIVE)
    text = synward.refusal()
    assert f'{CAUSE}: set xdp of in0 to "auto" or "generic"' in text, text


def auto_serves(lab, synward):
    synward.start(interfaces=TWO_ARMS)
    for family in (4, 6):
        client, server = lab.pair(family)
        client.sendall(b"question")
        assert receive(server, 8) == b"question"
        server.sendall(b"answer")
        assert receive(client, 6) == b"answer"
    # A worker that did not run for a second is degraded for a moment.
    wait_until("nothing is wrong", lambda: synward.command("status")[0] == 0)
    status = synward.status()
    assert any(note.startswith(CAUSE) for note in status["notes"]), status["notes"]
    assert not any(interface["native"] for interface in status["interfaces"]), "XDP is native"


story(run, start=False)
