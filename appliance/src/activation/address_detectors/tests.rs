//! Rates of addresses in, attacks on addresses or on the service out.

use super::*;
use crate::activation::Totals;

const SETTINGS: Activation = Activation {
    activate_syn_rate: Some(1_000),
    deactivate_syn_rate: None,
    hold: Duration::from_secs(2),
};

/// A service whose addresses are 192.0.2.0 and following.
struct Service {
    whole: Detector,
    addresses: AddressDetectors,
    totals: Vec<Totals>,
    rounds: u64,
}

fn net(number: usize) -> IpNet {
    IpNet::new_assert([192, 0, 2, number as u8].into(), 32)
}

impl Service {
    fn new(addresses: usize, settings: Activation) -> Self {
        let mut service = Self {
            whole: Detector::new(settings, true),
            addresses: AddressDetectors::default(),
            totals: vec![Totals::default(); addresses],
            rounds: 0,
        };
        let new = || Detector::new(settings, true);
        let changes = service.addresses.follow((0..addresses).map(net), new);
        assert_eq!(changes, []);
        service
    }

    /// Rounds with so many SYNs a second for each address; what changes: the last byte of an address or `all`, `+` or `-`.
    fn run(&mut self, seconds: f64, rates: &[u64]) -> String {
        let mut found = String::new();
        for _ in 0..(seconds * 10.0) as u64 {
            self.rounds += 1;
            for (totals, rate) in self.totals.iter_mut().zip(rates) {
                totals.syns += rate / 10;
            }
            let seen = |totals: &Totals| Seen {
                totals: *totals,
                ..Seen::default()
            };
            let each: Vec<_> = self.totals.iter().map(seen).collect();
            let syns = self.totals.iter().map(|one| one.syns).sum();
            let sum = Totals {
                syns,
                ..Totals::default()
            };
            let now = Duration::from_millis(100 * self.rounds);
            for (net, change) in self
                .addresses
                .round(&mut self.whole, now, &seen(&sum), &each)
            {
                let sign = match change {
                    Change::Began(_) => '+',
                    Change::Ended(_) => '-',
                    Change::Unwatched(_) => '?',
                };
                let net = net.map(|net| net.addr().to_string());
                let name = net.as_deref().map_or("all", |net| &net["192.0.2.".len()..]);
                found += &format!("{sign}{name} ");
            }
        }
        found.trim_end().to_owned()
    }
}

#[test]
fn a_flood_to_one_address_is_an_attack_on_that_alone() {
    let mut service = Service::new(2, SETTINGS);
    assert_eq!(service.run(2.0, &[100, 100]), "");
    assert_eq!(service.run(3.0, &[50_000, 100]), "+0");
    assert_eq!(service.addresses.attacks().count(), 1);
    assert!(service.whole.attack().is_none());
    assert_eq!(service.run(9.0, &[100, 100]), "-0");
    assert_eq!(service.run(9.0, &[100, 50_000]), "+1");
}

/// Together with the others' clients the service reaches the threshold before the address does.
#[test]
fn the_others_clients_do_not_make_it_one_on_the_service() {
    let mut service = Service::new(3, SETTINGS);
    assert_eq!(service.run(2.0, &[10, 150, 150]), "");
    assert_eq!(service.run(1.0, &[990, 150, 150]), "+0");
    assert_eq!(service.run(9.0, &[990, 150, 150]), "", "it does not flap");
    assert_eq!(service.run(9.0, &[10, 150, 150]), "-0");
}

#[test]
fn a_flood_to_many_addresses_is_an_attack_on_the_service() {
    let mut service = Service::new(200, SETTINGS);
    assert_eq!(service.run(2.0, &[0; 200]), "");
    assert_eq!(service.run(2.0, &[100; 200]), "+all", "each is far below");
    assert_eq!(service.run(9.0, &[0; 200]), "-all");
    assert_eq!(
        service.run(2.0, &[100_000; 200]),
        "+all",
        "each is far above"
    );
    let mut service = Service::new(20, SETTINGS);
    let nine = [[5_000; 9].as_slice(), &[0; 11]].concat();
    assert_eq!(service.run(2.0, &nine), "+all", "more than eight");
    let mut service = Service::new(20, SETTINGS);
    assert_eq!(service.run(2.0, &nine[1..]), "+0 +1 +2 +3 +4 +5 +6 +7");
    let mut service = Service::new(2, SETTINGS);
    assert_eq!(service.run(2.0, &[5_000, 5_000]), "+all", "all there are");
}

#[test]
fn attacks_on_addresses_are_not_reported_while_the_whole_service_is_attacked() {
    let mut service = Service::new(10, SETTINGS);
    assert_eq!(service.run(2.0, &[300; 10]), "+all");
    let mut one = [300; 10];
    one[4] = 50_000;
    assert_eq!(service.run(5.0, &one), "");
    one = [10; 10];
    one[4] = 50_000;
    assert_eq!(
        service.run(9.0, &one),
        "",
        "its rate counts for the service"
    );
    assert_eq!(service.run(9.0, &[10; 10]), "-all");
}

/// Each has a threshold in proportion to its own normal rate.
#[test]
fn a_quiet_address_of_a_busy_service_has_a_low_threshold() {
    let scaled = Activation::default();
    let mut service = Service::new(2, scaled);
    assert_eq!(service.run(60.0, &[900, 100]), "");
    assert_eq!(service.run(300.0, &[3_000, 100]), "");
    assert_eq!(service.run(2.0, &[3_000, 2_000]), "+1");
    assert_eq!(service.run(2.0, &[6_000, 2_000]), "", "twice is normal");
    assert_eq!(service.run(2.0, &[40_000, 2_000]), "+0");
}

#[test]
fn addresses_come_and_go() {
    let mut service = Service::new(3, SETTINGS);
    assert_eq!(service.run(2.0, &[5_000, 0, 0]), "+0");
    let new = || Detector::new(SETTINGS, true);
    let kept = service.addresses.follow([net(0), net(7)].into_iter(), new);
    assert_eq!(kept, []);
    assert_eq!(service.addresses.attacks().count(), 1);
    let ended = service.addresses.follow([net(7)].into_iter(), new);
    let is_end = |(net, change): &Changed| (*net, matches!(change, Change::Unwatched(_)));
    assert_eq!(
        ended.iter().map(is_end).collect::<Vec<_>>(),
        [(Some(net(0)), true)]
    );
}

/// A process was killed meanwhile: the next one knows of the attack, and of how much came before.
#[test]
fn an_attack_continues_in_the_next_process() {
    let mut before = Service::new(3, SETTINGS);
    assert_eq!(before.run(2.0, &[5_000, 0, 0]), "+0");
    before.addresses.note_challenged(&[net(0)]);
    let kept: Vec<_> = before
        .addresses
        .attacks()
        .map(|(net, _, attack)| (net, attack.kept(Duration::from_secs(2))))
        .collect();
    let mut after = Service::new(3, SETTINGS);
    for (net, kept) in &kept {
        assert!(after.addresses.resume(*net, Duration::ZERO, kept));
    }
    assert!(!after.addresses.resume(net(9), Duration::ZERO, &kept[0].1));
    assert_eq!(after.run(4.0, &[5_000, 0, 0]), "", "it is reported once");
    let (_, _, attack) = after.addresses.attacks().next().unwrap();
    assert!(attack.age(Duration::from_secs(4)) > Duration::from_secs(5));
    assert!(attack.challenged, "it was, before the kill");
    assert!((29_000..=30_000).contains(&attack.syns), "{attack:?}");
    assert_eq!(after.run(4.0, &[0, 0, 0]), "-0");
}
