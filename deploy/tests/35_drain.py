"""A drain accepts no new connection except by cookies that were issued before, ends none, and ends the process when none is left."""

import socket
import subprocess

from segments import ACK, LINUX, RST, SPOOFED, SYN, Segment, Wire, shake_hands
from story import CLIENT, FAMILY, PATIENCE, PORT, SERVER, SYNWARD, story, talk, wait_until

# XDP drops the SYNs before a responder is chosen.
ONCE = "xdp"
BESIDE_OTHERS = True


def run(lab, synward):
    synward.start()
    pairs = [lab.pair(4), lab.pair(6)]
    listener = lab.listen(4)
    late = LateClient(lab)
    draining = start_drain(lab, synward, "--timeout", "60")
    assert synward.get("/healthz") == (200, "ok\n"), "a process that drains is healthy"
    code, text = synward.command("status")
    assert code == 3 and "draining" in text, f"status: exit code {code}: {text}"
    for family in 4, 6:
        refused_silently(lab, synward, family)
    late.complete(synward)
    talk_all(pairs)

    code, text = synward.command("undrain")
    assert code == 0, f"undrain: exit code {code}: {text}"
    assert draining.wait(PATIENCE) == 1, "the command that waited learns that the drain was cancelled"
    assert synward.get("/readyz") == (200, "ok\n")
    listener.close()
    pairs.append(lab.pair(4))

    draining = start_drain(lab, synward)
    talk_all(pairs)
    late.reset()
    for client, server in pairs:
        client.close()
        server.close()
    said, code = draining.communicate(timeout=60)[0], draining.returncode
    assert code == 0 and "no connection is left" in said, f"drain: exit code {code}: {said}"
    ended(synward)

    synward.start()
    pairs = [lab.pair(6)]
    draining = start_drain(lab, synward, "--timeout", "3s")
    said, code = draining.communicate(timeout=60)[0], draining.returncode
    assert code == 0 and "1 flow and 0 openings left" in said, f"drain: exit code {code}: {said}"
    ended(synward)


class LateClient:
    """A client whose SYN is answered before the drain, and whose ACK comes during it."""

    def __init__(self, lab):
        self.wire = Wire(lab, "client", "client0")
        syn = Segment(SPOOFED[4], 4000, SERVER[4], PORT, seq=100, flags=SYN, options=LINUX)
        self.ack = shake_hands(self.wire, syn)

    def complete(self, synward):
        self.wire.send(self.ack)
        wait_until("the cookie opens its connection", lambda: synward.metric(
            "handoffs_total", result="established") == 3)

    def reset(self):
        self.wire.send(self.ack.but(flags=RST | ACK))


def start_drain(lab, synward, *options):
    """Starts `synward drain`, and waits until readiness is gone."""
    command = subprocess.Popen([SYNWARD, "--control", synward.control, "drain", *options], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    def is_gone():
        code, text = synward.get("/readyz")
        return code == 503 and text
    assert "draining" in wait_until("readiness is gone", is_gone)
    return command


def refused_silently(lab, synward, family):
    """A new client hears nothing, so that it tries again."""
    dropped = synward.metric("drops_total", reason="draining")
    with lab.inside("client"):
        client = socket.socket(FAMILY[family])
    with client:
        client.settimeout(0.5)
        try:
            client.connect((SERVER[family], PORT))
        except TimeoutError:
            wait_until("the SYN is dropped", lambda: synward.metric("drops_total", reason="draining") > dropped)
            return
    raise AssertionError(f"a client of {CLIENT[family]} was connected during the drain")


def talk_all(pairs):
    for client, server in pairs:
        talk(client, server)


def ended(synward):
    process, synward.process = synward.process, None
    code = process.wait()
    assert code == 0, f"the process exited with {code} after the drain"


story(run, start=False)
