"""`bench compare connect`, in small: every contender does its work, and nothing of it is left.

All responders are contenders; told as a story of "afxdp" it is about IPv4, as one of "xdp" about IPv6. There
SYNPROXY is left out: with nftables it lets no connection over IPv6 through on the kernel that this was written on.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from story import BENCH, ROOT, SYNWARD, wait_until

RATE = 100
SECONDS = 0.5
CONTENDERS = {"kernel", "kernel-pass", "syncookies", "synproxy", "synproxy-ts", "xdp-kernel-cookie", "splice-xdp",
              "splice-afxdp", "local"}
# Has been seen to leave clients waiting without any flood: how reliable it is is not ours to vouch for.
SYNPROXY = {"synproxy", "synproxy-ts"}
FLOOD = "flood of 5000 SYN/s"


def main():
    # To end by an exception ends the comparison, and that removes its lab.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    lab = os.environ.get("SYNWARD_STORY_LAB", f"story{os.getpid()}")
    family, contenders = [], CONTENDERS
    if sys.argv[1:] == ["xdp"]:
        contenders = {name for name in CONTENDERS if "synproxy" not in name}
        family = ["--ipv6", "--contenders", ",".join(contenders)]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "results.json"
        table = compare(lab, "--output", output, "--rounds", "1", "--flood", "0,5k", "--rate", str(RATE),
                        "--seconds", str(SECONDS), "--patience", "8", *family)
        print(table)
        results = json.loads(output.read_text())
    check(results, contenders)
    for contender in contenders:
        rows = [line for line in table.splitlines() if line.startswith(f"| {contender} |")]
        assert len(rows) == 2, f"{contender}: one row for each flood, not {rows}"
    nothing_is_left(lab)
    interrupted(lab, f"synward-lab-{lab}.log", tempfile.gettempdir())  # while the lab is built
    interrupted(lab, "bench-flood.log", f"/run/synward-lab/{lab}")  # in the midst of the flood


def nothing_is_left(lab):
    left = [*Path("/run/netns").glob(f"sw-{lab}-*"), *Path("/run/synward-lab").glob(lab)]
    assert not left, f"left behind: {left}"


def check(results, contenders):
    turns = {(turn["contender"], turn["case"]): turn for turn in results["turns"]}
    assert not results["skipped"], results["skipped"]
    assert {contender for contender, _ in turns} == contenders, turns
    for (contender, case), turn in turns.items():
        assert "error" not in turn, turn
        figures = dict(zip(((column["name"], column["unit"]) for column in results["columns"]), turn["figures"]))
        # Without a defence it is the flood's to say who gets through.
        if contender not in SYNPROXY and (case != FLOOD or contender not in ("kernel", "kernel-pass")):
            assert figures["failed", "%"] == 0, turn
        flood = figures["SYNs of the flood", "k/s"]
        assert (flood is None) if case == "no flood" else (1 < flood < 6), turn


def interrupted(lab, file, folder):
    """Ctrl-C as soon as there is such a file leaves nothing behind."""
    process = start(lab, "--output", "/dev/null", "--contenders", "splice-xdp", "--seconds", "60", "--flood", "max")
    try:
        wait_until(f"{file} appears", (Path(folder) / file).exists, 30)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        end(process)
    assert process.returncode == 1 and b"interrupted" in errors, (process.returncode, errors)
    nothing_is_left(lab)


def compare(lab, *arguments):
    process = start(lab, *arguments)
    try:
        table, errors = process.communicate()
    finally:
        end(process)
    assert process.returncode == 0, errors.decode()
    return table.decode()


def start(lab, *arguments):
    return subprocess.Popen(
        [BENCH, "compare", "connect", "--lab-name", lab, "--lab", ROOT / "deploy/lab", "--synward", SYNWARD, *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def end(process):
    if process.poll() is None:
        process.terminate()
        process.wait(60)


try:
    main()
except AssertionError:
    # As any story: what went wrong is on stdout.
    traceback.print_exc(file=sys.stdout)
    sys.exit(1)
