//! The queues of a NIC, and the CPUs that handle them.

use super::*;

#[test]
fn channels_follow_cpus_and_driver() {
    assert_eq!(
        nic(|state| {
            state.channels = Ok(combined(2, 8));
            state.queues = 2;
        }),
        (
            "nic.queues",
            Status::Warn,
            command("ethtool -L eth0 combined 4")
        )
    );
    let ena = |state: &mut State, used| {
        state.driver = Ok("ena".into());
        state.known = steering::facts_of("ena");
        state.channels = Ok(combined(used, 4));
    };
    assert_eq!(
        nic(|state| ena(state, 4)),
        (
            "nic.queues",
            Status::Fail,
            command("ethtool -L eth0 combined 2")
        )
    );
    assert_eq!(
        nic(|state| {
            state.known = steering::facts_of("i40e");
            state.driver = Ok("i40e".into());
            state.kind = "emulated".into();
            state.channels = Ok(combined(1, 64));
        })
        .2,
        command("ethtool -L eth0 combined 4")
    );
    let separate = |used| Count { used, most: 4 };
    assert_eq!(
        nic(|state| {
            state.channels = Ok(ChannelCounts {
                rx: separate(1),
                tx: separate(1),
                combined: Count::default(),
            });
        })
        .2,
        command("ethtool -L eth0 rx 4 tx 4")
    );
}

#[test]
fn channels_with_which_native_xdp_crashes_the_kernel() {
    assert_eq!(
        nic(|state| {
            state.crash = Some("it would crash the kernel".into());
            state.channels = Ok(combined(8, 8));
        }),
        (
            "nic.queues",
            Status::Fail,
            command("ethtool -L eth0 combined 4")
        )
    );
}

#[test]
fn more_queues_than_can_be_steered() {
    let many = synward_core::layout::MAX_QUEUES + 1;
    let many_queues = |state: &mut State| {
        state.queues = many;
        state.channels = Ok(combined(many, many));
        state.rss = Err(Unread::Absent);
    };
    assert_eq!(
        nic(many_queues),
        (
            "nic.queues",
            Status::Fail,
            command("ethtool -L eth0 combined 4")
        )
    );
    let listed = found(|facts| {
        facts.interfaces[0].queues = Queues::List(vec![0]);
        many_queues(facts.interfaces[0].state.as_mut().unwrap());
    });
    assert_eq!(listed, []);
}

#[test]
fn queues_that_are_named_and_missing() {
    let missing = |most| {
        one(|facts| {
            facts.interfaces[0].queues = Queues::List(vec![0, 7]);
            facts.interfaces[0].state.as_mut().unwrap().channels = Ok(combined(4, most));
        })
    };
    let more = command("ethtool -L eth0 combined 8");
    assert_eq!(missing(8), ("nic.queues", Status::Fail, more));
    assert_eq!(missing(4), ("nic.queues", Status::Fail, None));
}

#[test]
fn the_queues_of_a_virtual_device_are_its_senders_decision() {
    let virtual_device = |state: &mut State| {
        state.kind = "veth".into();
        state.channels = Ok(combined(1, 4));
        state.queues = 1;
        state.rss = Err(Unread::Absent);
    };
    let found = found(|facts| virtual_device(facts.interfaces[0].state.as_mut().unwrap()));
    assert_eq!(found, []);
}

#[test]
fn a_veth_whose_other_end_sends_on_more_queues() {
    let veth = |most, mode| {
        found(|facts| {
            facts.interfaces[0].xdp_mode = mode;
            let state = facts.interfaces[0].state.as_mut().unwrap();
            state.kind = "veth".into();
            state.known = steering::facts_of("veth");
            state.driver = Ok("veth".into());
            state.channels = Ok(ChannelCounts {
                rx: Count { used: 1, most },
                tx: Count { used: 2, most },
                combined: Count::default(),
            });
            state.queues = 1;
            state.rss = Err(Unread::Absent);
            state.peer = Some(Peer {
                name: "far0".into(),
                mtu: 1500,
                sends_on: Some(4),
            });
        })
    };
    for (most, mode, status, expected, by_tune) in [
        (
            4,
            XdpMode::Native,
            Status::Fail,
            "ethtool -L eth0 rx 4 tx 2",
            true,
        ),
        (
            2,
            XdpMode::Auto,
            Status::Warn,
            "ethtool -L far0 tx 1",
            false,
        ),
    ] {
        let found = veth(most, mode);
        assert_eq!(found.len(), 1, "{found:#?}");
        let first = &found[0];
        assert_eq!((first.id, first.status), ("nic.queues", status));
        assert_eq!(first.command, command(expected));
        assert_eq!(first.by_tune, by_tune);
        assert!(first.what.contains("far0"), "{first:?}");
    }
    assert_eq!(veth(4, XdpMode::Generic), []);
}

#[test]
fn packets_that_reach_only_some_queues() {
    assert_eq!(
        nic(|state| state.rss = Ok(vec![0, 1, 0, 1])),
        ("nic.rss", Status::Warn, command("ethtool -X eth0 equal 4"))
    );
    assert_eq!(
        nic(|state| state.ring = Ok(Count {
            used: 256,
            most: 4096
        })),
        ("nic.ring", Status::Warn, command("ethtool -G eth0 rx 1024"))
    );
    let longest = found(|facts| {
        facts.interfaces[0].state.as_mut().unwrap().ring = Ok(Count {
            used: 256,
            most: 256,
        });
    });
    assert_eq!(longest, []);
}

