//! Metadata that the XDP program stores in front of a packet arrives with the packet.

use std::os::fd::OwnedFd;

use synward::afxdp::{Chunk, PortOptions};

use crate::{
    needs_root, numbered_frames,
    round_trip::receive_one,
    test_programs::{self, MARKER, Mode},
    veth_lab::{End, Lab},
};

#[test]
fn metadata_arrives_in_native_mode() {
    needs_root!();
    metadata_arrives(Mode::Native, 1, Chunk::Bytes2048);
    metadata_arrives(Mode::Native, 0, Chunk::Bytes4096);
}

/// Uses queue 0: in generic mode veth records no receive queue, so that every frame arrives on that one.
#[test]
fn metadata_arrives_in_generic_mode() {
    needs_root!();
    metadata_arrives(Mode::Generic, 0, Chunk::Bytes2048);
}

fn metadata_arrives(mode: Mode, queue: u32, chunk: Chunk) {
    let lab = Lab::new();
    let options = PortOptions {
        chunk,
        ..PortOptions::default()
    };
    let mut here = lab.open(End::Here, queue, &options).unwrap();
    let mut there = lab.open(End::There, queue, &options).unwrap();
    let sockets: OwnedFd = test_programs::socket_map(2).unwrap();
    test_programs::set_socket(&sockets, queue, here.fd()).unwrap();
    let program = test_programs::steer_with_metadata(&sockets).unwrap();
    let _steering = lab.attach(End::Here, &program, mode);

    for number in 100..200 {
        let mut frame = there.allocate().unwrap();
        numbered_frames::write(&there, &mut frame, number);
        there.transmit(frame);
        there.flush();

        let frame = receive_one(&mut here);
        assert_eq!(numbered_frames::number(here.bytes(&frame)), number);
        let words: &[u8; 32] = here.metadata(&frame).unwrap();
        let words: Vec<u64> = words
            .chunks_exact(8)
            .map(|word| u64::from_le_bytes(word.try_into().unwrap()))
            .collect();
        assert_eq!(
            words,
            [MARKER as u64, number, u64::from(queue), MARKER as u64]
        );
        assert!(here.metadata::<256>(&frame).is_some());
        assert!(here.metadata::<257>(&frame).is_none(), "beyond the chunk");
        here.release(frame);
    }
}
