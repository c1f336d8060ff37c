"""What a program may leave behind in the system, to compare before with after."""

import ctypes
import re
import subprocess
from pathlib import Path

from story import ROOT, libc

# System call and commands of bpf(2).
BPF = 321
GET_FD_BY_ID = {"prog_id": 13, "map_id": 14, "link_id": 30}


def system(lab):
    """The edge's network, pins and files as text, one line for each fact."""
    facts = []
    for command in (
        "ip -d link", "ip addr", "ip -4 route show table all", "ip -6 route show table all", "ip -4 rule", "ip -6 rule",
        "ip neigh show nud permanent", "nft list ruleset", "sysctl -a --pattern ^net\\.(core|ipv[46])\\.",
        "ethtool -k out0", "tc qdisc show", "tc filter show dev out0 ingress",
    ):
        facts += [f"{command}: {line}" for line in lab.run("edge", *command.split()).splitlines()]
    facts += napi(lab)
    for folder in lab.pins, lab.folder, Path("/run/synward"), Path("/etc/synward"):
        facts += sorted(str(path) for path in folder.glob("**/*") if not belongs_to_story(lab, path))
    return [fact for fact in facts if not re.search(r"valid_lft|expires \d", fact)]


def belongs_to_story(lab, path):
    """Logs, settings and the server's files belong to the story."""
    return path.suffix in (".log", ".pid", ".toml") or path.name == "secret" or lab.nginx in (path, *path.parents)


def napi(lab):
    show = "grep -H '' /sys/class/net/*/napi_defer_hard_irqs /sys/class/net/*/gro_flush_timeout /sys/class/net/*/threaded"
    done = subprocess.run([ROOT / "deploy/lab", "exec", lab.name, "edge", "sh", "-c", show], check=False, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout.splitlines()


def difference(before, after):
    """The facts that went (-) and came (+), one line for each."""
    return "\n".join([f"- {fact}" for fact in before if fact not in after] +
                     [f"+ {fact}" for fact in after if fact not in before])


def bpf_objects(lab, pid, role="edge"):
    """Programs, maps and links that a process holds or has attached to the role's interfaces, as {(kind, id)}."""
    objects = set()
    for description in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            lines = description.read_text().splitlines()
        except FileNotFoundError:
            # The process has closed it meanwhile: a connection, never an object that it keeps.
            continue
        for line in lines:
            kind, _, number = line.partition(":")
            if kind in GET_FD_BY_ID:
                objects.add((kind, int(number)))
    for number in re.findall(r"prog/xdp id (\d+)", lab.run(role, "ip", "-d", "link")):
        objects.add(("prog_id", int(number)))
    return objects


def exists(kind, number):
    """Whether the kernel still has the object."""
    attributes = (ctypes.c_uint32 * 32)(number)
    descriptor = libc.syscall(BPF, GET_FD_BY_ID[kind], ctypes.byref(attributes), 12)
    if descriptor >= 0:
        libc.close(descriptor)
    return descriptor >= 0


def program_times(number):
    """Nanoseconds and number of runs of a program, counted while the kernel keeps statistics: bpf_prog_show_fdinfo of
    kernel/bpf/syscall.c."""
    attributes = (ctypes.c_uint32 * 32)(number)
    descriptor = libc.syscall(BPF, GET_FD_BY_ID["prog_id"], ctypes.byref(attributes), 12)
    assert descriptor >= 0, f"no program {number}"
    try:
        lines = dict(line.split(":\t") for line in Path(f"/proc/thread-self/fdinfo/{descriptor}").read_text().splitlines())
    finally:
        libc.close(descriptor)
    return int(lines["run_time_ns"]), int(lines["run_cnt"])
