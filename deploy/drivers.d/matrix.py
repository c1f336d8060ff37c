"""Runs the matrix for deploy/drivers, which documents the options."""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import cost
import incidents
import network
import report
from appliance import Appliance
from cases import CASES, TWO_PORTS
from cell import Bench
from devices import DEVICES
from guest import Guest

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
PROGRAM = Path(os.environ.get("SYNWARD_PROGRAM", TARGET / "release/synward"))
STATE = TARGET / "drivers"
RESULTS = STATE / "results.jsonl"
RECORD = ROOT / "deploy/drivers.d/results.jsonl"
TABLE = ROOT / "deploy/drivers.d/RESULT.md"
KERNELS = ("6.1", "6.12", "6.18", "newest")

# Cases that reach every handoff, every mode of attachment and both responders, and the programs on the oldest kernel, whose
# verifier refuses what later ones accept.
SHORT = (
    ("6.18", "virtio-net", ("splice", "xdp", "afxdp", "generic", "local", "xdpdump")),
    ("6.18", "igb-8", ("splice", "zero-copy", "zero-copy-xdp", "local", "forward")),
    ("6.1", "virtio-net", ("splice", "local-kernel")),
)


def main():
    options = parse()
    # So that guests and namespaces are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.list:
        print("kernels:", *KERNELS)
        print("devices:", *DEVICES)
        print("cases:", *CASES)
        print("cases of --incidents:", *CASES, *TWO_PORTS)
        return 0
    if options.table:
        report.renew(RECORD, RESULTS, (KERNELS, DEVICES, CASES))
        TABLE.write_text(report.table(RECORD, len(KERNELS) * len(DEVICES) * len(CASES)))
        return 0
    if options.cost:
        print(measure_cost(options.kernel[0], DEVICES[options.device[0]], options))
        return 0
    if options.incidents:
        return suffer(options.kernel[0], DEVICES[options.device[0]], (CASES | TWO_PORTS)[options.case[0]], options)
    outcomes = []
    every = ((kernel, device, options.case) for kernel in options.kernel for device in options.device)
    for kernel, device, names in SHORT if options.short else every:
        outcomes += run_guest(kernel, DEVICES[device], [CASES[name] for name in names], options)
    counts = {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    return 1 if counts.keys() & {"FAILED", "skipped"} else 0


def parse():
    parser = argparse.ArgumentParser(prog="deploy/drivers", add_help=False)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--cost", type=int, metavar="TURNS")
    parser.add_argument("--incidents", action="store_true")
    parser.add_argument("--kernel", nargs="+", choices=KERNELS)
    parser.add_argument("--device", nargs="+", choices=DEVICES)
    parser.add_argument("--case", nargs="+", choices=(*CASES, *TWO_PORTS))
    parser.add_argument("--requests", type=int, default=5)
    parser.add_argument("--flood-requests", type=int, default=20)
    parser.add_argument("--rate", type=int, default=500)
    options = parser.parse_args()
    options.kernel = options.kernel or (("6.18",) if options.cost or options.incidents else KERNELS)
    options.device = options.device or (("igb-2",) if options.cost or options.incidents else tuple(DEVICES))
    options.case = options.case or tuple(CASES)
    if not options.incidents and (ports := set(options.case) & set(TWO_PORTS)):
        parser.error(f"{', '.join(sorted(ports))}: only with --incidents")
    return options


def run_guest(kernel, device, cases, options):
    """Boots a guest, tries the cases in it, and adds them to the results. Returns their outcomes."""
    cells = []
    with booted(kernel, device, options) as bench:
        try:
            for case in cases:
                cells.append(run_case(bench, kernel, device, case))
        finally:
            # What was tried counts, also if the guest ends or this program is stopped.
            report.add(RESULTS, {
                "kernel": kernel, "version": bench.guest.version, "device": device.name, "date": date.today().isoformat(),
                "revision": revision(), "cells": [cell.record() for cell in cells]})
    return [cell.outcome for cell in cells]


def measure_cost(kernel, device, options):
    """Boots a guest, and compares what an answer costs it. Returns the table."""
    with booted(kernel, device, options) as bench:
        return cost.compare(bench, device, options.cost, lambda text: print(text, flush=True))


def suffer(kernel, device, case, options):
    """Boots a guest, and lets happen to its device what may happen. Returns the exit code."""
    with booted(kernel, device, options, case.ports) as bench:
        rows = incidents.report(bench, case, lambda text: print(text, flush=True))
    return 1 if any(outcome == "FAILED" for _, outcome, _ in rows) else 0


@contextlib.contextmanager
def booted(kernel, device, options, ports=1):
    """A guest and the network around it."""
    folder = STATE / network.LAB
    folder.mkdir(parents=True, exist_ok=True)
    network.write_site(folder / "site")
    with open(STATE / f"{kernel}-{device.name}.log", "w") as log, network.namespaces():
        started = time.monotonic()
        with Guest(kernel, device, folder / "share", ports) as guest, network.nginx(folder / "site"):
            print(f"{kernel} ({guest.version}), {device.name}: booted in {time.monotonic() - started:.0f} s", flush=True)
            yield Bench(guest, Appliance(guest, PROGRAM), PROGRAM, options, lambda text: print(text.rstrip(), file=log, flush=True))


def run_case(bench, kernel, device, case):
    bench.log(f"==== {case.name}")
    started = time.monotonic()
    cell = bench.run(kernel, device, case)
    bench.log(bench.guest.run("dmesg | tail -n 20")[1])
    print(f"  {case.name:20} {cell.outcome:9} {cell.mode}; {'; '.join(cell.traffic)}; {cell.note} "
          f"({time.monotonic() - started:.0f} s)", flush=True)
    return cell


def revision():
    """The last commit before the program was built, as far as their dates tell."""
    built = f"--before=@{int(PROGRAM.stat().st_mtime)}"
    found = subprocess.run(["git", "-C", ROOT, "log", "-1", "--format=%h", built], text=True, stdout=subprocess.PIPE)
    return found.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
