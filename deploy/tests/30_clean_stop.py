"""A stop leaves no program, map, link, address, rule or file behind, also in the middle of a start, and in that of one after a kill;
with --keep-steering it leaves programs that still answer."""

import re
import signal
import time
from pathlib import Path

from segments import LINUX, SPOOFED, SYN, Segment, Wire, shake_hands
from story import FULL, PORT, SERVER, START, SYNWARD, story, wait_until
from traces import bpf_objects, difference, exists, system

BESIDE_OTHERS = True


def run(lab, synward):
    before = system(lab)
    for _ in range(2 if FULL else 1):
        synward.start()
        client, server = lab.pair()
        client.sendall(b"x")
        objects = bpf_objects(lab, synward.process.pid)
        kinds = {kind for kind, _ in objects}
        assert kinds >= {"prog_id", "map_id"}, f"synward holds {objects}"
        synward.stop()
        client.close()
        server.close()
        # The kernel frees programs and maps a moment after their last reference is dropped.
        wait_until("programs, maps and links are gone", lambda: not any(exists(*one) for one in objects))
        print(f"{len(objects)} programs, maps and links were removed")
        changed = difference(before, system(lab))
        assert not changed, f"the stop left changes behind:\n{changed}"
    stops_before_it_is_ready(lab, synward, before)
    keeps_steering(lab, synward)
    changed = difference(before, system(lab))
    assert not changed, f"`unload` left changes behind:\n{changed}"


def stops_before_it_is_ready(lab, synward, before):
    """Before anything is attached, after that, and while sockets are bound: tried until the signal came then."""
    synward.configure()
    for step, is_there, later in (
        ("before anything is attached", handles_signals, "steered"),
        ("when an interface is steered", lambda process: "steered" in process.output(), "ready:"),
        ("when a socket is bound", lambda process: "socket bound" in process.output(), "ready:"),
        ("before it takes over", handles_signals, "steered"),
        ("when it has taken over", lambda process: "taken over" in process.output(), "ready:"),
    ):
        after_kill = "take" in step
        wait_until(f"a stop {step}", lambda: stops(lab, synward, before, step, is_there, later, after_kill), START)
        print(f"stopped {step}")


def stops(lab, synward, before, step, is_there, later, after_kill):
    """Stops a start. Returns whether that ended it before the log said `later`; whenever it came, it left nothing behind."""
    if after_kill:
        process = lab.start("edge", "synward", SYNWARD, "run", "--config", synward.file)
        wait_until("synward is ready", lambda: "ready:" in process.output(), START)
        process.stop(signal.SIGKILL)
    process = lab.start("edge", "synward", SYNWARD, "run", "--config", synward.file)
    deadline = time.monotonic() + START
    while not is_there(process):
        assert process.running() and time.monotonic() < deadline, f"not stopped {step}: {process.output()}"
        # Some steps take milliseconds.
        time.sleep(0.001)
    code = process.stop()
    log = process.output()
    assert code == 0, f"stopped {step}: exit code {code}: {log}"
    changed = difference(before, system(lab))
    assert not changed, f"a stop {step} left changes behind:\n{changed}\n{log}"
    return "stopped before it was ready" in log and later not in log


def handles_signals(process):
    """Whether SIGTERM has a handler: proc_pid_status(5). Its number is that of the shell until that becomes the program."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = int(re.search(r"SigCgt:\s+([0-9a-f]+)", status)[1], 16)
    return "Name:\tsynward\n" in status and caught >> signal.SIGTERM - 1 & 1


def keeps_steering(lab, synward):
    """The programs left in place answer as soon as the workers are gone."""
    wire = Wire(lab, "client", "client0")
    synward.configure()
    process = lab.start("edge", "synward", SYNWARD, "run", "--config", synward.file, "--keep-steering")
    wait_until("synward is ready", lambda: "ready" in process.output(), START)
    assert process.stop() == 0
    for port in range(3000, 3010):
        shake_hands(wire, Segment(SPOOFED[4], port, SERVER[4], PORT, seq=port, flags=SYN, options=LINUX))
    removed = lab.run("edge", SYNWARD, "unload", "--pin", lab.pins / "synward")
    assert "the XDP program of out0" in removed, removed
    print("the programs left in place answered 10 SYNs")


story(run, start=False)
