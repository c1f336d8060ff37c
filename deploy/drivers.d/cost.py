"""What an answered SYN costs a guest in each mode of an interface, by turns: CPU time of the whole guest, and wakeups.

The guest's CPUs are emulated, so only the ratios mean something. A turn starts synward in one mode, measures the guest
without load, then during a flood of a fixed rate; the difference, divided by the answers, is the cost of one.

Interrupts of queue n are handled by CPU n ("straight"), and once more by the other CPU ("crossed"). XDP transmits on the queue
of its CPU. igb in zero-copy mode takes the lock of a transmit queue in each poll (`igb_clean_tx_irq`), and holds it while it
rings the doorbell (`igb_xmit_xdp_ring`), which transmits the frame in qemu: crossed, both CPUs wait for each other's locks.
"""

import json
import random
import signal
import statistics
import time

import network
from cases import CASES

# Cases of the matrix that differ in who answers and whether frames are copied, and the CPUs of their interrupts.
MODES = (("xdp", "straight"), ("xdp", "crossed"), ("zero-copy-xdp", "straight"), ("zero-copy-xdp", "crossed"),
         ("afxdp", "straight"), ("zero-copy", "straight"))
SECONDS = 6
CPUS = 2

# Vectors are named out0-rx-0 and out0-tx-0, or out0-TxRx-0 (proc_interrupts(5)). Each ends with its queue.
PLACE = """sed -n 's/^ *\\([0-9]*\\):.* \\(out0\\|in0\\)-.*-\\([0-9]*\\)$/\\1 \\3/p' /proc/interrupts | while read irq queue; do
    echo $(((queue + {shift}) % {cpus})) >/proc/irq/$irq/smp_affinity_list || exit 1
done
"""

# Uptime and idle time, around what is measured (/proc/uptime, proc(5)); the counters before and after.
# An emulated CPU under a flood may answer `status` too late: it is asked again.
MEASURE = f"""status() {{ for _ in 1 2 3 4 5; do {{status}} >/share/$1.json && return; done; echo "no status"; exit 1; }}
read at _ </proc/uptime; status before; read begin idle </proc/uptime
sleep {SECONDS}
read end still </proc/uptime; status after; read over _ </proc/uptime
echo $at $begin $idle $end $still $over
"""


def compare(bench, device, turns, log):
    """Measures every mode in each turn, in random order. Returns a table in Markdown."""
    figures = {mode: [] for mode in MODES}
    for turn in range(turns):
        for mode in random.sample(MODES, len(MODES)):
            cost = measure(bench, CASES[mode[0]], mode[1])
            log(f"turn {turn + 1}, {' '.join(mode)}: {cost}")
            figures[mode].append(cost)
    lines = [f"{device.name}, Linux {bench.guest.version}, {bench.options.rate} SYNs a second, {turns} turns", "",
             "| mode | interrupts | answers a second | CPU µs an answer: median (least to most) | beside `xdp` | wakeups an answer |",
             "|---|---|---|---|---|---|"]
    base = statistics.median(cost["microseconds"] for cost in figures[MODES[0]])
    for (mode, interrupts), costs in figures.items():
        times = [cost["microseconds"] for cost in costs]
        median = statistics.median(times)
        lines.append(f"| `{mode}` | {interrupts} | {statistics.median(cost['rate'] for cost in costs):.0f} | "
                     f"{median:.0f} ({min(times):.0f} to {max(times):.0f}) | {median / base:.2f} | "
                     f"{statistics.median(cost['wakeups'] for cost in costs):.3f} |")
    return "\n".join(lines)


def measure(bench, case, interrupts):
    """Answers a second, CPU time and wakeups of one answer in a mode, with interrupts "straight" or "crossed"."""
    network.wire(case)
    bench.appliance.route(case)
    ready, text, _ = bench.appliance.start(case.configuration())
    try:
        if not ready:
            raise RuntimeError(f"synward does not start in mode {case.name}: {text}")
        network.set_checksums(case)
        # After the start: a driver that restarts requests its interrupts anew.
        bench.guest.run(PLACE.format(cpus=CPUS, shift=0 if interrupts == "straight" else 1), check=True)
        quiet = span(bench)
        flood = bench.begin_flood(case)
        try:
            time.sleep(1)
            busy = span(bench)
        finally:
            flood.send_signal(signal.SIGINT)
            flood.communicate(timeout=60)
    finally:
        bench.appliance.stop()
    answers = busy["answers"] - quiet["answers"]
    if answers <= 0:
        raise RuntimeError(f"no SYN was answered in mode {case.name}")
    return {"rate": answers, "microseconds": (busy["cpu"] - quiet["cpu"]) / answers * 1e6,
            "wakeups": (busy["wakeups"] - quiet["wakeups"]) / answers}


def span(bench):
    """Answers, wakeups and CPU seconds of the guest, a second each."""
    _, output = bench.guest.run(MEASURE.replace("{status}", bench.appliance.command("status --json")), check=True)
    at, begin, idle, end, still, over = map(float, output.split()[-6:])
    before, after = (counts(json.loads((bench.guest.share / f"{name}.json").read_text())) for name in ("before", "after"))
    between = (end + over - at - begin) / 2
    return {"answers": (after[0] - before[0]) / between, "wakeups": (after[1] - before[1]) / between,
            "cpu": CPUS - (still - idle) / (end - begin)}


def counts(state):
    """SYNs answered, by whomever, and wakeups of all sockets."""
    service = state["services"][0]
    wakeups = sum(queue["counters"]["wakeups"] for interface in state["interfaces"] for queue in interface["queues"])
    return service["counters"]["answered_xdp"] + service["answered_afxdp"], wakeups
