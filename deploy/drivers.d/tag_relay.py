"""tag_relay PLAIN TAGGED ID: carries frames between two interfaces, with VLAN tag ID on TAGGED. Drops what has no such tag."""

import selectors
import socket
import struct
import sys

ETH_P_ALL = 3
SOL_PACKET, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 263, 8, 23
# struct tpacket_auxdata (include/uapi/linux/if_packet.h): status, len, snaplen, mac, net, vlan_tci, vlan_tpid.
AUXDATA = struct.Struct("=IIIHHHH")
TP_STATUS_VLAN_VALID = 1 << 4
MOST = 65536


def main():
    plain, tagged, tag = packet_socket(sys.argv[1]), packet_socket(sys.argv[2]), int(sys.argv[3])
    selector = selectors.DefaultSelector()
    selector.register(plain, selectors.EVENT_READ)
    selector.register(tagged, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            frame, found = receive(key.fileobj)
            if key.fileobj is plain:
                tagged.send(frame[:12] + struct.pack(">HH", 0x8100, tag) + frame[12:])
            elif found == tag:
                plain.send(frame)


def packet_socket(interface):
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    opened.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    opened.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    opened.bind((interface, 0))
    return opened


def receive(opened):
    """A frame without its tag, and the VLAN that the tag names. The kernel takes the tag out of the frame."""
    frame, extra, _, _ = opened.recvmsg(MOST, socket.CMSG_SPACE(AUXDATA.size))
    for level, kind, data in extra:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tci, _ = AUXDATA.unpack(data[:AUXDATA.size])
            if status & TP_STATUS_VLAN_VALID:
                return frame, tci & 0xFFF
    return frame, None


if __name__ == "__main__":
    main()
