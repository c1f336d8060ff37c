"""Large files arrive unharmed in both directions between a stock curl and a stock nginx, with timestamps and without.

102 MiB down and 25 MiB up over IPv4 with timestamps; the other pairs move an eighth. With --full it is 1 GiB and 256 MiB, also over
IPv6 without timestamps.
"""

import subprocess
import time
from pathlib import Path

from story import FULL, SERVER, story, wait_until
from transfer import MIB, both_ends, negotiated, sum_of, sum_of_output, timestamps

# The XDP program carries the data, and a worker completes the handshake, whoever answered the SYN.
ONCE = "xdp"
# Stories 51 and 52 carry files, too.
NOT_FAST = True
DOWNLOAD, UPLOAD = (1024, 256) if FULL else (102, 25)


def run(lab, synward):
    files = Path((lab.nginx / "www").resolve())
    for family, stamped, share in (4, True, 1), (6, False, 1 if FULL else 8), (6, True, 8), (4, False, 8):
        timestamps(lab, stamped)
        what = f"IPv{family}, {'with' if stamped else 'without'} timestamps"
        download(lab, what, family, stamped, share, files)
        upload(lab, what, family, share, files)
    synward.carried(8)


def url(family, path):
    return f"http://[{SERVER[family]}]{path}" if family == 6 else f"http://{SERVER[family]}{path}"


def download(lab, what, family, stamped, share, files):
    length = DOWNLOAD * MIB // share
    expected = sum_of(lab, "server", "head", "-c", str(length), files / "big")
    part = ("-r", f"0-{length - 1}") if share > 1 else ()
    # Nobody reads curl's output yet, so the connection lasts until its options were read.
    with lab.inside("client"):
        curl = subprocess.Popen(["curl", "-sSf", *part, url(family, "/big")], stdout=subprocess.PIPE)
    try:
        seen = options_of_connection(lab, stamped)
    except BaseException:
        curl.kill()
        raise
    start = time.monotonic()
    got = sum_of_output(curl)
    took = time.monotonic() - start
    assert got == expected, f"{what}: the download differs"
    print(f"{what}: {length >> 20} MiB down in {took:.1f} s; {seen}")


def upload(lab, what, family, share, files):
    source = lab.folder / "upload.log"
    with open(source, "wb") as file:
        subprocess.run(["head", "-c", str(UPLOAD * MIB // share), files / "big"], stdout=file, check=True)
    start = time.monotonic()
    lab.run("client", "curl", "-sSf", "-T", str(source), "-o", "/dev/null", url(family, "/upload/file"))
    took = time.monotonic() - start
    stored = files / "upload" / "file"
    assert sum_of(lab, "server", "cat", stored) == sum_of(lab, "client", "cat", source), f"{what}: the upload differs"
    stored.unlink()
    print(f"{what}: {UPLOAD // share} MiB up in {took:.1f} s")


def options_of_connection(lab, stamped):
    wait_until("a connection", lambda: all(end.has("sack") for end in both_ends(lab, 80)))
    client, server = negotiated(lab, stamped, 80)
    # synward learned this server's options before the first client came.
    assert client.wscale()[0] == server.wscale()[1], f"the ends scale windows differently:\n{client.text}{server.text}"
    return f"wscale {client.wscale()} at the client, {server.wscale()} at the server"


story(run, lab=("--file-mib", str(DOWNLOAD)))
