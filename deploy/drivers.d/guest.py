"""A Debian kernel in qemu with this machine's files as its root.

qemu emulates the CPU (TCG), because stock kernels do not run under KVM everywhere: 14 to 19 times slower than native, and
5 to 10 s from start to shell. The root is this machine's, read-only over 9p under an overlay. Each network interface is a
tap device in a namespace of this machine. Scripts run over a serial port, and exchange files in a shared folder.
"""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import initramfs
from network import BOOT_NAMESPACE, CLIENT, SERVER

HERE = Path(__file__).resolve().parent
CACHE = Path(subprocess.run([HERE / "fetch", "--folder"], check=True, text=True, stdout=subprocess.PIPE).stdout.strip())
QEMU = CACHE / "qemu/usr"
# Everything is slower by the factor of the emulation, and much slower while this machine compiles.
BOOT_SECONDS = 900
SCRIPT_SECONDS = 900
# How long the guest's clock is compared with this machine's.
CLOCK_SECONDS = 3

# The guest's interfaces: name, namespace of the tap, MAC.
INTERFACES = (
    ("out0", CLIENT, "02:53:57:00:00:02"),
    ("in0", SERVER, "02:53:57:00:00:03"),
)
# One more, for cases with two ports.
SECOND_PORT = ("out1", CLIENT, "02:53:57:00:00:06")
# nokaslr, mitigations=off: faster under emulation. tsc=reliable, no_timer_check: the kernel misjudges the TSC and the timer of a
# guest that waits for a busy machine.
KERNEL_COMMAND_LINE = "console=ttyS0 quiet panic=-1 nokaslr mitigations=off tsc=reliable no_timer_check net.ifnames=0"


