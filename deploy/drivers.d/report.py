"""The results of all runs, and the table made of them.

Results are lines of JSON, a run of one guest each: kernel, device, date, revision, cells. A later run of the same kernel,
device and case replaces an earlier one in the table, unless it was skipped.
"""

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


def table(file, order):
    """The document. `order` is the kernels, devices and cases in the order of the rows."""
    kernels, devices, cases = order
    latest = {}
    for line in file.read_text().splitlines():
        run = json.loads(line)
        for cell in run["cells"]:
            key = run["kernel"], run["device"], cell["case"]
            if cell["outcome"] != "skipped" or key not in latest:
                latest[key] = run, cell
    outcomes = [cell["outcome"] for _, cell in latest.values()]
    counted = ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in sorted(set(outcomes)))
    parts = [HEAD, f"{len(outcomes)} of {len(kernels) * len(devices) * len(cases)} cells were tried: {counted}.\n"]
    for kernel in kernels:
        for device in devices:
            rows = [latest[key] for case in cases if (key := (kernel, device, case)) in latest]
            if rows:
                parts.append(section(kernel, device, rows))
    return "\n".join(parts)


def section(kernel, device, rows):
    runs = sorted({(run["date"], run["revision"]) for run, _ in rows})
    versions = sorted({run["version"] for run, _ in rows})
    when = ", ".join(f"{date} at {revision}" for date, revision in runs)
    lines = [f"## {device}, Linux {kernel} ({', '.join(versions)})\n", f"Run {when}.\n",
             "| case | outcome | mode | traffic | reason |", "|---|---|---|---|---|"]
    for _, cell in rows:
        outcome = f"**{cell['outcome']}**" if cell["outcome"] == "FAILED" else cell["outcome"]
        lines.append(f"| {cell['case']} | {outcome} | {cell['mode']} | {cell['traffic']} | {escaped(cell['note'])} |")
    return "\n".join(lines) + "\n"


def escaped(text):
    return text.replace("|", "\\|").replace("<", "&lt;")
