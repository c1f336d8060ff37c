"""A service restarts with a small receive buffer: SYN-ACKs advertise its window, and a client sends no more than fits."""

import contextlib
import json
import os
import socket
import subprocess
import time

from listeners import PROMPT, reset, server_socket
from story import PATIENCE, PORT, SERVER, local_story, receive_all, wait_until

# Both responders advertise the window of the same profile.
ONCE = "xdp"
BESIDE_OTHERS = True
RECEIVE_BUFFER = 8192


def run(lab, synward):
    with contextlib.ExitStack() as stack:
        listeners = {family: stack.enter_context(server_socket(lab, family, buffer=RECEIVE_BUFFER)) for family in (4, 6)}
        kernels = {}
        for family, listener in listeners.items():
            listener.listen(8)
            kernels[family] = window_of_kernel(lab, synward, family, listener)
        if synward.responder != "none":
            # A window takes effect with the next epoch.
            wait_until("synward advertises the small windows",
                       lambda: {family: window_of_synward(synward, family) for family in kernels} == kernels, 90)
        for family, listener in listeners.items():
            # A segment that does not fit waits for a timer every time. A busy machine delays some of them.
            for _ in range(20):
                if (took := seconds_to_send(lab, family, listener)) < PROMPT:
                    break
            print(f"IPv{family}: 30 kB into a buffer of {RECEIVE_BUFFER} bytes in {took * 1000:.1f} ms; window {kernels[family]}")
            assert took < PROMPT, f"{took:.3f} s"


def seconds_to_send(lab, family, listener):
    data = os.urandom(30_000)
    client = lab.connect(family)
    server, _ = listener.accept()
    began = time.monotonic()
    client.sendall(data)
    client.shutdown(socket.SHUT_WR)
    server.settimeout(PATIENCE)
    assert receive_all(server) == data
    took = time.monotonic() - began
    reset(client, server)
    return took


def window_of_kernel(lab, synward, family, listener):
    """The window in the kernel's own SYN-ACK over the link, to a client that synward does not challenge."""
    synward.mode("off")
    syn_ack = f"tcp src port {PORT} and tcp[13] == 18" if family == 4 else f"ip6 and src port {PORT} and ip6[53] == 18"
    log = lab.folder / "window.log"
    with lab.inside("client"), open(log, "wb") as out:
        capture = subprocess.Popen(["tcpdump", "-lnvvi", "client0", "-c", "1", syn_ack], stdout=out, stderr=out)
    wait_until("tcpdump listens", lambda: b"listening on" in log.read_bytes())
    client = lab.connect(family)
    assert capture.wait(PATIENCE) == 0
    reset(client, listener.accept()[0])
    synward.mode("always")
    return int(log.read_text().partition(", win ")[2].split(",")[0])


def window_of_synward(synward, family):
    code, text = synward.command("status", "--json")
    # A worker that did not run for a second is degraded for a moment.
    assert code in (0, 3), text
    for profile in json.loads(text)["services"][0]["profiles"]:
        if (profile["address"], profile["port"]) == (SERVER[family], PORT):
            return profile["window"]
    return None


local_story(run, "--no-nginx")
