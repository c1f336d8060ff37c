"""Each configuration of deploy/examples works with the commands in its first lines."""

import os
import subprocess
from pathlib import Path

from story import RELEASE, ROOT, START, exit_on_signals, lab_name, wait_until

# The examples leave the responder to synward.
VARIANTS = ("auto",)
BESIDE_OTHERS = True
NAME = lab_name()


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
    pages = 0
    for number, line in enumerate(commands(example)):
        for path in sorted((ROOT / "deploy/examples").glob("*.toml")):
            if f"deploy/examples/{path.name}" in line:
                line = line.replace(f"deploy/examples/{path.name}", str(configuration(path)))
        print("$", line, flush=True)
        if " run --config " in line:
            serve(line, Path(f"/run/synward-lab/{NAME}/run{number}.log"))
            continue
        output = subprocess.run(["bash", "-c", line], check=True, text=True, stdout=subprocess.PIPE, timeout=60).stdout
        if " curl " in line:
            assert output == "synward lab\n", output
            pages += 1
    assert pages, "no command requests a page"


def serve(line, log):
    with open(log, "wb") as file:
        process = subprocess.Popen(["bash", "-c", f"exec {line}"], stdout=file, stderr=subprocess.STDOUT)

    def ready():
        assert process.poll() is None, f"it ended:\n{log.read_text()}"
        return "ready" in log.read_text()

    wait_until("synward is ready", ready, START)


exit_on_signals()
os.chdir(ROOT)
for example in sorted((ROOT / "deploy/examples").glob("*.toml")):
    if commands(example):
        try:
            follow(example)
        finally:
            subprocess.run([ROOT / "deploy/lab", "down", NAME], check=True)
