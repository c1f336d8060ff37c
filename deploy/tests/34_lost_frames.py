"""An interface that stops to transmit frames of XDP while synward serves is reported with the cure, and again when it works."""

import json

from background import Work
from story import BENCH, receive, story, wait_until

# Who answers a SYN makes no difference to the segments behind it.
ONCE = "xdp"
BESIDE_OTHERS = True

CAUSE = "in0 does not transmit frames of XDP"


def run(lab, synward):
    if synward.process is None:
        return
    client, server = lab.pair()
    client.sendall(b"question")
    assert receive(server, 8) == b"question"
    assert lost(synward) == 0, "the self-test does not count"

    # A veth transmits frames of XDP only if its other end has an XDP program.
    on_the_server = (BENCH, "pass", "--interface", "server0")
    assert lab.start("server", "pass", *on_the_server, "--detach").wait() == 0
    with Sending(client) as sending:
        wait_until("status names the interface", lambda: CAUSE in degraded(synward))
        assert lost(synward) > 0
        assert lab.start("server", "pass", *on_the_server).wait() == 0
        wait_until("the fault is over", lambda: not degraded(synward))
    sending.check()
    assert synward.metrics()["synward_nic_dropped_total", (("counter", "rx_missed_errors"), ("interface", "in0"))] == 0
    log = synward.process.output()
    assert f"degraded: {CAUSE}" in log and f"no longer: {CAUSE}" in log


def degraded(synward):
    return " ".join(json.loads(synward.command("status", "--json")[1])["degraded"])


def lost(synward):
    return sum(value for (name, labels), value in synward.metrics().items()
               if name == "synward_redirect_failed_total" and ("interface", "in0") in labels)


class Sending(Work):
    """Sends a byte every tenth of a second."""

    def __init__(self, connection):
        super().__init__()
        self.connection = connection

    def work(self):
        while not self.over.wait(0.1):
            self.connection.sendall(b"x")


story(run)
