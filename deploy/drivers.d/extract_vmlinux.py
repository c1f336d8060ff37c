"""extract_vmlinux VMLINUZ OUT: writes the ELF file that a bzImage holds compressed.

qemu boots it directly (PVH), which saves the slow decompressor. Offsets: Documentation/arch/x86/boot.rst.
"""

import struct
import subprocess
import sys

SETUP_SECTS = 0x1F1
PAYLOAD_OFFSET = 0x248
DECOMPRESSORS = {
    b"\x28\xb5\x2f\xfd": ("zstd", "-dqc"),
    b"\xfd7zX": ("xz", "-dqc"),
    b"\x1f\x8b\x08\x00": ("gzip", "-dqc"),
}


def main():
    image, out = sys.argv[1:]
    with open(image, "rb") as file:
        data = file.read()
    sectors = data[SETUP_SECTS] or 4
    offset, length = struct.unpack_from("<II", data, PAYLOAD_OFFSET)
    start = (sectors + 1) * 512 + offset
    payload = data[start:start + length]
    command = DECOMPRESSORS.get(payload[:4])
    if command is None:
        sys.exit(f"{image}: unknown compression {payload[:4].hex()}")
    # The payload ends with its unpacked size, which decompressors report as trailing garbage.
    elf = subprocess.run(command, input=payload, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    if elf[:4] != b"\x7fELF":
        sys.exit(f"{image}: {command[0]} gives no ELF file")
    with open(out, "wb") as file:
        file.write(elf)


main()
