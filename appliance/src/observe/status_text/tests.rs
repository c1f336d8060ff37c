#![allow(clippy::unwrap_used)]

use super::*;
use crate::observe::sample_snapshot;

#[test]
fn status_is_compact_and_aligned() {
    let text = status(&sample_snapshot::snapshot());
    let expected = "\
synward 0.1.0 serving, up 3 d 4 h, pid 4711, /etc/synward/synward.toml

service  mode    handoff        SYNs    answered  valid    invalid  expired    dropped  flows  openings
web      always  splice   12,000,000  12,000,000  1,204  3,000,000        7  3,000,012  1,200         3
mail     always  splice          120         120  1,204         30        7         42  1,200         3

web: under attack for 12 s: 9,000 SYN/s, at most 9,500; over when below 2,000 SYN/s for long enough
web: claimed sources of the attack (may be spoofed): 198.51.100.0/24 25 %
web: handed off: 1,200 ok, 3 timed out, 1 refused
web: dropped: 3,000,000 invalid cookie, 12 fragment
web: prefixes allowed 3, denied 70
web: buffered for openings: 4,380 bytes
mail: under attack for 12 s: 9,000 SYN/s, at most 9,500; over when below 2,000 SYN/s for long enough
mail: claimed sources of the attack (may be spoofed): 198.51.100.0/24 25 %
mail: handed off: 1,200 ok, 3 timed out, 1 refused
mail: dropped: 30 invalid cookie, 12 fragment
mail: prefixes allowed 3, denied 70
mail: buffered for openings: 4,380 bytes

flow table: 1,203 of 1,048,576 used (0.1 %), 77,000 expired, 2 refused because it was full
4 handoffs, mean 0.43 ms, 99 % within 1.0 ms

12 s ago: web: attack begins

interface  side     xdp      queue  answers  socket      received  transmitted  lost
eth0       outside  native       0  afxdp    zero-copy  2,000,000    1,999,000    24
eth0       outside  native       1  xdp      none               -            -     -
eth1       inside   generic      0  afxdp    copy       2,000,000    1,999,000    24
eth1       inside   generic      1  xdp      none               -            -     -

worker  core  state  busy
     0     2  alive  87 %
     1   any  dead    0 %
";
    assert_eq!(text, expected);
}

#[test]
fn a_degraded_appliance_lists_its_reasons() {
    let mut snapshot = sample_snapshot::snapshot();
    snapshot.degraded = vec!["worker 1 does not beat; queue 1 is answered by XDP".into()];
    snapshot.config_last_reload_successful = false;
    let text = status(&snapshot);
    let lines: Vec<_> = text.lines().take(3).collect();
    assert!(lines[0].starts_with("synward 0.1.0 degraded, up 3 d 4 h"));
    assert_eq!(
        lines[1..],
        [
            "  degraded: worker 1 does not beat; queue 1 is answered by XDP",
            "  the last reload was refused; the previous configuration is in force",
        ]
    );
}

#[test]
fn an_empty_snapshot_is_formatted() {
    let text = status(&Snapshot::default());
    assert!(text.contains("degraded: packets are not steered yet"));
    assert!(text.contains("flow table: 0 of 0 used (0 %), 0 expired\n"));
}

#[test]
fn flows_are_columns_with_the_worker_of_openings() {
    let list = sample_snapshot::flows(3);
    let expected = "\
client                 server              service  state                      idle
198.51.100.7:40001     192.0.2.10:443      web      opening at worker 1         0 s
203.0.113.200:61234    192.0.2.10:80       web      established           1 h 2 min
[2001:db8:1::7]:50000  [2001:db8::10]:443  web      closing              1 min 15 s
";
    assert_eq!(flows(&list), expected);
    assert_eq!(
        truncated(&list),
        "synward: 3 of 100 flows; more with --limit\n"
    );
    assert_eq!(truncated(&FlowList { total: 3, ..list }), "");
    assert_eq!(flows(&FlowList::default()), "no flows\n");
}
