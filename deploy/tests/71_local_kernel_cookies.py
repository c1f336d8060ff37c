"""A service on synward's own machine uses the kernel's cookies, as on a kernel that accepts no others: every request succeeds
during a flood, and if the clock of timestamps has no secret offset no option is lost."""

from flood import requests_under_flood
from story import AT_SERVER, story
from transfer import both_ends, negotiated

# Workers never answer with the kernel's cookies.
ONCE = "xdp"


def run(lab, synward):
    lab.run("server", "sysctl", "-qw", "net.ipv4.tcp_syncookies=2")
    if synward.responder != "none":
        lab.free_server()
    # synward learns their options at its start.
    listeners = {family: lab.listen(family) for family in (4, 6)}
    synward.start()
    # With an offset, which only the kernel knows, its cookies keep the MSS alone.
    if synward.responder != "none":
        options(lab, listeners, clock_has_offset=True)
    synward.stop()

    lab.run("server", "sysctl", "-qw", "net.ipv4.tcp_timestamps=2")
    synward.start()
    options(lab, listeners, clock_has_offset=False)
    if synward.responder == "none":
        return
    outcome = requests_under_flood(lab, synward, 4, "http")
    print(outcome.figures())
    assert not outcome.failures, f"{len(outcome.failures)} requests failed, the first: {outcome.failures[:3]}"
    assert outcome.flood_at_server == 0, f"{outcome.flood_at_server} packets of the flood reached the server"
    assert outcome.syn_received == 0, f"{outcome.syn_received} sockets of the server were in SYN-RECV"
    # Workers never answer with the kernel's cookies.
    assert outcome.answered["xdp"] > outcome.flood["sent"] / 1000, "hardly any answer"
    assert synward.metric("cookies_total", result="valid") >= len(outcome.seconds)


def options(lab, listeners, clock_has_offset):
    for family, listener in listeners.items():
        client = lab.connect(family)
        server, _ = listener.accept()
        client.sendall(b"x")
        assert server.recv(1) == b"x"
        if not clock_has_offset:
            ends = negotiated(lab, stamped=True)
            assert ends[0].wscale() == ends[1].wscale()[::-1], f"the ends scale windows differently:\n{ends[0].text}{ends[1].text}"
        else:
            for end in both_ends(lab):
                assert not (end.has("sack") or end.has("ts") or end.wscale()), f"negotiated, though the cookie cannot keep it: {end.text}"
        client.close()
        assert server.recv(1) == b""
        server.close()


story(run, ("--file-mib", "1", "--arms", "none"), start=False, role="server", interfaces=AT_SERVER, handoff="local",
      service='cookies = "kernel"')