#[test]
fn interrupts_on_one_cpu_are_moved_one_by_one() {
    let moved = found(|facts| {
        let state = facts.interfaces[0].state.as_mut().unwrap();
        for irq in state.irqs.as_mut().unwrap() {
            irq.cpus = vec![0];
        }
    });
    let commands: Vec<_> = moved.iter().filter_map(|one| one.command.clone()).collect();
    assert_eq!(
        commands,
        [
            "echo 1 > /proc/irq/31/smp_affinity_list",
            "echo 2 > /proc/irq/32/smp_affinity_list",
            "echo 3 > /proc/irq/33/smp_affinity_list"
        ]
    );
    assert!(moved.iter().all(|one| one.id == "nic.irq" && one.by_tune));
}

/// igb with four queues: the link, then all receive queues, then all transmit queues.
#[test]
fn both_interrupts_of_a_queue_move_to_its_cpu() {
    let queues = [
        None,
        Some(0),
        Some(1),
        Some(2),
        Some(3),
        Some(0),
        Some(1),
        Some(2),
        Some(3),
    ];
    let moved = found(|facts| {
        let irqs = (30..).zip(queues).map(|(number, queue)| Irq {
            number,
            cpus: vec![0],
            queue,
        });
        facts.interfaces[0].state.as_mut().unwrap().irqs = Ok(irqs.collect());
    });
    let commands: Vec<_> = moved.iter().filter_map(|one| one.command.clone()).collect();
    let expected = [(32, 1), (33, 2), (34, 3), (36, 1), (37, 2), (38, 3)];
    let expected =
        expected.map(|(irq, cpu)| format!("echo {cpu} > /proc/irq/{irq}/smp_affinity_list"));
    assert_eq!(commands, expected);
}

/// igb with four queues on four CPUs: queues 0 and 1 have each other's CPU.
#[test]
fn crossed_interrupts_matter_where_zero_copy_locks_transmit_queues() {
    let crossed = |driver: &str, zero_copy, features| {
        found(|facts| {
            facts.interfaces[0].zero_copy = zero_copy;
            let state = facts.interfaces[0].state.as_mut().unwrap();
            state.driver = Ok(driver.into());
            state.known = steering::facts_of(driver);
            state.xdp = Ok(XdpFeatures(features));
            // The link's, then that of each queue.
            let placed = [
                (None, 0),
                (Some(0), 1),
                (Some(1), 0),
                (Some(2), 2),
                (Some(3), 3),
            ];
            let irqs = (30..).zip(placed).map(|(number, (queue, cpu))| Irq {
                number,
                cpus: vec![cpu],
                queue,
            });
            state.irqs = Ok(irqs.collect());
        })
    };
    const NO_ZERO_COPY: u64 = 0x67;
    let found = crossed("igb", ZeroCopy::Auto, 0x6f);
    let commands: Vec<_> = found.iter().filter_map(|one| one.command.clone()).collect();
    assert_eq!(
        commands,
        [
            "echo 0 > /proc/irq/31/smp_affinity_list",
            "echo 1 > /proc/irq/32/smp_affinity_list"
        ]
    );
    assert!(found.iter().all(|one| one.id == "nic.irq" && one.by_tune));
    assert!(
        found[0].what.starts_with(
            "interrupt 31 is handled on CPU 1, and XDP transmits on its queue from CPU 0"
        ),
        "{found:?}"
    );
    assert_eq!(crossed("igb", ZeroCopy::Off, 0x6f), []);
    assert_eq!(crossed("igb", ZeroCopy::Auto, NO_ZERO_COPY), []);
    assert_eq!(crossed("mlx5_core", ZeroCopy::Auto, 0x6f), []);
}

/// igb with four queues on the second node of a machine whose nodes have every other CPU.
#[test]
fn the_cpu_that_transmits_on_a_queue_may_be_of_another_node() {
    let on = |cpus: [usize; 4]| {
        let found = found(|facts| {
            let state = facts.interfaces[0].state.as_mut().unwrap();
            state.driver = Ok("igb".into());
            state.known = steering::facts_of("igb");
            state.node = Ok(Some(Node {
                number: 1,
                cpus: vec![1, 3],
            }));
            let irqs = cpus.into_iter().enumerate().map(|(queue, cpu)| Irq {
                number: 30 + queue as u32,
                cpus: vec![cpu],
                queue: Some(queue),
            });
            state.irqs = Ok(irqs.collect());
        });
        let commands = found.into_iter().filter_map(|one| one.command);
        commands.collect::<Vec<_>>()
    };
    assert_eq!(on([0, 1, 2, 3]), [""; 0]);
    let moved = ["echo 0 > /proc/irq/30", "echo 2 > /proc/irq/32"];
    let moved = moved.map(|command| format!("{command}/smp_affinity_list"));
    assert_eq!(on([1, 1, 3, 3]), moved);
    // Also those that one CPU handles all.
    let moved = [
        "echo 0 > /proc/irq/30",
        "echo 2 > /proc/irq/32",
        "echo 3 > /proc/irq/33",
    ];
    let moved = moved.map(|command| format!("{command}/smp_affinity_list"));
    assert_eq!(on([1; 4]), moved);
}

#[test]
fn workers_belong_on_the_node_of_the_nic() {
    let two_nodes = |facts: &mut Facts| {
        facts.machine.nodes = 2;
        facts.interfaces[0].state.as_mut().unwrap().node = Ok(Some(Node {
            number: 1,
            cpus: vec![2, 3],
        }));
    };
    let warned = found(two_nodes);
    assert_eq!(warned[0].id, "numa");
    assert!(warned[0].what.contains("cores = [2, 3]"), "{warned:?}");
    let local = found(|facts| {
        two_nodes(facts);
        facts.plan.cores = Cores::List(vec![3]);
    });
    assert_eq!(local, []);
    let remote = found(|facts| {
        two_nodes(facts);
        facts.plan.cores = Cores::List(vec![0, 3]);
    });
    assert_eq!(remote[0].id, "numa");
}
