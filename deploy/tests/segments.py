"""TCP segments as bytes, sent and received on an interface without the kernel's TCP."""

import ctypes
import ipaddress
import socket
import struct
import subprocess
import time

ETH_P_ALL = 3
# The edge's MAC on each link, see deploy/lab.d/README.md.
GATEWAY = {"client": bytes.fromhex("025357000002"), "server": bytes.fromhex("025357000003")}
# The server's, where client and server have a direct link.
SERVER_MAC = bytes.fromhex("025357000004")
# Routed back to the client's link, where no kernel has these addresses.
SPOOFED = {4: "10.7.0.7", 6: "2001:db8:f::7"}
IPPROTO_TCP = 6
ETHERTYPE = {4: 0x0800, 6: 0x86DD}
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
# MSS 1460, SACK, timestamps (TSval 77), NOP, window scale 7: a Linux client's SYN.
LINUX = bytes.fromhex("020405b40402080a0000004d0000000001030307")
# MSS 1460, NOP, window scale 8, NOP, NOP, SACK: a Windows client's SYN.
WINDOWS = bytes.fromhex("020405b40103030801010402")


class Segment:
    """One TCP segment with its addresses."""

    def __init__(self, source, sport, destination, dport, seq=0, ack=0, flags=0, window=65535, options=b"", payload=b""):
        self.source, self.sport, self.destination, self.dport = source, sport, destination, dport
        self.seq, self.ack, self.flags, self.window = seq, ack, flags, window
        self.options, self.payload = options, payload

    def but(self, **changes):
        """The same segment with these fields changed."""
        return Segment(**(vars(self) | changes))

    def packet(self):
        """The IP packet, with valid checksums."""
        source, destination = ipaddress.ip_address(self.source), ipaddress.ip_address(self.destination)
        offset = 5 + len(self.options) // 4
        header = struct.pack(">HHIIBBHHH", self.sport, self.dport, self.seq & 0xFFFFFFFF, self.ack & 0xFFFFFFFF,
                             offset << 4, self.flags, self.window, 0, 0)
        tcp = header + self.options + self.payload
        pseudo = source.packed + destination.packed + struct.pack(">II", len(tcp), IPPROTO_TCP)
        tcp = tcp[:16] + struct.pack(">H", checksum(pseudo + tcp)) + tcp[18:]
        if source.version == 4:
            ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0x4000, 64, IPPROTO_TCP, 0)
            ip += source.packed + destination.packed
            ip = ip[:10] + struct.pack(">H", checksum(ip)) + ip[12:]
        else:
            ip = struct.pack(">IHBB", 6 << 28, len(tcp), IPPROTO_TCP, 64) + source.packed + destination.packed
        return ip + tcp

    def timestamps(self):
        """TSval and TSecr, or None."""
        at = 0
        while at < len(self.options):
            kind = self.options[at]
            if kind == 8:
                return struct.unpack(">II", self.options[at + 2:at + 10])
            if kind == 0:
                return None
            at += 1 if kind == 1 else max(self.options[at + 1], 2)
        return None

    def answers(self, other):
        """Whether it belongs to the other's connection, in the opposite direction."""
        return ((self.source, self.sport, self.destination, self.dport)
                == (other.destination, other.dport, other.source, other.sport))


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def padded_timestamps(tsval, tsecr):
    """NOP NOP TS."""
    return struct.pack(">BBBBII", 1, 1, 8, 10, tsval & 0xFFFFFFFF, tsecr & 0xFFFFFFFF)


def parse(frame):
    """The TCP segment in an untagged Ethernet frame, or None."""
    ethertype = int.from_bytes(frame[12:14], "big")
    if ethertype == ETHERTYPE[4] and frame[23] == IPPROTO_TCP:
        start, length = 14 + (frame[14] & 15) * 4, int.from_bytes(frame[16:18], "big")
        source, destination, end = frame[26:30], frame[30:34], 14 + length
    elif ethertype == ETHERTYPE[6] and frame[20] == IPPROTO_TCP:
        start, length = 54, int.from_bytes(frame[18:20], "big")
        source, destination, end = frame[22:38], frame[38:54], 54 + length
    else:
        return None
    sport, dport, seq, ack, offset, flags, window = struct.unpack(">HHIIBBH", frame[start:start + 16])
    data = start + (offset >> 4) * 4
    return Segment(str(ipaddress.ip_address(source)), sport, str(ipaddress.ip_address(destination)), dport,
                   seq, ack, flags, window, frame[start + 20:data], frame[data:end])


class Wire:
    """A packet socket in a role's namespace: sends frames, and sees all frames of the interface in both directions."""

    def __init__(self, lab, role, interface, gateway=None):
        with lab.inside(role):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            self.socket.setsockopt(socket.SOL_SOCKET, 33, 1 << 26)  # SO_RCVBUFFORCE
            self.socket.bind((interface, 0))
        self.own = self.socket.getsockname()[4]
        self.gateway = gateway or GATEWAY[role]

    def frame(self, segment):
        """The segment as a frame to the gateway."""
        version = ipaddress.ip_address(segment.source).version
        return self.gateway + self.own + struct.pack(">H", ETHERTYPE[version]) + segment.packet()

    def send(self, segment):
        self.socket.send(self.frame(segment))

    def see(self, wanted, seconds=30):
        """The next segment for which `wanted(segment)` is true, or None after these seconds."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                segment = parse(self.socket.recv(65535))
            except TimeoutError:
                return None
            if segment and wanted(segment):
                return segment
        return None

    def forget(self):
        """Drops the frames received so far."""
        self.socket.setblocking(False)
        try:
            while True:
                self.socket.recv(65535)
        except BlockingIOError:
            pass

    def only(self, expression):
        """Receives only frames that match this tcpdump filter from now on: a flood has too many others."""
        listing = subprocess.run(["tcpdump", "-y", "EN10MB", "-ddd", expression], check=True, capture_output=True, text=True)
        lines = listing.stdout.splitlines()[1:]
        code = b"".join(struct.pack("HBBI", *map(int, line.split())) for line in lines)
        buffer = ctypes.create_string_buffer(code)
        self.socket.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HL", len(lines), ctypes.addressof(buffer)))
        self.forget()

    def close(self):
        self.socket.close()


def shake_hands(wire, syn, seconds=30):
    """Sends a SYN, and returns the ACK for the SYN-ACK without sending it."""
    wire.send(syn)
    answer = wire.see(lambda segment: segment.answers(syn) and segment.flags & (SYN | ACK) == SYN | ACK, seconds)
    assert answer, f"no SYN-ACK for {vars(syn)}"
    assert answer.ack == (syn.seq + 1) & 0xFFFFFFFF
    return answer_to(syn, answer)


def answer_to(syn, answer):
    """The ACK that a SYN's sender sends for the SYN-ACK."""
    options = b""
    if times := answer.timestamps():
        options = padded_timestamps(syn.timestamps()[0] + 1, times[0])
    return syn.but(seq=answer.ack, ack=(answer.seq + 1) & 0xFFFFFFFF, flags=ACK, options=options)
