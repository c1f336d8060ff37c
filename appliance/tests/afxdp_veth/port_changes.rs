//! A worker closes a socket and uses another one.

use synward::afxdp::PortOptions;
use synward::worker::ports::{PortChange, Ports};

use crate::{
    needs_root,
    veth_lab::{End, Lab},
};

#[test]
fn a_closed_socket_frees_its_queue_for_another_one() {
    needs_root!();
    let lab = Lab::new();
    let open = |queue| lab.open(End::Here, queue, &PortOptions::default()).unwrap();
    let (old, new) = (3, 4);
    let mut ports = Ports::new(vec![(old, open(0))], vec![]);
    ports.change(PortChange::Close {
        interface: old,
        queue: 0,
    });
    assert_eq!(ports.count(), 0);
    ports.change(PortChange::Use(old, Box::new(open(0))));
    assert_eq!((ports.count(), ports.socket(0).1), (1, old));

    // The interface has got a queue.
    ports.change(PortChange::Use(old, Box::new(open(1))));
    assert_eq!(ports.count(), 2);
    assert!(ports.added().contains(&1));
    ports.change(PortChange::Close {
        interface: old,
        queue: 0,
    });
    assert_eq!((ports.count(), ports.socket(0).0.queue()), (1, 1));

    // The interface was created again.
    ports.change(PortChange::Lose(old));
    assert_eq!(ports.count(), 0);
    ports.change(PortChange::Use(new, Box::new(open(1))));
    assert_eq!((ports.count(), ports.socket(0).1), (1, new));
    drop(open(0));
}
