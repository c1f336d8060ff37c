use super::*;

fn found(options: &[u8]) -> Found {
    Options::of(options).found
}

const LINUX: [u8; 20] = [
    2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 7, 1, 3, 3, 7,
];

#[test]
fn options_of_a_linux_syn_are_found() {
    let options = Options::of(&LINUX);
    assert_eq!(
        (options.found.mss(), options.found.window_scale()),
        (Some(1460), Some(7))
    );
    assert!(options.found.sack_permitted());
    assert_eq!(options.timestamps(), Some((9, 7)));
}

#[test]
fn options_of_a_windows_syn_are_found() {
    let found = found(&[2, 4, 5, 0xb4, 1, 3, 3, 8, 1, 1, 4, 2]);
    assert_eq!((found.mss(), found.window_scale()), (Some(1460), Some(8)));
    assert!(found.sack_permitted());
    assert_eq!(found.timestamps_at(), None);
}

#[test]
fn signatures_are_found() {
    let mut md5 = [1u8; 24];
    md5[..6].copy_from_slice(&[2, 4, 5, 0xb4, 19, 18]);
    let mut ao = [0u8; 20];
    ao[..6].copy_from_slice(&[2, 4, 5, 0xb4, 29, 16]);
    assert!(found(&md5).is_signed() && found(&ao).is_signed());
    assert!(!found(&LINUX).is_signed());
}

#[test]
fn sack_blocks_are_found_behind_timestamps() {
    let mut options = [1u8; 40];
    options[2..4].copy_from_slice(&[8, 10]);
    options[14..16].copy_from_slice(&[5, 26]);
    assert_eq!(found(&options).sack_at(), Some((16, 3)));
}

#[test]
fn options_are_found_behind_any_padding() {
    for padding in 0..=36 {
        let mut options = [1u8; 40];
        options[padding..padding + 4].copy_from_slice(&[2, 4, 5, 0xb4]);
        assert_eq!(found(&options).mss(), Some(1460), "{padding}");
    }
    let mut options = [1u8; 40];
    for pair in options[..37].chunks_exact_mut(3) {
        pair[1..].copy_from_slice(&[4, 2]);
    }
    options[37..].copy_from_slice(&[3, 3, 7]);
    assert_eq!(found(&options).window_scale(), Some(7));
}

#[test]
fn wrong_lengths_end_the_walk() {
    for options in [
        &[3u8, 0][..],
        &[3, 1],
        &[3, 3],
        &[2, 4, 5],
        &[8, 40, 1, 1],
        &[0xfd, 0xff],
    ] {
        assert_eq!(found(options), Found::NOTHING, "{options:?}");
    }
    assert_eq!(found(&[3, 3, 7, 2, 0]).window_scale(), Some(7));
}

#[test]
fn positions_are_inside_the_options_for_any_bytes() {
    let mut seed = 1u64;
    for _ in 0..200_000 {
        let mut bytes = [0u8; MAX_OPTIONS];
        for byte in &mut bytes {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            *byte = (seed >> 59) as u8;
        }
        let length = (seed >> 33) as usize % (MAX_OPTIONS + 1);
        let found = found(&bytes[..length]);
        assert!(found.timestamps_at().is_none_or(|at| at + 8 <= length));
        assert!(
            found
                .sack_at()
                .is_none_or(|(at, blocks)| at + 8 * blocks <= length)
        );
    }
}
