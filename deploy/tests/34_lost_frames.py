"""An interface that stops transmitting frames of XDP while synward serves is reported with the cure, and again when it works.

Metrics give the reason as an errno: the kernel refuses the redirect, the driver refuses all, or it drops some without an errno.
Story 46 has frames that are dropped after the verdict.
"""

import errno
from collections import Counter

from background import Work
from story import BENCH, receive, story, talk, wait_until

# Who answers a SYN makes no difference to the segments behind it.
ONCE = "xdp"
BESIDE_OTHERS = True

CAUSE = "in0 does not transmit frames of XDP"
# Linux 6.3 and later know which devices take redirected frames; before, the driver refused them.
REFUSED = {str(errno.EOPNOTSUPP), str(errno.ENXIO)}


def run(lab, synward):
    if synward.process is None:
        return
    client, server = lab.pair()
    # Frames are lost for seconds, and the client's kernel waits up to 13 s between two attempts.
    client.settimeout(60)
    client.sendall(b"question")
    assert receive(server, 8) == b"question"
    assert not lost(synward), "the self-test does not count"
    without_a_program(lab, synward, client)
    with_a_smaller_mtu(lab, synward, client)
    assert synward.metrics()["synward_nic_dropped_total", (("counter", "rx_missed_errors"), ("interface", "in0"))] == 0


def without_a_program(lab, synward, client):
    # A veth transmits frames of XDP only if its other end has an XDP program.
    on_the_server = (BENCH, "pass", "--interface", "server0")
    assert lab.start("server", "pass", *on_the_server, "--detach").wait() == 0
    with Sending(client, b"x") as sending:
        wait_until("status names the interface", lambda: CAUSE in degraded(synward))
        assert lost(synward).keys() <= REFUSED and lost(synward).total() > 0, lost(synward)
        assert lab.start("server", "pass", *on_the_server).wait() == 0
        wait_until("the fault is over", lambda: not degraded(synward))
    sending.check()
    log = synward.process.output()
    assert f"degraded: {CAUSE}" in log and f"no longer: {CAUSE}" in log


def with_a_smaller_mtu(lab, synward, client):
    """The driver of a veth drops frames that are too long for its other end, which the kernel cannot know."""
    before = lost(synward)
    lab.run("server", "ip", "link", "set", "server0", "mtu", "1280")
    with Sending(client, bytes(1400)) as sending:
        wait_until("status names the cause", lambda: f"{CAUSE} (its driver drops them)" in degraded(synward))
        assert (lost(synward) - before).keys() == {"none"}, lost(synward)
        lab.run("server", "ip", "link", "set", "server0", "mtu", "1500")

        def is_over():
            # The kernel of the client above waits before it retransmits; another client need not wait.
            talk(*lab.pair())
            return not degraded(synward)
        wait_until("the fault is over", is_over)
    sending.check()


def degraded(synward):
    return " ".join(synward.status()["degraded"])


def lost(synward):
    """The lost frames of in0, by the label `errno`."""
    return Counter({dict(labels)["errno"]: value for (name, labels), value in synward.metrics().items()
                    if name == "synward_redirect_failed_total" and ("interface", "in0") in labels and value})


class Sending(Work):
    """Sends words every tenth of a second."""

    def __init__(self, connection, words):
        super().__init__()
        self.connection, self.words = connection, words

    def work(self):
        while not self.over.wait(0.1):
            self.connection.sendall(self.words)


story(run)
