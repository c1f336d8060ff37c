"""The results of all runs, and the table made of them.

A run of one guest is a line of JSON in the build folder: kernel, device, version, date, revision, cells. The record, which is
committed, has a line for each cell that any machine has tried; a run that is not older replaces the line of its kernel, device
and case, unless it was skipped.
"""

import itertools
import json

HEAD = """# Results of deploy/drivers

`deploy/drivers --table` made this file; [README.md](README.md) says what each case does. Devices are emulated by qemu, CPUs
too: nothing here is about speed, and no result of an emulated card is one of real hardware.

- *flows*: every request was answered, over IPv4 and IPv6, small and 1 MiB, and no socket lost a frame.
- *refused*: synward does not start, and says why.
- *degraded*: traffic does not flow, and `status` says why.
- **FAILED**: `status` says serving and traffic does not flow, or a socket loses frames.
- *unusable*: traffic does not flow without synward either.
- *skipped*: the guest or its network failed, or synward was not ready in time. Nothing is known then.
"""


def add(file, run):
    """Appends a run to the file of results."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "a") as out:
        out.write(json.dumps(run) + "\n")


def renew(record, runs, order):
    """Puts the results of runs into the record. `order` is the kernels, devices and cases in the order of the lines."""
    latest = {key_of(row): row for row in lines_of(record)}
    for run in lines_of(runs):
        about = {name: run[name] for name in ("kernel", "device", "version", "date", "revision")}
        for cell in run["cells"]:
            row = {**about, **cell}
            known = latest.get(key_of(row))
            if known is None or cell["outcome"] != "skipped" and run["date"] >= known["date"]:
                latest[key_of(row)] = row
    kernels, devices, cases = order
    rows = [latest[key] for kernel in kernels for device in devices for case in cases if (key := (kernel, device, case)) in latest]
    record.write_text("".join(json.dumps(row) + "\n" for row in rows))


def key_of(row):
    return row["kernel"], row["device"], row["case"]


def lines_of(file):
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def table(record, cells):
    """The document. `cells` is how many there are to try."""
    rows = lines_of(record)
    outcomes = [row["outcome"] for row in rows]
    counted = ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in sorted(set(outcomes)))
    parts = [HEAD, f"{len(outcomes)} of {cells} cells were tried: {counted}.\n"]
    for _, guest in itertools.groupby(rows, key=lambda row: (row["kernel"], row["device"])):
        parts.append(section(list(guest)))
    return "\n".join(parts)


def section(rows):
    """The rows of one kernel and device."""
    kernel, device = rows[0]["kernel"], rows[0]["device"]
    versions = sorted({row["version"] for row in rows})
    when = ", ".join(f"{date} at {revision}" for date, revision in sorted({(row["date"], row["revision"]) for row in rows}))
    lines = [f"## {device}, Linux {kernel} ({', '.join(versions)})\n", f"Run {when}.\n",
             "| case | outcome | mode | traffic | reason |", "|---|---|---|---|---|"]
    for row in rows:
        outcome = f"**{row['outcome']}**" if row["outcome"] == "FAILED" else row["outcome"]
        lines.append(f"| {row['case']} | {outcome} | {row['mode']} | {row['traffic']} | {escaped(row['note'])} |")
    return "\n".join(lines) + "\n"


def escaped(text):
    return text.replace("|", "\\|").replace("<", "&lt;")
