"""synward works beside other XDP programs: one that runs first and calls it, and one behind it that gets what belongs to no
service. A caller that stops calling it is reported, and so are frames that the one behind aborts. A restart changes nothing for
the caller."""

import json
import os
import socket
import subprocess
from pathlib import Path

from story import ROOT, SERVER, SYNWARD, story, talk, wait_until

# Who calls the program does not depend on who answers a SYN.
ONCE = "xdp"
BESIDE_OTHERS = True
# The program that synward gives to callers is a caller as well: it counts frames by interface, and calls what is in its slot.
OTHER = ROOT / "ebpf/xdp/objects/entry.o"


class Other:
    """A program of somebody else, pinned in a folder of the lab."""

    def __init__(self, lab, name, interface):
        self.folder = lab.folder / "bpf" / name
        self.folder.mkdir(parents=True)
        self.program = self.folder / "program"
        self.seen_by_synward = Path("/sys/fs/bpf") / name / "program"
        # A program for frames in one buffer, as synward's is here: the name of the section says so.
        single = lab.folder / f"{name}.o"
        single.write_bytes(OTHER.read_bytes().replace(b"xdp.frags\0", b"xdp\0frags\0"))
        bpftool("prog", "load", single, self.program, "type", "xdp", "pinmaps", self.folder)
        index = json.loads(lab.run("edge", "ip", "-j", "link", "show", interface))[0]["ifindex"]
        self.key = [str(byte) for byte in index.to_bytes(4, "little")]
        zeros = json.loads(bpftool("-j", "map", "show", "pinned", self.folder / "ARRIVED"))["bytes_value"] * ["0"]
        bpftool("map", "update", "pinned", self.folder / "ARRIVED", "key", *self.key, "value", *zeros)

    def call(self, program):
        """What its operator does to chain another program."""
        bpftool("map", "update", "pinned", self.folder / "STEER", "key", "0", "0", "0", "0", "value", "pinned", program)

    def let_go(self):
        bpftool("map", "delete", "pinned", self.folder / "STEER", "key", "0", "0", "0", "0")

    def frames(self):
        found = json.loads(bpftool("-j", "map", "lookup", "pinned", self.folder / "ARRIVED", "key", *self.key))
        return sum(int.from_bytes(bytes(int(byte, 16) for byte in cpu["value"]), "little") for cpu in found["values"])


def bpftool(*words):
    return subprocess.run(["bpftool", *map(str, words)], check=True, text=True, stdout=subprocess.PIPE).stdout


def run(lab, synward):
    before, behind = Other(lab, "before", "out0"), Other(lab, "behind", "out0")
    attach(lab, before.program)
    refused(synward)

    pins = lab.pins / "synward"
    synward.settings["interfaces"] = f"""
[[interface]]
name = "out0"
side = "outside"
attach = "none"
next = "{behind.seen_by_synward}"

[[interface]]
name = "in0"
side = "inside"
"""
    synward.start()
    assert "waiting for the first packet" in synward.succeed("status"), "nothing calls the program yet"
    before.call(pins / "entry")
    connect_and_count(lab, synward, before, behind)
    wait_until("the first packet is seen", lambda: "waiting" not in synward.command("status")[1])

    frames_are_aborted(lab, synward, behind)

    # Whoever replaces the caller may forget synward.
    before.let_go()
    text = degraded(synward, "out0 receives packets, and none reaches synward", lambda: datagrams(lab, 100))
    assert "/sys/fs/bpf/synward/entry" in text, text
    before.call(pins / "entry")
    datagrams(lab, 1)
    wait_until("it serves again", lambda: synward.command("status")[0] == 0)

    # The caller keeps the program, and the next process puts its own behind it.
    synward.stop()
    synward.start()
    connect_and_count(lab, synward, before, behind)
    lab.run("edge", "ip", "link", "set", "out0", "xdp", "off")
    degraded(synward, "out0 has no XDP program")


def attach(lab, program):
    lab.run("edge", "ip", "link", "set", "out0", "xdpdrv", "pinned", str(program))


def refused(synward):
    """An occupied interface names the way out."""
    synward.configure()
    process = synward.lab.start("edge", "refused", SYNWARD, "run", "--config", synward.file)
    assert process.wait(60) == 1, process.output()
    assert "out0 runs XDP program entry" in process.output() and 'attach = "none"' in process.output(), process.output()


def degraded(synward, words, meanwhile=lambda: None):
    """Waits until `status` says these words."""
    def found():
        meanwhile()
        code, text = synward.command("status")
        return code == 3 and words in text and text
    return wait_until(f"it is degraded: {words}", found, 30)


def connect_and_count(lab, synward, before, behind):
    carried = synward.metric("handoffs_total", handoff="splice", result="established")
    seen, passed = before.frames(), behind.frames()
    for family in 4, 6:
        client, server = lab.pair(family)
        client.sendall(b"question")
        assert server.recv(8) == b"question"
        client.close()
        server.close()
    assert synward.metric("handoffs_total", handoff="splice", result="established") == carried + 2
    assert before.frames() - seen >= 6, "all frames come by the program before"
    in_between = behind.frames()
    datagrams(lab, 20)
    wait_until("the program behind gets them", lambda: behind.frames() >= in_between + 20)
    assert in_between - passed < before.frames() - seen - 20, "what a service has does not reach the program behind"


def frames_are_aborted(lab, synward, behind):
    """A program with a fault returns XDP_ABORTED, which is 0."""
    source = '__attribute__((section("xdp"))) int fault(void *frame) { return 0; }'
    compiled, program = lab.folder / "fault.o", behind.folder / "fault"
    subprocess.run([os.environ.get("CLANG", "clang-19"), "-target", "bpf", "-O2", "-x", "c", "-c", "-", "-o", compiled],
                   input=source, text=True, check=True)
    bpftool("prog", "load", compiled, program, "type", "xdp")
    behind.call(program)

    words = "out0 does not transmit frames of XDP (its driver or another XDP program drops them"
    degraded(synward, words, lambda: datagrams(lab, 10))
    aborted = synward.metric("redirect_failed_total", interface="out0", errno="exception")
    # Some in each of three rounds. Others may be lost meanwhile, as neighbour solicitations.
    assert 3 <= aborted <= synward.metric("redirect_failed_total"), aborted
    behind.let_go()

    def serves():
        # The fault is over when frames have left and none was lost.
        talk(*lab.pair())
        return synward.command("status")[0] == 0
    wait_until("it serves again", serves)


def datagrams(lab, count):
    """UDP belongs to no service."""
    with lab.inside("client"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(count):
            sender.sendto(b"other", (SERVER[4], 53))


if __name__ == "__main__":
    story(run, start=False)
