"""One cell of the matrix: tries a case in a guest, and judges it.

A cell fails if synward serves and traffic does not flow, or if a socket loses frames. It does not fail if synward refuses the
configuration, or if `status` says that it is degraded: then the operator knows.
"""

import json
import os
import re
import subprocess
import time
from contextlib import ExitStack

import network
from cases import server_configuration
from network import BIG, CLIENT, SERVER, inside

# A segment that is lost under load is sent again after 1, 3 and 7 s.
REQUEST_SECONDS = 30
FLOOD_SOURCES = "10.0.0.0/8"


class Cell:
    """The result of a case on a device with a kernel."""

    def __init__(self, kernel, device, case):
        self.kernel, self.device, self.case = kernel, device, case
        # "flows", "refused", "degraded", "unusable", "skipped" or "FAILED".
        self.outcome, self.mode, self.traffic, self.note = "FAILED", "", [], ""

    def record(self):
        """For the file of results."""
        return {"case": self.case.name, "outcome": self.outcome, "mode": self.mode,
                "traffic": "; ".join(self.traffic), "note": self.note}


class Bench:
    """What cells of one guest share."""

    def __init__(self, guest, appliance, program, options, log):
        self.guest, self.appliance, self.program, self.options = guest, appliance, program, options
        self.site, self.log = guest.share.parent / "site", log

    def run(self, kernel, device, case):
        """Tries a case, and returns its cell."""
        cell = Cell(kernel, device.name, case)
        try:
            with ExitStack() as until_end:
                self.prepare(case, until_end)
                self.start(cell, case, until_end)
        except (RuntimeError, TimeoutError) as error:
            cell.outcome = "skipped"
            cell.note = f"the matrix itself: {last_line(str(error))}"
            self.log(str(error))
        return cell

    def prepare(self, case, until_end):
        network.wire(case)
        self.appliance.route(case)
        if case.vlan:
            until_end.enter_context(network.tag_relay())
        if case.upper == "balance-xor":
            until_end.enter_context(network.trunk_relay())
        if case.handoff == "local":
            folder = self.site
            nginx = f"nginx -p {folder} -c {folder}/nginx.conf -e {folder}/error.log"
            self.guest.run(f"mkdir -p {folder}; {nginx}", check=True)
            until_end.callback(self.guest.run, f"{nginx} -s stop")
        if case.handoff == "forward":
            self.start_server(until_end)

    def start_server(self, until_end):
        """Starts synward on the server, with the guest's key."""
        folder = self.site
        secret = folder / "secret"
        secret.unlink(missing_ok=True)
        with open(os.open(secret, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as file:
            file.write(self.guest.run("cat /run/secret")[1])
        (folder / "server.toml").write_text(server_configuration(folder))
        with open(folder / "server.log", "w") as log:
            server = subprocess.Popen(["ip", "netns", "exec", SERVER, self.program, "run", "--config", folder / "server.toml"],
                                      stdout=log, stderr=subprocess.STDOUT)
        until_end.callback(server.wait)
        until_end.callback(server.terminate)
        deadline = time.monotonic() + 60
        while "ready" not in (text := (folder / "server.log").read_text()):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"synward on the server does not start: {text}")
            time.sleep(0.2)

    def start(self, cell, case, until_end):
        ready, log, state = self.appliance.start(case.configuration())
        until_end.callback(self.appliance.stop)
        self.log(log)
        if not ready:
            cell.outcome, cell.note = "refused", last_line(log)
            return
        network.set_checksums(case)
        cell.mode = mode_of(state)
        flows = self.watch(cell, case) if case.dump else self.request(cell, case)
        if case.flood and flows:
            flows = self.flood(cell, case)
        self.judge(cell, flows, state)
        if cell.outcome == "FAILED" and case.handoff != "forward":
            self.try_without(cell, case)

    def try_without(self, cell, case):
        """Makes the same requests without synward: an emulated card may fail by itself, as vmxnet3 does with jumbo frames."""
        self.appliance.stop()
        without = Cell(cell.kernel, cell.device, case)
        if not self.request(without, case):
            cell.outcome, cell.note = "unusable", f"traffic does not flow without synward either: {'; '.join(without.traffic)}"

    def watch(self, cell, case):
        """Makes requests while xdpdump watches the program at its entry and its exit. Returns whether all were answered, and frames
        of both were seen."""
        code, output = self.guest.run("""xdpdump -i out0 --rx-capture entry,exit >/run/xdpdump.log 2>&1 &
end=$(($(date +%s) + 60)); until grep -q '^listening' /run/xdpdump.log || [ $(date +%s) -gt $end ]; do sleep 0.3; done
cat /run/xdpdump.log; grep -q '^listening' /run/xdpdump.log""")
        self.log(output)
        if code:
            cell.traffic.append(f"xdpdump: {last_line(output)}")
            return False
        flows = self.request(cell, case)
        _, output = self.guest.run("pkill -INT -x xdpdump; wait; sleep 1; cat /run/xdpdump.log")
        self.log(output[:2000])
        seen = [len(re.findall(words, output)) for words in ("@entry", r"@exit\[TX\]", r"@exit\[REDIRECT\]")]
        cell.traffic.append("xdpdump saw {} frames at the entry, {} sent back, {} redirected".format(*seen))
        return flows and all(seen)

    def request(self, cell, case):
        """Makes requests over both IP versions: small ones, and one of many segments. Returns whether all were answered."""
        flows = True
        for version, address in case.addresses().items():
            good, _ = self.fetch(address, 1)
            if good:
                good += self.fetch(address, self.options.requests - 1)[0]
            host = f"[{address}]" if version == 6 else address
            whole = good and self.fetch_big(host)
            cell.traffic.append(f"IPv{version} {good}/{self.options.requests}{'' if whole else ', the big file not'}")
            flows = flows and whole and good == self.options.requests
        return flows

    def fetch(self, address, count):
        """Makes requests, two at a time. Returns how many were answered, and the longest in seconds."""
        host = f"[{address}]" if ":" in address else address
        output = inside(
            CLIENT, f"seq {count} | xargs -P 2 -I@ curl -g -s -m {REQUEST_SECONDS} -o /dev/null "
            f"-w '%{{http_code}} %{{time_total}}\\n' 'http://{host}/small'", check=False)
        times = [float(line.split()[1]) for line in output.splitlines() if line.startswith("200 ")]
        return len(times), max(times, default=0)

    def fetch_big(self, host):
        """Whether the file of many segments arrives whole."""
        size = inside(CLIENT, f"curl -g -s -m {REQUEST_SECONDS} -o /dev/null -w '%{{size_download}}' 'http://{host}/big'", check=False)
        return size == str(BIG)

    def flood(self, cell, case):
        """Makes requests during a flood. Returns whether all were answered."""
        flood = self.begin_flood(case)
        try:
            time.sleep(2)
            good, slowest = self.fetch(case.addresses()[4], self.options.flood_requests)
        finally:
            flood.send_signal(2)
            report, _ = flood.communicate(timeout=60)
        self.log(report)
        sent = json.loads(report.splitlines()[-1])["sent"]
        cell.traffic.append(f"{good}/{self.options.flood_requests} during {sent} SYNs, slowest {slowest:.1f} s")
        return good == self.options.flood_requests

    def begin_flood(self, case):
        """Starts a flood of SYNs, for ten minutes at most. It reports as JSON when it is interrupted."""
        return subprocess.Popen(
            ["ip", "netns", "exec", CLIENT, self.program.with_name("bench"), "flood", "--interface", "out0",
             "--destination", f"{case.addresses()[4]}:80", "--sources", FLOOD_SOURCES, "--mac", "02:53:57:00:00:02",
             "--rate", str(self.options.rate), "--seconds", "600", "--i-own-this-network", "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def judge(self, cell, flows, before):
        after, trace = self.appliance.state()
        self.log(json.dumps(after))
        frames = frames_of(before)
        lost = [socket for socket, count in frames_of(after).items() if frames.get(socket) != count]
        refused = sum(queue["counters"]["refused"] for _, queue in queues_of(after))
        if trace:
            self.log(f"frames that XDP could not transmit:\n{trace}")
        degraded = "; ".join(after.get("degraded", ()))
        if not after:
            cell.note = "it does not answer `status`"
        elif lost or refused:
            cell.note = f"frames are lost at {', '.join(lost)}; refused descriptors: {refused}"
        elif flows:
            cell.outcome, cell.note = "flows", degraded
        elif degraded:
            cell.outcome, cell.note = "degraded", degraded
        else:
            cell.note = f"serving, but traffic does not flow ({' '.join(trace.split())[:160] or 'no failed transmission traced'})"


def last_line(text):
    """The last line of a log, without time and level."""
    lines = [line for line in text.splitlines() if line.strip()]
    return re.sub(r"^\S+Z\s+|^Error: |^synward: ", "", lines[-1].strip()) if lines else "no output"


def queues_of(state):
    """The receive queues of a state, each with the name of its interface."""
    return [(interface["name"], queue) for interface in state.get("interfaces", ()) for queue in interface["queues"]]


def mode_of(state):
    """How each interface is steered: "out0 native, 2 queues, 2 zero-copy, afxdp"."""
    modes = []
    for interface in state.get("interfaces", ()):
        queues = interface["queues"]
        zero_copy = sum(bool(queue["zero_copy"]) for queue in queues)
        responders = "+".join(sorted({queue["responder"] for queue in queues}))
        modes.append(f"{interface['name']} {'native' if interface['native'] else 'generic'}, {len(queues)} queues, "
                     f"{zero_copy} zero-copy, {responders}")
    return "; ".join(modes)


def frames_of(state):
    """How many frames of its UMEM each socket accounts for."""
    return {f"{name} queue {queue['queue']}": sum(queue["frames"].values())
            for name, queue in queues_of(state) if queue["zero_copy"] is not None}
