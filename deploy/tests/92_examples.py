"""Each example of deploy/examples works as its own first lines say."""

import os
import subprocess
import sys
from pathlib import Path

from story import RELEASE, ROOT, SKIPPED, wait_until

NAME = os.environ.get("SYNWARD_STORY_LAB", f"story{os.getpid()}")


def commands(example):
    """The indented lines of the comment at its top, in a lab of our own name."""
    head = example.read_text().split("\n\n")[0]
    lines = [line.removeprefix("#   ") for line in head.splitlines() if line.startswith("#   ")]
    return [line.replace(" try", f" {NAME}").replace("/try/", f"/{NAME}/").replace("target/release", str(RELEASE))
            for line in lines]


def configuration(path):
    """The file with the lab's name in it, where the lab keeps its files."""
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
        said = subprocess.run(["bash", "-c", line], check=True, text=True, stdout=subprocess.PIPE, timeout=60).stdout
        if " curl " in line:
            assert said == "synward lab\n", said
            pages += 1
    assert pages, "no page was asked for"


def serve(line, log):
    with open(log, "wb") as file:
        process = subprocess.Popen(["bash", "-c", f"exec {line}"], stdout=file, stderr=subprocess.STDOUT)

    def ready():
        assert process.poll() is None, f"it ended:\n{log.read_text()}"
        return "ready" in log.read_text()

    wait_until("synward is ready", ready)


if sys.argv[1:] == ["afxdp"]:
    print("the examples leave the responder to synward: told once, with xdp")
    sys.exit(SKIPPED)
os.chdir(ROOT)
for example in sorted((ROOT / "deploy/examples").glob("*.toml")):
    if commands(example):
        try:
            follow(example)
        finally:
            subprocess.run([ROOT / "deploy/lab", "down", NAME], check=True)
