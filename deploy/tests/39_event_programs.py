"""The program of `on_event` gets each event, whatever else it does; if the process that runs it is killed, `status` says so."""

import json
import os
import signal

from story import SYNWARD, story, talk, wait_until

# Programs are run in the same way with each responder.
ONCE = "xdp"
BESIDE_OTHERS = True


def run(lab, synward):
    if synward.responder == "none":
        return
    told = lab.folder / "told"
    # It prints without end.
    script = f"cat >> {told}; exec yes >&2"
    synward.start(service=f"on_event = {json.dumps(['/bin/sh', '-c', script])}")
    for _ in range(2):
        drain(synward, lab)
        synward.succeed("undrain")
    wait_until("all events arrived", lambda: told.exists() and len(told.read_text().splitlines()) == 4)
    events = [json.loads(line)["event"] for line in told.read_text().splitlines()]
    assert sorted(events) == ["drain"] * 2 + ["undrain"] * 2, events

    process = json.loads(synward.succeed("status", "--json"))["pid"]
    os.kill(runner_of(process), signal.SIGKILL)
    wait_until("status has a note", lambda: any(
        "runs the programs of on_event has ended" in note for note in json.loads(synward.succeed("status", "--json"))["notes"]))
    # A thread of its own writes the log.
    lines = lambda: synward.process.output().count("runs the programs of on_event has ended")
    wait_until("the log says it", lines)
    ends = lab.pair(4)
    talk(*ends)
    assert lines() == 1, "it says it again"


def drain(synward, lab):
    """Begins a drain. The command would wait for its end."""
    waiting = lab.start("edge", "drain", SYNWARD, "--control", synward.control, "drain", "--timeout", "600")
    wait_until("it drains", lambda: synward.command("status")[0] == 3)
    waiting.stop()


def runner_of(process):
    """The process that runs programs for this one."""
    for child in map(int, open(f"/proc/{process}/task/{process}/children").read().split()):
        if b"event-commands" in open(f"/proc/{child}/cmdline", "rb").read():
            return child
    raise AssertionError(f"process {process} has no such child")


story(run, start=False)
