"""After the start no thread keeps more than it needs, as /proc reports it, nor after a reload, or after an interface was deleted
and created again. Everything still works: traffic, `status`, metrics, a change of the mode. The secret is not in memory any more,
and a crash leaves no core file.

With `--full` with each handoff."""

import os
import re
import signal
from pathlib import Path

from elsewhere import elsewhere
from handoffs import HANDOFFS, each_handoff
from story import FULL, receive, wait_until

# Only with this responder do workers transmit frames.
ONCE = "afxdp"
BESIDE_OTHERS = True
# Bits of linux/capability.h: CAP_NET_ADMIN, CAP_NET_RAW, CAP_IPC_LOCK, CAP_BPF.
CONTROL = 1 << 12 | 1 << 13 | 1 << 14 | 1 << 39
THREADS = {"synward", "log", "control", "metrics"}
WORKERS = {"worker-0", "worker-1"}


def run(lab, synwards):
    for one in synwards:
        # The thread that answers is confined.
        one.succeed("status")
        confined(one)
    works(lab)
    for one in synwards:
        for mode in "monitor", "always":
            one.mode(mode)
        one.succeed("reload")
        one.configure(service=f'{one.settings["service"]}\ndeny = ["203.0.113.0/24"]')
        assert "deny" in one.succeed("reload")
        confined(one)
    works(lab)
    for one in synwards:
        attached_again(lab, one)
        confined(one)
        wait_until("nothing is wrong", lambda: one.command("status")[0] == 0)
        log = one.process.output()
        assert "not confined" not in log and "EPERM" not in log and "not permitted" not in log, log
        secret_is_forgotten(one)
    works(lab)
    assert synwards[-1].metric("handoffs_total") >= 3
    for one in synwards:
        crashes_without_a_core(one)


def confined(one):
    folder = Path(f"/proc/{one.process.pid}")
    threads = [confinement(task) for task in (folder / "task").iterdir()]
    names = {thread["Name"] for thread in threads}
    needs_workers = one.settings["handoff"] == "splice" or one.responder == "afxdp"
    assert names == (THREADS | WORKERS if needs_workers else THREADS), names
    for thread in threads:
        allowed = CONTROL if thread["Name"] == "synward" else 0
        for capabilities in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"):
            assert int(thread[capabilities], 16) & ~allowed == 0, thread
        # SECCOMP_MODE_FILTER
        assert thread["NoNewPrivs"] == "1" and thread["Seccomp"] == "2", thread
        assert int(thread["Seccomp_filters"]) >= 2, thread
        print(*(f"{name} {value}" for name, value in thread.items()))
    limits = (folder / "limits").read_text()
    assert re.search(r"Max core file size +0 +0 ", limits), limits


def confinement(task):
    wanted = {"Name", "CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters"}
    lines = (line.split(":", 1) for line in (task / "status").read_text().splitlines())
    return {name: value.strip() for name, value in lines if name in wanted}


def attached_again(lab, one):
    """Moves an interface away and back, with which its sockets and the program at TC go."""
    name = "server0" if one.role == "server" else "in0"
    steered_again = one.process.output().count("steered again")
    with elsewhere(lab, [(one.role, name)]):
        pass
    wait_until("it is steered again", lambda: one.process.output().count("steered again") > steered_again)
    wait_until("nothing is wrong", lambda: one.command("status")[0] == 0)


def secret_is_forgotten(one):
    """As text and as bytes. The search finds another value of the configuration."""
    text = one.secret.read_text().split()[-1]
    assert len(text) == 64, f"a secret of {len(text)} hexadecimal digits"
    assert in_memory(one, str(one.control).encode()), "the search does not find the control socket's path"
    found = in_memory(one, text.encode(), bytes.fromhex(text))
    assert not found, f"the secret is still in memory: {found}"


def in_memory(one, *forms):
    """Where one of these is in memory that the process can write."""
    found = []
    with open(f"/proc/{one.process.pid}/maps") as maps, open(f"/proc/{one.process.pid}/mem", "rb") as memory:
        for line in maps:
            area, rights, *_, name = line.split(None, 5) if len(line.split(None, 5)) == 6 else (*line.split(), "")
            if "w" not in rights or "bpf" in name or rights.endswith("s"):
                continue
            begin, end = (int(number, 16) for number in area.split("-"))
            memory.seek(begin)
            try:
                bytes_there = memory.read(end - begin)
            except OSError:
                continue
            found += [f"{area} {name}".strip() for form in forms if form in bytes_there]
    return found


def crashes_without_a_core(one):
    process, one.process = one.process, None
    folder = Path(os.readlink(f"/proc/{process.pid}/cwd"))
    before = set(folder.glob("core*"))
    process.stop(signal.SIGABRT)
    assert set(folder.glob("core*")) == before, f"a core file in {folder}"


def works(lab):
    for family in 4, 6:
        client, server = lab.pair(family)
        client.sendall(b"hello")
        assert receive(server, 5) == b"hello"
        client.close()
        server.close()


each_handoff(run, HANDOFFS if FULL else ("splice",))
