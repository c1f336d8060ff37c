"""A listener for Multipath TCP: the kernel answers until it has cookies of its own; then synward answers with these.

With net.ipv4.tcp_timestamps=2 these cookies keep all options.
"""

import contextlib

from listeners import client_socket, exchange, reset, server_socket
from story import PORT, SERVER, Skip, local_story, wait_until
from transfer import both_ends

# Workers never answer with the kernel's cookies.
ONCE = "xdp"
BESIDE_OTHERS = True
IPPROTO_MPTCP = 262


def run(lab, synward):
    with contextlib.ExitStack() as stack:
        listeners = {family: stack.enter_context(mptcp_listener(lab, family)) for family in (4, 6)}
        for family, listener in listeners.items():
            kernel_cookies(lab, synward, family, listener)
            many_clients(lab, synward, family, listener)
        # If the clock of timestamps has no secret offset, the kernel's cookies hold all options.
        lab.run("server", "sysctl", "-qw", "net.ipv4.tcp_syncookies=2", "net.ipv4.tcp_timestamps=2")
        if synward.responder != "none":
            for family, listener in listeners.items():
                wait_until("synward uses the timestamps", lambda: keeps_options(lab, family, listener), 60)


def mptcp_listener(lab, family):
    try:
        listener = server_socket(lab, family, protocol=IPPROTO_MPTCP)
    except OSError as reason:
        raise Skip(f"no MPTCP: {reason}") from None
    listener.listen(8)
    return listener


def kernel_cookies(lab, synward, family, listener):
    exchange(lab, family, listener)
    before = lab.kernel_counters()["TCPReqQFullDoCookies"], synward.metric("cookies_total", result="sent")
    lab.run("server", "sysctl", "-qw", "net.ipv4.tcp_syncookies=2")
    valid = synward.metric("cookies_total", result="valid")
    exchange(lab, family, listener)
    exchange(lab, family, listener, protocol=IPPROTO_MPTCP)
    after = lab.kernel_counters()["TCPReqQFullDoCookies"], synward.metric("cookies_total", result="sent")
    assert after[0] > before[0], "no cookie of the kernel was made"
    if synward.responder != "none":
        assert after[1] >= before[1] + 2, "synward did not answer"
        assert synward.metric("cookies_total", result="valid") >= valid + 2
    lab.run("server", "sysctl", "-qw", "net.ipv4.tcp_syncookies=1")


def many_clients(lab, synward, family, listener):
    """Many from behind one address: their cookies, which have no timestamps, count as wrong nowhere, also where a service has a
    list."""
    lab.run("server", "sysctl", "-qw", "net.ipv4.tcp_syncookies=2")
    for _ in range(100):
        exchange(lab, family, listener)
    if synward.responder != "none":
        assert synward.metric("drops_total", reason="plain_limit") == 0
    lab.run("server", "sysctl", "-qw", "net.ipv4.tcp_syncookies=1")


def keeps_options(lab, family, listener):
    client = client_socket(lab, family)
    client.connect((SERVER[family], PORT))
    server, _ = listener.accept()
    ends = both_ends(lab)
    reset(client, server)
    return all(end.has("sack") and end.has("ts") and end.wscale() for end in ends)


local_story(run, "--no-nginx", service='deny = ["203.0.113.0/24"]')
