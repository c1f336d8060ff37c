//! From the frame to the TCP header: offsets, and the fields that later stages read.

use crate::frame_view::{Frame, has_frags, view, whole_length};
use crate::verified_once;
use aya_ebpf::programs::XdpContext;
use synward_core::flow::FlowKey;
use synward_core::layout::push_vlan_tag;
use synward_core::wire::Address;
use synward_core::wire::ethernet::{self, Ethernet};
use synward_core::wire::ipv4::{self, Ipv4};
use synward_core::wire::ipv6::{self, Ipv6};
use synward_core::wire::protocol;
use synward_core::wire::tcp::{self, Tcp, flags};
use synward_core::wire::tcp_options::{self, Options};

/// What a frame turned out to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A TCP segment: all fields count.
    Tcp,
    /// ICMP: `v4` and `l4` count.
    Icmp,
    /// The first fragment of a TCP segment, with the whole TCP header: all fields count.
    FirstFragment,
    /// A fragment of a TCP segment without it: `destination` counts.
    Fragment,
    /// Headers that are cut short, contradict themselves or are too many: `destination` counts.
    Malformed,
    /// More tags than are parsed: `l3` is the offset of the next tag.
    MoreTags,
    /// Nothing that concerns a service.
    Other,
}

/// A TCP segment and where its headers are.
#[repr(C)]
pub struct Packet {
    pub source: Address,
    pub destination: Address,
    /// Offset of the IP header.
    pub l3: usize,
    /// Offset of the TCP or ICMP header.
    pub l4: usize,
    /// Bytes of TCP options.
    pub options: usize,
    pub sequence: u32,
    pub acknowledgement: u32,
    /// The VLAN tags ([`push_vlan_tag`]); 0: none.
    pub vlan: u64,
    pub source_port: u16,
    pub destination_port: u16,
    /// Bytes of the IP packet.
    pub length: u16,
    pub v4: bool,
    /// IPv6, or IPv4 with "don't fragment".
    pub dont_fragment: bool,
    /// TTL or hop limit.
    pub ttl: u8,
    /// DSCP and ECN.
    pub class: u8,
    pub flags: u8,
    /// The TCP options, once they are walked over.
    pub walked: Options,
}

/// Timestamps; zero if the segment has none. An `Option` would leave registers that nobody has written, which the
/// verifier refuses.
pub struct Times {
    pub present: bool,
    pub tsval: u32,
    pub tsecr: u32,
}

impl Packet {
    /// Reads a frame's headers.
    #[inline(always)]
    pub fn read(&mut self, ctx: &impl Frame) -> Kind {
        let Some(eth) = view::<{ ethernet::LENGTH }>(ctx, 0) else {
            return Kind::Other;
        };
        let eth = Ethernet(&*eth);
        // Broadcast and multicast frames carry no TCP that anyone should answer (RFC 1122 §4.2.3.10).
        if eth.destination()[0] & 1 != 0 {
            return Kind::Other;
        }
        let mut ethertype = eth.ethertype();
        let mut l3 = ethernet::LENGTH;
        self.vlan = 0;
        for _ in 0..ethernet::MAX_TAGS {
            if !ethernet::is_tag(ethertype) {
                break;
            }
            let Some(tag) = view::<{ ethernet::TAG_LENGTH }>(ctx, l3) else {
                return Kind::Other;
            };
            let control = u16::from_be_bytes([tag[0], tag[1]]);
            self.vlan = push_vlan_tag(self.vlan, ethertype, control);
            ethertype = u16::from_be_bytes([tag[2], tag[3]]);
            l3 += ethernet::TAG_LENGTH;
        }
        self.l3 = l3;
        match ethertype {
            ethernet::IPV4 => self.read_v4(ctx, l3),
            ethernet::IPV6 => self.read_v6(ctx, l3),
            tag if ethernet::is_tag(tag) => Kind::MoreTags,
            _ => Kind::Other,
        }
    }

