//! From the frame to the TCP header: offsets, and everything that later stages ask about.

use aya_ebpf::programs::{TcContext, XdpContext};
use synward_core::client_options::ClientOptions;
use synward_core::flow::FlowKey;
use synward_core::generated_segment::Segment;
use synward_core::layout::{Endpoint, EndpointKey, Profile};
use synward_core::wire::Address;
use synward_core::wire::ethernet::{self, Ethernet};
use synward_core::wire::ipv4::{self, Ipv4};
use synward_core::wire::ipv6::{self, Ipv6};
use synward_core::wire::tcp::{self, Tcp};
use synward_core::wire::tcp_options::{self, Options};

/// What a frame turned out to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A TCP segment: all fields count.
    Tcp,
    /// ICMP: `v4` and `l4` count.
    Icmp,
    /// A fragment of a TCP segment: `destination` counts.
    Fragment,
    /// Headers that are cut short, contradict themselves or are too many: `destination` counts.
    Malformed,
    /// Nothing that concerns a service.
    Other,
}

/// A TCP segment and where its headers are.
///
/// It lives in a per-CPU map rather than on the stack: that saves half of the stack, and the verifier,
/// which forgets what was stored there, has one state to follow where it would follow one for every
/// combination of tags and extension headers.
#[repr(C)]
pub struct Packet {
    pub source: Address,
    pub destination: Address,
    /// The slot of the interface that it came by.
    pub slot: u32,
    /// Offset of the IP header.
    pub l3: usize,
    /// Offset of the TCP or ICMP header.
    pub l4: usize,
    /// Bytes of TCP options.
    pub options: usize,
    pub sequence: u32,
    pub acknowledgement: u32,
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
    /// Its flow, from whichever side it comes.
    pub key: FlowKey,
    /// Whether it may be that of a connection that passes.
    pub may_pass: bool,
    /// The endpoint that it is for or from.
    pub endpoint: Endpoint,
    /// Where that is, and `Globals::generation` when it was looked up; 0: what stands there is not what was found.
    pub endpoint_at: EndpointKey,
    pub endpoint_since: u32,
    /// Whether `kernel_isn`, a cookie that the kernel made, is the ISN of the answer; `kernel_tsval` is its TSval in network
    /// order, or zero where it has none and no other option than the MSS.
    pub kernel_cookie: bool,
    pub kernel_isn: u32,
    pub kernel_tsval: u32,
    /// When the packet before was looked at: the kernel's tick, and the coarse clock, ns.
    pub tick: u64,
    pub now: u64,
    /// SYNs for this machine in this tick so far.
    pub syns: u32,
    /// By which interface, and in which tick, a listener with room was found for the endpoint.
    pub listener_slot: u32,
    pub listener_tick: u64,
    /// What a valid cookie says about the client, and what was promised to it.
    pub validated_options: ClientOptions,
    pub offered: Profile,
    /// What is sent back.
    pub reply: Segment,
    /// The TCP options, once they are walked over.
    pub walked: Options,
}

/// Timestamps, zero where there are none: an `Option` would leave the verifier with registers that
/// nobody has written.
pub struct Times {
    pub present: bool,
    pub tsval: u32,
    pub tsecr: u32,
}

/// Headers that start farther into the frame are not looked at.
const FARTHEST: usize = 511;

/// A program's context, as far as the frame is concerned.
pub trait Frame {
    /// Where the frame starts and ends; of a socket buffer, as much of it as is in one piece. Volatile, because
    /// the verifier must see the loads from the context where the pointers are used: passed on between
    /// functions they would be mere numbers to it.
    fn bounds(&self) -> (usize, usize);
}

impl Frame for XdpContext {
    #[inline(always)]
    fn bounds(&self) -> (usize, usize) {
        // SAFETY: the context is the kernel's own, and both fields of it are readable.
        unsafe {
            let start = core::ptr::read_volatile(&raw const (*self.ctx).data);
            let end = core::ptr::read_volatile(&raw const (*self.ctx).data_end);
            (start as usize, end as usize)
        }
    }
}

impl Frame for TcContext {
    #[inline(always)]
    fn bounds(&self) -> (usize, usize) {
        // SAFETY: as above.
        unsafe {
            let start = core::ptr::read_volatile(&raw const (*self.skb.skb).data);
            let end = core::ptr::read_volatile(&raw const (*self.skb.skb).data_end);
            (start as usize, end as usize)
        }
    }
}

/// `N` bytes of the frame at `at`, or nothing if it ends before.
#[inline(always)]
pub fn view<const N: usize>(ctx: &impl Frame, at: usize) -> Option<&mut [u8; N]> {
    let (data, data_end) = ctx.bounds();
    // The mask changes nothing; it is what the verifier knows of an offset that was kept in a map.
    let start = data + (at & FARTHEST);
    if start + N > data_end {
        return None;
    }
    // SAFETY: the range lies inside the frame (checked just above, and by the verifier again); bytes
    // need no alignment. Two views can overlap, but no stage holds one while it writes through another.
    Some(unsafe { &mut *(start as *mut [u8; N]) })
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
        for _ in 0..ethernet::MAX_TAGS {
            if !ethernet::is_tag(ethertype) {
                break;
            }
            let Some(tag) = view::<{ ethernet::TAG_LENGTH }>(ctx, l3) else {
                return Kind::Other;
            };
            ethertype = u16::from_be_bytes([tag[2], tag[3]]);
            l3 += ethernet::TAG_LENGTH;
        }
        self.l3 = l3;
        match ethertype {
            ethernet::IPV4 => self.read_v4(ctx, l3),
            ethernet::IPV6 => self.read_v6(ctx, l3),
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
            ipv4::TCP if ip.is_fragment() => Kind::Fragment,
            ipv4::TCP => self.read_tcp(ctx),
            ipv4::ICMP if !ip.is_fragment() => Kind::Icmp,
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
        // A mapped address has no business on the wire (RFC 4942 §2.2), and would look like IPv4 here.
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
            // In a request to a worker it has eight bits.
            if l4 > u8::MAX as usize {
                return Kind::Malformed;
            }
        }
        self.l4 = l4;
        match next {
            ipv4::TCP => self.read_tcp(ctx),
            ipv6::ICMP => Kind::Icmp,
            ipv6::FRAGMENT => Kind::Fragment,
            next if ipv6::is_extension(next) => Kind::Malformed,
            _ => Kind::Other,
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
                self.walked.walk(0);
                return;
            };
            self.walked.bytes[word * 4..word * 4 + 4].copy_from_slice(view);
        }
        self.walked.walk(length);
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

    /// Bytes of payload.
    #[inline(always)]
    pub fn payload(&self) -> usize {
        (self.length as usize).saturating_sub(self.l4 - self.l3 + tcp::LENGTH + self.options)
    }
}
