//! Writes frames and their verdicts as pcapng (draft-ietf-opsawg-pcapng).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::{DataLink, PcapError};
use synward_core::capture::{Record, SNAP};

use super::reason;
use crate::maps::fine_now;
use crate::observe::control_protocol::CaptureTarget;

/// `if_tsresol`: 10^-9 s.
const NANOSECONDS: u8 = 9;
/// `epb_flags`: inbound.
const INBOUND: u32 = 1;
/// The names of `enum xdp_action` (include/uapi/linux/bpf.h).
const VERDICTS: [&str; 5] = [
    "XDP_ABORTED",
    "XDP_DROP",
    "XDP_PASS",
    "XDP_TX",
    "XDP_REDIRECT",
];

/// A pcapng file that is being written. It is complete after each [`flush`](Self::flush).
pub(super) struct PcapngFile<'a, W: Write> {
    writer: PcapNgWriter<W>,
    target: &'a CaptureTarget,
    /// Interface → its number in the file.
    interfaces: BTreeMap<u32, u32>,
    /// From CLOCK_MONOTONIC to Unix time, ns.
    boot: u64,
}

impl<'a, W: Write> PcapngFile<'a, W> {
    /// Writes the header.
    pub(super) fn new(output: W, target: &'a CaptureTarget) -> io::Result<Self> {
        let program = concat!("synward ", env!("CARGO_PKG_VERSION"));
        let section = SectionHeaderBlock {
            options: vec![SectionHeaderOption::UserApplication(program.into())],
            ..SectionHeaderBlock::default()
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_nanos() as u64);
        Ok(Self {
            writer: PcapNgWriter::with_section_header(output, section).map_err(io_error)?,
            target,
            interfaces: BTreeMap::new(),
            boot: now.saturating_sub(fine_now()),
        })
    }

    /// Writes a frame of the service.
    pub(super) fn write(&mut self, service: &str, record: &Record) -> io::Result<()> {
        let verdict = VERDICTS.get(record.verdict as usize);
        let comment = format!(
            "{} ({}); service {service}, queue {}",
            reason::describe(record.counted),
            verdict.unwrap_or(&"unknown verdict"),
            record.queue
        );
        let packet = EnhancedPacketBlock {
            interface_id: self.interface(record.interface)?,
            timestamp: Duration::from_nanos(self.boot.saturating_add(record.time)),
            original_len: record.length,
            data: Cow::Borrowed(record.frame()),
            options: vec![
                EnhancedPacketOption::Flags(INBOUND),
                EnhancedPacketOption::Comment(comment.into()),
            ],
        };
        self.writer.write_pcapng_block(packet).map_err(io_error)?;
        Ok(())
    }

    /// Hands what was written to the file.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.writer.get_mut().flush()
    }

    /// The number of an interface in the file. Describes it there before its first frame.
    fn interface(&mut self, index: u32) -> io::Result<u32> {
        if let Some(number) = self.interfaces.get(&index) {
            return Ok(*number);
        }
        let number = self.interfaces.len() as u32;
        let block = InterfaceDescriptionBlock {
            linktype: DataLink::ETHERNET,
            snaplen: SNAP as u32,
            options: vec![
                InterfaceDescriptionOption::IfName(self.target.interface_name(index).into()),
                InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            ],
        };
        self.writer.write_pcapng_block(block).map_err(io_error)?;
        self.interfaces.insert(index, number);
        Ok(number)
    }
}

fn io_error(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        error => io::Error::other(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use pcap_file::pcapng::{Block, PcapNgReader};
    use synward_core::counters::Counter;

    use crate::observe::control_protocol::CapturedInterface;

    fn record(interface: u32, counter: Counter) -> Record {
        Record {
            time: 5,
            counted: 1 << counter as u8,
            verdict: 1,
            interface,
            queue: 3,
            length: 1500,
            captured: 60,
            unused: 0,
            data: [7; SNAP],
        }
    }

    #[test]
    fn a_frame_has_its_verdict_interface_length_and_time() {
        let target = CaptureTarget {
            service: 0,
            program: 1,
            interfaces: vec![CapturedInterface {
                index: 4,
                name: "eth0".into(),
            }],
        };
        let mut bytes = Vec::new();
        let mut file = PcapngFile::new(&mut bytes, &target).unwrap();
        let boot = file.boot;
        file.write("web", &record(4, Counter::DropDenied)).unwrap();
        file.write("web", &record(9, Counter::DropUnknown)).unwrap();
        file.write("web", &record(4, Counter::DropDenied)).unwrap();
        file.flush().unwrap();
        let mut reader = PcapNgReader::new(&bytes[..]).unwrap();
        let mut packets = Vec::new();
        let mut names = Vec::new();
        while let Some(block) = reader.next_block() {
            match block.unwrap().into_owned() {
                Block::EnhancedPacket(packet) => packets.push(packet),
                Block::InterfaceDescription(interface) => names.push(interface.options[0].clone()),
                _ => {}
            }
        }
        let name = |name: &str| InterfaceDescriptionOption::IfName(name.to_owned().into());
        assert_eq!(names, [name("eth0"), name("if9")]);
        let comment = "dropped: denied (XDP_DROP); service web, queue 3";
        let comment = EnhancedPacketOption::Comment(comment.into());
        assert!(packets[0].options.contains(&comment), "{:?}", packets[0]);
        assert_eq!((packets[0].original_len, packets[0].data.len()), (1500, 60));
        assert_eq!(packets[0].timestamp, Duration::from_nanos(boot + 5));
        let interfaces: Vec<_> = packets.iter().map(|one| one.interface_id).collect();
        assert_eq!(interfaces, [0, 1, 0]);
    }
}