class Guest:
    """A running guest. Use it in a `with` statement, which ends qemu."""

    def __init__(self, kernel, device, share, ports=1):
        self.kernel, self.device, self.share = CACHE / "kernels" / kernel, device, share
        self.interfaces = INTERFACES if ports == 1 else (*INTERFACES, SECOND_PORT)
        self.scripts = 0
        self.version = os.listdir(self.kernel / "lib/modules")[0]

    def __enter__(self):
        for last in (False, False, True):
            self.boot()
            try:
                speed = self.clock_speed()
            except BaseException:
                self.__exit__()
                raise
            if 0.7 < speed < 1.4:
                return self
            self.__exit__()
            if last:
                raise RuntimeError(f"the guest's clock runs {speed:.1f} times as fast as this machine's")

    def clock_speed(self):
        """How fast the guest's clock runs. A kernel that waits for the CPU while it calibrates the TSC takes it for a slower one: then
        its clock runs ten times too fast, heartbeats are late and cookies expire."""
        def seconds():
            return float(self.run("cut -d' ' -f1 /proc/uptime", check=True)[1])
        began, before = time.monotonic(), seconds()
        time.sleep(CLOCK_SECONDS)
        return (seconds() - before) / (time.monotonic() - began)

    def boot(self):
        self.scripts = 0
        shutil.rmtree(self.share, ignore_errors=True)
        self.share.mkdir(parents=True)
        image = initramfs.build(self.kernel, self.version, self.share)
        self.qemu = subprocess.Popen(
            ["ip", "netns", "exec", BOOT_NAMESPACE, "nice", "-n", "19", QEMU / "bin/qemu-system-x86_64", *self.arguments(image)],
            env=os.environ | {"QEMU_MODULE_DIR": str(QEMU / "lib/x86_64-linux-gnu/qemu")},
            stdin=subprocess.DEVNULL, stdout=open(self.share / "qemu.log", "w"), stderr=subprocess.STDOUT)
        try:
            self.connect()
            self.name_interfaces()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        self.qemu.terminate()
        self.qemu.wait()

    def arguments(self, image):
        shared = "security_model=none,multidevs=remap"
        arguments = [
            "-M", "q35", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max", "-smp", "2", "-m", "1536",
            "-display", "none", "-nodefaults", "-no-reboot", "-name", "synward-drivers",
            "-L", QEMU / "share/qemu", "-L", "/usr/share/seabios", "-bios", QEMU / "share/qemu/qboot.rom",
            "-kernel", self.kernel / "vmlinux", "-initrd", image, "-append", KERNEL_COMMAND_LINE,
            "-serial", f"file:{self.share}/console", "-serial", f"unix:{self.share}/serial,server=on,wait=off",
            "-virtfs", f"local,path=/,mount_tag=root,readonly=on,{shared}",
            "-virtfs", f"local,path={self.share},mount_tag=share,{shared}",
        ]
        for number, (name, _, mac) in enumerate(self.interfaces):
            queues = f",queues={self.device.queue_pairs}" if self.device.queue_pairs > 1 else ""
            arguments += [
                "-netdev", f"tap,id=net{number},ifname=qemu-{name},script=no,downscript=no{queues}",
                # igb has virtual functions, so it needs a port of its own. No card needs a boot ROM.
                "-device", f"pcie-root-port,id=port{number},chassis={number + 1}",
                "-device", f"{self.device.qemu},romfile=,netdev=net{number},mac={mac},bus=port{number}",
            ]
        return arguments

    def connect(self):
        """Waits for qemu, moves its taps to their namespaces, and waits for the guest's shell."""
        deadline = time.monotonic() + BOOT_SECONDS
        serial = self.share / "serial"
        while not serial.exists():
            self.check_alive(deadline)
            time.sleep(0.05)
        for name, namespace, _ in self.interfaces:
            subprocess.run(["ip", "-n", BOOT_NAMESPACE, "link", "set", f"qemu-{name}", "netns", namespace, "name", name], check=True)
        self.serial = socket.socket(socket.AF_UNIX)
        # Between qemu's bind and its listen.
        while self.serial.connect_ex(str(serial)):
            self.check_alive(deadline)
            time.sleep(0.05)
        self.serial.settimeout(BOOT_SECONDS)
        self.lines = self.serial.makefile("rwb", buffering=0)
        while self.next_line() != b"up":
            self.check_alive(deadline)

    def next_line(self):
        """The next line of the guest's shell; empty if qemu has ended."""
        try:
            return self.lines.readline().strip()
        except ConnectionResetError:
            self.qemu.wait()
            return b""

    def check_alive(self, deadline):
        if self.qemu.poll() is not None or time.monotonic() > deadline:
            logs = [self.share / "qemu.log", self.share / "console"]
            text = "".join(log.read_text(errors="replace")[-2000:] for log in logs if log.exists())
            raise RuntimeError(f"the guest did not start:\n{text}")

    def name_interfaces(self):
        """Loads the driver. Its interfaces get their names by their MACs."""
        self.run(f"modprobe {self.device.module}", check=True)
        for name, _, mac in self.interfaces:
            self.run(
                "for try in $(seq 50); do\n"
                f"  device=$(ip -o link | grep -i {mac} | cut -d: -f2 | tr -d ' '); [ -z \"$device\" ] || break; sleep 0.2\n"
                f"done; ip link set $device name {name}", check=True)

    def run(self, script, check=False, seconds=SCRIPT_SECONDS):
        """Runs a shell script as root. Returns its exit code and its output."""
        self.scripts += 1
        number = str(self.scripts)
        (self.share / f"{number}.sh").write_text(script + "\n")
        self.serial.settimeout(seconds)
        self.lines.write(number.encode() + b"\n")
        while True:
            words = self.lines.readline().split()
            if words and words[0].decode() == number:
                break
            if not words and self.qemu.poll() is not None:
                console = (self.share / "console").read_text(errors="replace")
                raise RuntimeError(f"the guest ended:\n{console[-3000:]}")
        code = int(words[1])
        output = (self.share / f"{number}.out").read_text(errors="replace")
        if check and code:
            raise RuntimeError(f"exit code {code} in the guest:\n{script}\n{output}")
        return code, output
