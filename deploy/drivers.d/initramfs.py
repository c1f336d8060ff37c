"""The first root of a guest: busybox, the modules of the real root, and the script that mounts it."""

import lzma
import os
import shutil
import subprocess

BOOT_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev
while read -r module; do insmod /modules/$module; done </modules/order
mkdir -p /low /writable /new
mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=524288,cache=loose root /low
mount -t tmpfs t /writable; mkdir /writable/upper /writable/work
mount -t overlay -o lowerdir=/low,upperdir=/writable/upper,workdir=/writable/work o /new
for folder in proc sys dev; do mount --move /$folder /new/$folder; done
mount -t tmpfs t /new/run; mkdir -p /new/lib/modules /new/share
mount -t bpf b /new/sys/fs/bpf; mount -t tracefs t /new/sys/kernel/tracing
mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288 share /new/share
mount --bind /low{kernel}/lib/modules /new/lib/modules
exec chroot /new /bin/sh /share/agent
"""

# Runs /share/N.sh for each line N of the second serial port, and answers N and the exit code.
AGENT = """PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH HOME=/root LC_ALL=C.UTF-8
ip link set lo up; hostname guest
stty -F /dev/ttyS1 raw -echo
exec 3<>/dev/ttyS1
echo up >&3
while read -r number <&3; do
    ( cd /tmp; sh /share/$number.sh </dev/null >/share/$number.out 2>&1 3>&-; echo "$number $?" >&3 )
done
"""


def build(kernel, version, share):
    """Writes the initramfs of a kernel, and the guest's agent, into the shared folder. Returns its path."""
    (share / "agent").write_text(AGENT)
    root = share / "initramfs"
    for folder in ("bin", "dev", "proc", "sys", "modules"):
        (root / folder).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    order = []
    for module in BOOT_MODULES:
        shown = subprocess.run(["modprobe", "-d", kernel, "-S", version, "--show-depends", module],
                               text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        for line in shown.splitlines():
            if line.startswith("insmod") and (path := line.split()[1]) not in order:
                order.append(path)
    names = []
    for path in order:
        with open(path, "rb") as file:
            data = file.read()
        name = os.path.basename(path)
        if name.endswith(".xz"):
            name, data = name.removesuffix(".xz"), lzma.decompress(data)
        (root / "modules" / name).write_bytes(data)
        names.append(name)
    (root / "modules/order").write_text("".join(f"{name}\n" for name in names))
    (root / "init").write_text(INIT.format(kernel=kernel))
    (root / "init").chmod(0o755)
    subprocess.run("find . | cpio -o -H newc --quiet | gzip -1 >../initramfs.gz", shell=True, cwd=root, check=True)
    shutil.rmtree(root)
    return share / "initramfs.gz"