    #[inline(always)]
    fn read_v4(&mut self, ctx: &impl Frame, l3: usize) -> Kind {
        let Some(ip) = view::<{ ipv4::LENGTH }>(ctx, l3) else {
            return Kind::Other;
        };
        let ip = Ipv4(&*ip);
        if !ip.is_sound() {
            return Kind::Other;
        }
        self.v4 = true;
        self.source = ip.source();
        self.destination = ip.destination();
        self.ttl = ip.ttl();
        self.class = ip.traffic_class();
        self.dont_fragment = ip.dont_fragment();
        self.length = ip.total_length();
        self.l4 = l3 + ip.header_length();
        match ip.protocol() {
            protocol::TCP if ip.is_fragment() => self.read_fragment(ctx, ip.is_first_fragment()),
            protocol::TCP => self.read_tcp(ctx),
            protocol::ICMP if !ip.is_fragment() => Kind::Icmp,
            _ => Kind::Other,
        }
    }

    #[inline(always)]
    fn read_v6(&mut self, ctx: &impl Frame, l3: usize) -> Kind {
        let Some(ip) = view::<{ ipv6::LENGTH }>(ctx, l3) else {
            return Kind::Other;
        };
        let ip = Ipv6(&*ip);
        self.source = ip.source();
        self.destination = ip.destination();
        // A mapped address must not be on the wire (RFC 4942 §2.2), and would look like IPv4 here.
        if !ip.is_sound() || self.source.is_v4() || self.destination.is_v4() {
            return Kind::Other;
        }
        self.v4 = false;
        self.ttl = ip.hop_limit();
        self.class = ip.traffic_class();
        self.dont_fragment = true;
        self.length = ip.payload_length().saturating_add(ipv6::LENGTH as u16);
        let mut next = ip.next_header();
        let mut l4 = l3 + ipv6::LENGTH;
        for _ in 0..ipv6::MAX_EXTENSIONS {
            if !ipv6::is_extension(next) {
                break;
            }
            let Some(extension) = view::<2>(ctx, l4) else {
                return Kind::Malformed;
            };
            next = extension[0];
            l4 += (extension[1] as usize + 1) * 8;
            // A request to a worker has eight bits for it.
            if l4 > u8::MAX as usize {
                return Kind::Malformed;
            }
        }
        self.l4 = l4;
        match next {
            protocol::TCP => self.read_tcp(ctx),
            ipv6::ICMP => Kind::Icmp,
            ipv6::FRAGMENT => self.read_v6_fragment(ctx),
            next if ipv6::is_extension(next) => Kind::Malformed,
            _ => Kind::Other,
        }
    }

    #[inline(never)]
    fn read_v6_fragment(&mut self, ctx: &impl Frame) -> Kind {
        let Some(header) = view::<{ ipv6::FRAGMENT_LENGTH }>(ctx, self.l4) else {
            return Kind::Fragment;
        };
        // The kernel takes the protocol from the first fragment (RFC 8200 §4.5): what says here that it is none of TCP's becomes a
        // packet of TCP only by a first fragment that says so, and is judged.
        let next = header[0];
        if next != protocol::TCP && next != ipv6::FRAGMENT && !ipv6::is_extension(next) {
            return Kind::Other;
        }
        let is_first = ipv6::first_fragment_protocol(header) == Some(protocol::TCP);
        self.l4 += ipv6::FRAGMENT_LENGTH;
        self.read_fragment(ctx, is_first)
    }

    #[inline(never)]
    fn read_fragment(&mut self, ctx: &impl Frame, is_first: bool) -> Kind {
        if is_first && self.read_tcp(ctx) == Kind::Tcp {
            Kind::FirstFragment
        } else {
            Kind::Fragment
        }
    }

    #[inline(always)]
    fn read_tcp(&mut self, ctx: &impl Frame) -> Kind {
        let Some(segment) = view::<{ tcp::LENGTH }>(ctx, self.l4) else {
            return Kind::Malformed;
        };
        let segment = Tcp(&*segment);
        let header = segment.header_length();
        if header < tcp::LENGTH || self.l4 - self.l3 + header > self.length as usize {
            return Kind::Malformed;
        }
        self.options = header - tcp::LENGTH;
        self.source_port = segment.source();
        self.destination_port = segment.destination();
        self.sequence = segment.sequence();
        self.acknowledgement = segment.acknowledgement();
        self.flags = segment.flags();
        Kind::Tcp
    }

