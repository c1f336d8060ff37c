"""Each configuration of deploy/examples works with the commands in its first lines, and synward answers their SYNs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from story import RELEASE, ROOT, START, SYNWARD, exit_on_signals, lab_name, wait_until

# The files with commands. The examples leave the responder to synward.
VARIANTS = ("auto", "forward-edge", "local", "many-services", "one-arm", "router", "splice")
BESIDE_OTHERS = True
NAME = lab_name()
EXAMPLES = sorted((ROOT / "deploy/examples").glob("*.toml"))


def commands(example):
    """The indented lines of the comment at its top, with this lab's name."""
    head = example.read_text().split("\n\n")[0]
    lines = [line.removeprefix("#   ") for line in head.splitlines() if line.startswith("#   ")]
    return [line.replace(" try", f" {NAME}").replace("/try/", f"/{NAME}/").replace("target/release", str(RELEASE))
            for line in lines]


def configuration(path):
    """A copy in the lab's folder, with this lab's name."""
    there = Path(f"/run/synward-lab/{NAME}") / path.name
    there.write_text(path.read_text().replace("/try/", f"/{NAME}/"))
    return there


def follow(example):
    pages, sockets = 0, set()
    for number, line in enumerate(commands(example)):
        for path in EXAMPLES:
            if f"deploy/examples/{path.name}" in line:
                line = line.replace(f"deploy/examples/{path.name}", str(configuration(path)))
        print("$", line, flush=True)
        if " run --config " in line:
            serve(line, Path(f"/run/synward-lab/{NAME}/run{number}.log"))
            sockets.add(re.search(r'^control = "(.*)"', Path(line.split()[-1]).read_text(), re.MULTILINE)[1])
            continue
        if "deploy/lab down" in line:
            answered = sum(map(answers, sockets))
            assert answered >= pages > 0, f"{pages} pages were requested, and {answered} SYNs answered"
        output = subprocess.run(["bash", "-c", line], check=True, text=True, stdout=subprocess.PIPE, timeout=60).stdout
        if " curl " in line:
            assert output == "synward lab\n", output
            pages += 1


def answers(control):
    """How many SYNs the synward with this control socket has answered."""
    status = subprocess.run([SYNWARD, "--control", control, "status", "--json"], text=True, stdout=subprocess.PIPE).stdout
    return sum(service["answered_afxdp"] + service["counters"]["answered_xdp"] for service in json.loads(status)["services"])


def serve(line, log):
    with open(log, "wb") as file:
        process = subprocess.Popen(["bash", "-c", f"exec {line}"], stdout=file, stderr=subprocess.STDOUT)

    def ready():
        assert process.poll() is None, f"it ended:\n{log.read_text()}"
        return "ready" in log.read_text()

    wait_until("synward is ready", ready, START)


exit_on_signals()
os.chdir(ROOT)
assert tuple(example.stem for example in EXAMPLES if commands(example)) == VARIANTS, "VARIANTS are the files with commands"
try:
    follow(ROOT / f"deploy/examples/{sys.argv[1]}.toml")
finally:
    subprocess.run([ROOT / "deploy/lab", "down", NAME], check=True)
