//! Clients that waited for a worker are served as others are.

use synward_core::waiting_client::WaitingClient;
use synward_core::worker_request::{Meta, Request};

use super::*;
use crate::engine::waiting_ack::WaitingAck;

impl Lab {
    /// What the XDP program has kept of the client's ACK.
    fn waiting_ack(&self, timestamps: bool) -> WaitingAck {
        let meta = Meta {
            request: Request::Open {
                options: self.valid_ack.options,
                offered: self.valid_ack.offered,
                hop: self.valid_ack.hop,
            },
            l3: 14,
            l4: 34,
            // That of the process before this one.
            service: 77,
        };
        WaitingAck {
            key: self.key,
            service: 0,
            epoch: EPOCH,
            client: WaitingClient {
                since: 1,
                request: meta.encode(self.key.client.is_v4()),
                sequence: C.wrapping_add(1),
                acknowledgement: K + 1,
                tsval: CLIENT_CLOCK,
                tsecr: OUR_CLOCK,
                window: WINDOW,
                ttl: 64,
                timestamps: u8::from(timestamps),
                reserved: 0,
            },
        }
    }

    fn open_waiting(&mut self, ack: &WaitingAck) {
        self.splicer.open_waiting(self.now, ack, &mut self.wire);
    }
}

#[test]
fn a_client_that_waited_gets_its_connection_without_sending_anything() {
    both(|mut lab| {
        lab.open_waiting(&lab.waiting_ack(true));
        let syn = lab.only();
        assert_eq!(syn.numbers(), SYN);
        assert_eq!(syn.options(), REQUESTED_OF_SERVER.words());
        lab.server(&syn_ack());
        assert_eq!(lab.only().numbers(), THIRD_ACK);
        let flow = lab.flow();
        assert_eq!((flow.state, flow.service), (state::ESTABLISHED, 0));
        assert_eq!(S.wrapping_add(flow.sequence_delta), K);
        assert_eq!(lab.counted(Outcome::Established), 1);
        lab.assert_idle();
    });
}

#[test]
fn one_that_has_come_again_meanwhile_gets_no_second_connection() {
    both(|mut lab| {
        lab.open(&ack());
        assert_eq!(lab.only().numbers(), SYN);
        lab.open_waiting(&lab.waiting_ack(true));
        lab.server(&syn_ack());
        assert_eq!(lab.only().numbers(), THIRD_ACK);
        lab.open_waiting(&lab.waiting_ack(true));
        assert_eq!(lab.counted(Outcome::Established), 1);
        assert_eq!(lab.counted(Outcome::Duplicate), 2);
    });
}

#[test]
fn after_a_panic_a_client_that_comes_again_is_served() {
    both(|mut lab| {
        lab.open(&ack());
        assert_eq!(lab.only().numbers(), SYN);
        lab.splicer.renew();
        lab.assert_idle();
        assert!(lab.shared.table.find(&lab.key).is_none());
        lab.open(&ack());
        assert_eq!(lab.only().numbers(), SYN);
        lab.server(&syn_ack());
        assert_eq!(lab.only().numbers(), THIRD_ACK);
        lab.assert_idle();
    });
}

#[test]
fn what_is_no_request_to_open_is_ignored() {
    both(|mut lab| {
        let mut ack = lab.waiting_ack(false);
        ack.client.request = Default::default();
        lab.open_waiting(&ack);
        lab.assert_idle();
    });
}