    /// Copies the TCP options out of the frame and reads them.
    #[inline(always)]
    pub fn read_options(&mut self, ctx: &impl Frame) {
        if self.options == tcp_options::LINUX_SYN
            && let Some(view) = view::<{ tcp_options::LINUX_SYN }>(ctx, self.l4 + tcp::LENGTH)
            && self.walked.take_linux_syn(view)
        {
            return;
        }
        self.walk_options(ctx);
    }

    /// Copies the TCP options out of the frame, word by word, and walks over them.
    #[inline(never)]
    pub fn walk_options(&mut self, ctx: &impl Frame) {
        let length = self.options & 63;
        for word in 0..tcp::MAX_OPTIONS / 4 {
            if word * 4 >= length {
                break;
            }
            let Some(view) = view::<4>(ctx, self.l4 + tcp::LENGTH + word * 4) else {
                verified_once::walk_options(&mut self.walked, 0);
                return;
            };
            self.walked.bytes[word * 4..word * 4 + 4].copy_from_slice(view);
        }
        verified_once::walk_options(&mut self.walked, length);
    }

    /// The timestamps of the segment.
    #[inline(always)]
    pub fn timestamps(&mut self, ctx: &impl Frame) -> Times {
        let mut times = Times {
            present: false,
            tsval: 0,
            tsecr: 0,
        };
        if self.options == 12
            && let Some(options) = view::<12>(ctx, self.l4 + tcp::LENGTH)
            && let Some((tsval, tsecr)) = tcp_options::padded_timestamps(options)
        {
            times = Times {
                present: true,
                tsval,
                tsecr,
            };
        } else if self.options != 0 {
            self.walk_options(ctx);
            times = self.walked_timestamps();
        }
        times
    }

    /// The timestamps that a walk found.
    #[inline(always)]
    pub fn walked_timestamps(&self) -> Times {
        let (tsval, tsecr) = self.walked.timestamps().unwrap_or((0, 0));
        Times {
            present: self.walked.found.timestamps_at().is_some(),
            tsval,
            tsecr,
        }
    }

    /// Copies the TCP options back into the frame.
    #[inline(always)]
    pub fn store_options(&self, ctx: &impl Frame) {
        for word in 0..tcp::MAX_OPTIONS / 4 {
            if word * 4 >= self.options {
                break;
            }
            let Some(view) = view::<4>(ctx, self.l4 + tcp::LENGTH + word * 4) else {
                break;
            };
            view.copy_from_slice(&self.walked.bytes[word * 4..word * 4 + 4]);
        }
    }

    /// Whether this is a SYN that opens a connection: SYN without ACK, RST or FIN.
    #[inline(always)]
    pub const fn is_syn(&self) -> bool {
        self.flags & (flags::SYN | flags::ACK | flags::RST | flags::FIN) == flags::SYN
    }

    /// The flow of a segment that the client sent.
    #[inline(always)]
    pub const fn flow_from_client(&self) -> FlowKey {
        FlowKey::new(
            self.source,
            self.source_port,
            self.destination,
            self.destination_port,
        )
    }

    /// The flow of a segment that the server sent.
    #[inline(always)]
    pub const fn flow_from_server(&self) -> FlowKey {
        FlowKey::new(
            self.destination,
            self.destination_port,
            self.source,
            self.source_port,
        )
    }

    /// Whether the first buffer of the frame, mostly its only one, holds the whole packet.
    #[inline(always)]
    pub fn is_linear(&self, ctx: &impl Frame) -> bool {
        let (start, end) = ctx.bounds();
        start + self.frame_length() <= end
    }

    /// Whether the frame holds the whole packet. A driver whose receive buffers are too small cuts frames. The kernel drops
    /// and counts such a packet (`InTruncatedPkts`), and a router must not forward it (RFC 1812 §5.2.2).
    #[inline(always)]
    pub fn is_whole(&self, ctx: &XdpContext) -> bool {
        self.is_linear(ctx) || has_frags() && self.frame_length() <= whole_length(ctx)
    }

    /// The least length of a frame with this packet.
    #[inline(always)]
    fn frame_length(&self) -> usize {
        // The mask changes nothing, as in `view`.
        (self.l3 & 511) + self.length as usize
    }

    /// Bytes of payload.
    #[inline(always)]
    pub fn payload(&self) -> usize {
        (self.length as usize).saturating_sub(self.l4 - self.l3 + tcp::LENGTH + self.options)
    }
}
