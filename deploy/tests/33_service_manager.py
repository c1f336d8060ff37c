"""The service manager is notified of readiness, reloads and the stop, and its watchdog while all works; the log has the journal's
form, or is JSON."""

import contextlib
import json
import os
import re
import signal
import socket
import time
from pathlib import Path

from story import SYNWARD, START, story, wait_until

# No packet is sent.
ONCE = "xdp"
BESIDE_OTHERS = True
# Four notifications in this time.
WATCHDOG = 1.0


class Manager:
    """What systemd gives to a service, and what the service says (sd_notify(3))."""

    def __init__(self, lab, role, path):
        # Abstract names belong to a network namespace.
        with lab.inside(role):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(re.sub("^@", "\0", path))
        self.socket.setblocking(False)
        self.environment = [f"NOTIFY_SOCKET={path}", f"WATCHDOG_USEC={WATCHDOG * 1e6:.0f}"]

    def told(self):
        """The messages since the last call, without those of the watchdog, and how many of these there were."""
        messages = []
        with contextlib.suppress(BlockingIOError):
            while True:
                messages.append(self.socket.recv(4096).decode().strip().splitlines())
        fed = messages.count(["WATCHDOG=1"])
        return [message for message in messages if message != ["WATCHDOG=1"]], fed


def run(lab, synward):
    if synward.responder == "none":
        return
    manager = Manager(lab, synward.role, str(lab.folder / "notify.sock"))
    log = lab.folder / f"{synward.name}.log"
    log.touch()
    stderr = os.stat(log)
    begin(lab, synward, manager, JOURNAL_STREAM=f"{stderr.st_dev}:{stderr.st_ino}")
    assert manager.told()[0] == [["READY=1"]]
    reloads(synward, manager)
    is_watched(synward, manager)
    synward.stop()
    assert manager.told()[0] == [["STOPPING=1"]]
    is_for_the_journal(log.read_text().splitlines())
    # Another stream than stderr's, and a socket with an abstract name.
    manager = Manager(lab, synward.role, "@synward-notify")
    begin(lab, synward, manager, "--log", "json", JOURNAL_STREAM="1:1")
    synward.configure(service="nonsense = 1")
    assert synward.command("reload")[0] == 1
    synward.stop()
    told = [message[0] for message in manager.told()[0]]
    assert told == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"], told
    is_json(log.read_text().splitlines())


def begin(lab, synward, manager, *options, **environment):
    """Starts synward as a service of the manager, without a word before it is ready."""
    synward.configure()
    settings = [*manager.environment, *(f"{name}={value}" for name, value in environment.items())]
    synward.process = lab.start(synward.role, synward.name, "env", *settings, SYNWARD, "run", "--config", synward.file, *options)
    wait_until("synward is ready", synward.ready, START)


def reloads(synward, manager):
    """Each is told with its time, and its end, also if it was refused."""
    for works in True, False, True:
        before = time.monotonic()
        synward.configure(service="" if works else "nonsense = 1")
        assert (synward.command("reload")[0] == 0) == works
        (begun, ended), _ = manager.told()
        assert (begun[0], ended) == ("RELOADING=1", ["READY=1"]), (begun, ended)
        stamp = int(re.fullmatch(r"MONOTONIC_USEC=(\d+)", begun[1])[1]) / 1e6
        assert before - 0.001 <= stamp <= time.monotonic(), (before, stamp)
    os.kill(synward.process.pid, signal.SIGHUP)
    messages = []
    wait_until("the end of the reload by SIGHUP is told", lambda: messages.extend(manager.told()[0]) or ["READY=1"] in messages)


def is_watched(synward, manager):
    """Fed while it works, and not while it is frozen."""
    fed = []
    wait_until("it is fed", lambda: fed.append(manager.told()[1]) or sum(fed) >= 3)
    os.kill(synward.process.pid, signal.SIGSTOP)
    threads = list(Path(f"/proc/{synward.process.pid}/task").iterdir())
    wait_until("every thread has stopped", lambda: all(
        (thread / "stat").read_text().rpartition(")")[2].split()[0] == "T" for thread in threads))
    manager.told()
    time.sleep(WATCHDOG)
    fed = manager.told()[1]
    os.kill(synward.process.pid, signal.SIGCONT)
    assert fed == 0, f"a frozen process said {fed} times that all works"
    wait_until("it is fed again", lambda: manager.told()[1])


def is_for_the_journal(lines):
    """A priority in front of each line, and no time."""
    assert lines and all(re.match(r"<[3467]>\S", line) for line in lines), lines
    assert {line[:3] for line in lines} >= {"<4>", "<6>"}, lines
    assert not any(re.search(r"\d\d:\d\d:\d\d", line) for line in lines), lines


def is_json(lines):
    for line in map(json.loads, lines):
        assert {"timestamp", "level", "message"} <= set(line) and line["level"] in ("ERROR", "WARN", "INFO"), line
        assert all(isinstance(value, (str, int, float, bool)) for value in line.values()), line
    assert any("nonsense" in line for line in lines), lines


story(run, start=False)
