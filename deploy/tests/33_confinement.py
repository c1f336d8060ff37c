"""After the start no thread keeps more than it needs, as /proc reports it, and everything still works: traffic, `status`,
metrics, a change of the mode, a clean stop."""

from pathlib import Path

from story import receive, story

# Only with this responder do workers transmit frames.
ONCE = "afxdp"
BESIDE_OTHERS = True
# Bits of linux/capability.h: CAP_NET_ADMIN, CAP_NET_RAW, CAP_IPC_LOCK, CAP_BPF.
CONTROL = 1 << 12 | 1 << 13 | 1 << 14 | 1 << 39


def run(lab, synward):
    threads = [confinement(task) for task in Path(f"/proc/{synward.process.pid}/task").iterdir()]
    names = {thread["Name"] for thread in threads}
    assert {"synward", "log", "worker-0", "worker-1"} <= names, names
    for thread in threads:
        allowed = CONTROL if thread["Name"] == "synward" else 0
        for capabilities in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"):
            assert int(thread[capabilities], 16) & ~allowed == 0, thread
        # SECCOMP_MODE_FILTER
        assert thread["NoNewPrivs"] == "1" and thread["Seccomp"] == "2", thread
        print(*(f"{name} {value}" for name, value in thread.items()))
    limits = Path(f"/proc/{synward.process.pid}/limits").read_text()
    assert "Max core file size        0                    0" in limits, limits

    works(lab)
    for mode in "monitor", "always":
        synward.mode(mode)
    works(lab)
    code, text = synward.command("status")
    assert code == 0, f"status exits with {code}: {text}"
    assert synward.metric("handoffs_total") >= 2
    assert "not confined" not in synward.process.output(), synward.process.output()


def confinement(task):
    wanted = {"Name", "CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp"}
    lines = (line.split(":", 1) for line in (task / "status").read_text().splitlines())
    return {name: value.strip() for name, value in lines if name in wanted}


def works(lab):
    for family in 4, 6:
        client, server = lab.pair(family)
        client.sendall(b"hello")
        assert receive(server, 5) == b"hello"
        client.close()
        server.close()


story(run)
