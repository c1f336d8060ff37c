"""`synward capture` shows challenged, proven and dropped frames with the reason as their comment, and is bounded in a flood."""

import itertools
import os
import signal
import struct
import subprocess

from segments import ACK, LINUX, SYN, Segment, Wire
from story import CLIENT, PORT, SERVER, SYNWARD, story, wait_until

# The XDP program decides; a worker's SYN has the same verdict with another comment.
ONCE = "xdp"
BESIDE_OTHERS = True
NUMBERS = itertools.count(1)
# The comment of a challenged SYN, by responder.
CHALLENGED = {
    "xdp": "challenged: answered by XDP (XDP_TX); service web",
    "afxdp": "challenged: a worker answers this SYN (XDP_REDIRECT); service web",
}
FIELDS = ("frame.comment", "ip.src", "ipv6.src", "tcp.dstport", "frame.interface_name", "frame.len", "frame.cap_len")


class Capture:
    """A running `synward capture`."""

    def __init__(self, lab, synward, *options):
        self.file = lab.folder / "capture.pcapng"
        self.process = lab.start("edge", f"capture{next(NUMBERS)}", SYNWARD, "--control", synward.control, "capture", "--service", "web",
                                 "--out", self.file, *options)
        wait_until("it captures", lambda: "capturing " in self.process.output() or not self.process.running())
        # In a flood it may have ended by now.
        assert "capturing " in self.process.output(), self.process.output()

    def frames(self, code):
        """What tshark reads in the file, once the capture has ended: a dictionary for each frame."""
        assert code == 0, f"exit code {code}: {self.process.output()}"
        arguments = [argument for field in FIELDS for argument in ("-e", field)]
        text = subprocess.run(["tshark", "-r", self.file, "-T", "fields", *arguments], check=True, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout
        return [dict(zip(FIELDS, line.split("\t"))) for line in text.splitlines()]


def run(lab, synward):
    shows_every_verdict(lab, synward)
    shows_one_reason_until_it_is_interrupted(lab, synward)
    is_bounded_in_a_flood(lab, synward)
    ends_with_its_reader(lab, synward)
    refuses(synward)
    tells_of_a_restart(lab, synward)


def shows_every_verdict(lab, synward):
    # A file that others may read.
    (lab.folder / "capture.pcapng").touch(mode=0o644)
    capture = Capture(lab, synward, "--count", "6")
    assert capture.file.stat().st_mode & 0o777 == 0o600, "others may read what clients send"
    wire = Wire(lab, "client", "client0")
    for family in 4, 6:
        with lab.listen(family) as listener, lab.connect(family):
            # Until the server has it, the client's next segments are for a worker.
            server, _ = listener.accept()
            synward.succeed("deny", "add", CLIENT[family])
            denied = synward.metric("drops_total", reason="denied")
            wire.send(Segment(CLIENT[family], 40_000, SERVER[family], PORT, seq=7, flags=SYN, options=LINUX))
            wait_until("it is dropped", lambda: synward.metric("drops_total", reason="denied") == denied + 1)
            synward.succeed("deny", "remove", CLIENT[family])
            server.close()
    frames = capture.frames(capture.process.wait())
    seen = [(frame["ip.src"] or frame["ipv6.src"], frame["frame.comment"].split(", queue")[0]) for frame in frames]
    expected = [
        CHALLENGED[synward.responder],
        "proven: the cookie is valid (XDP_REDIRECT); service web",
        "dropped: denied (XDP_DROP); service web",
    ]
    assert seen == [(CLIENT[family], what) for family in (4, 6) for what in expected], frames
    for frame in frames:
        assert (frame["tcp.dstport"], frame["frame.interface_name"]) == (str(PORT), "out0"), frame
        assert frame["frame.len"] == frame["frame.cap_len"], frame
    told = capture.process.output().splitlines()[-1]
    assert told == "synward: captured 6 frame(s): 2 challenged, 2 proven, 2 dropped", told


def shows_one_reason_until_it_is_interrupted(lab, synward):
    """The frames are in the file when they were counted, and the file is complete after Ctrl-C."""
    capture = Capture(lab, synward, "--reason", "invalid_cookie")
    wire = Wire(lab, "client", "client0")
    before = synward.metric("drops_total", reason="invalid_cookie")
    for family in 4, 6:
        with lab.listen(family):
            # It is challenged and proven, which nobody wants to see.
            lab.connect(family).close()
        wire.send(Segment(CLIENT[family], 40_000, SERVER[family], PORT, seq=7, ack=9, flags=ACK, options=LINUX, payload=b"x" * 900))
    wait_until("both are dropped", lambda: synward.metric("drops_total", reason="invalid_cookie") == before + 2)
    frames = capture.frames(capture.process.stop(signal.SIGINT))
    assert [frame["ip.src"] or frame["ipv6.src"] for frame in frames] == [CLIENT[4], CLIENT[6]], frames
    for frame in frames:
        assert frame["frame.comment"].startswith("dropped: invalid_cookie (XDP_DROP)"), frame
        assert (int(frame["frame.len"]) > 900, frame["frame.cap_len"]) == (True, "256"), frame


def ends_with_its_reader(lab, synward):
    """As `synward capture | head`: it says how much was read, and fails if that is nothing."""
    pipe = lab.folder / "capture.fifo"
    os.mkfifo(pipe)
    code, text = synward.command("capture", "--service", "web", "--out", pipe)
    assert (code, "it is a FIFO that nobody reads" in text) == (1, True), text
    for connects, told in (True, "captured 2 frame(s): 1 challenged, 1 proven; then their reader ended"), \
            (False, "the reader of the capture ended before a frame arrived"):
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        process = lab.start("edge", f"capture{next(NUMBERS)}", SYNWARD, "--control", synward.control, "capture", "--service", "web",
                            "--out", pipe)
        wait_until("it captures", lambda: "capturing " in process.output())
        seen = bytearray()
        if connects:
            with lab.listen() as listener, lab.connect():
                listener.accept()[0].close()
            wait_until("frames are read", lambda: arrived(reader, 2, seen))
        os.close(reader)
        assert process.wait() == (0 if connects else 1), process.output()
        assert process.output().splitlines()[-1] == f"synward: {told}", process.output()


def arrived(reader, frames, seen):
    """Whether the pipe has brought so many blocks of frames (type 6); all that it brought is in `seen`."""
    try:
        seen += os.read(reader, 1 << 16)
    except BlockingIOError:
        return False
    blocks, at = 0, 0
    # The byte-order magic behind the type and length of the section header.
    order = ">II" if seen[8:12] == bytes.fromhex("1a2b3c4d") else "<II"
    while at + 8 <= len(seen):
        kind, length = struct.unpack_from(order, seen, at)
        blocks += kind == 6
        at += length
    return blocks >= frames


def is_bounded_in_a_flood(lab, synward):
    flood = lab.flood(4, PORT, 120, "--rate", "20k")
    capture = Capture(lab, synward, "--count", "50", "--reason", "challenged,reply_budget")
    frames = capture.frames(capture.process.wait())
    assert len(frames) == 50, f"{len(frames)} frames"
    nobody = Capture(lab, synward, "--reason", "fragment", "--seconds", "1")
    assert nobody.frames(nobody.process.wait()) == []
    flood.report()


def refuses(synward):
    code, text = synward.command("capture", "--service", "mail", "--out", os.devnull)
    assert code == 1 and 'no service "mail"; there is web' in text, f"exit code {code}: {text}"
    code, text = synward.command("capture", "--service", "web", "--reason", "bad", "--out", os.devnull)
    assert code == 2 and "invalid_cookie" in text, f"exit code {code}: {text}"
    code, text = synward.command("capture", "--service", "web", "--out", "/nowhere/f.pcapng")
    assert code == 1 and "cannot write /nowhere/f.pcapng" in text, f"exit code {code}: {text}"


def tells_of_a_restart(lab, synward):
    """The next process has a program of its own, which nobody captures."""
    capture = Capture(lab, synward)
    os.kill(synward.process.pid, signal.SIGKILL)
    synward.process.wait()
    synward.start()
    assert capture.frames(capture.process.stop(signal.SIGINT)) == []
    told = capture.process.output().splitlines()[-1]
    assert "synward was restarted meanwhile" in told, told


story(run)
