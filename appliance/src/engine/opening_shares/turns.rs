//! The SYNs of openings wait for their turn: a server gets as many at a time as its pace allows.

use super::{Holders, NONE, OpeningShares, Server, Turn};

impl OpeningShares {
    /// Lets the SYN of a new opening wait for its turn. The first opening of a source goes first, so that the burst of one
    /// client delays few others.
    pub fn enqueue(&mut self, id: u32) {
        let Some(opening) = self.opening(id) else {
            return;
        };
        let is_only = self
            .sources
            .get(&opening.source)
            .is_some_and(|source| source.held.openings == 1);
        let Some(server) = self.servers.get_mut(&opening.source.server) else {
            return;
        };
        let (ahead, behind) = if is_only {
            (NONE, std::mem::replace(&mut server.waiting.first, id))
        } else {
            (std::mem::replace(&mut server.waiting.last, id), NONE)
        };
        if is_only && behind == NONE {
            server.waiting.last = id;
        } else if !is_only && ahead == NONE {
            server.waiting.first = id;
        }
        if let Some(one) = self.openings.get_mut(ahead as usize) {
            one.behind = id;
        }
        if let Some(one) = self.openings.get_mut(behind as usize) {
            one.ahead = id;
        }
        let own = &mut self.openings[id as usize];
        (own.turn, own.ahead, own.behind) = (Turn::Waiting, ahead, behind);
        self.take_turns(opening.source.server);
    }

    /// An opening whose SYN is to be sent now.
    pub fn next_ready(&mut self) -> Option<u32> {
        self.ready.pop_front()
    }

    /// Takes an opening that has waited long enough out of its turn: its SYN is to be sent now.
    pub fn overtake(&mut self, id: u32) {
        if let Some(opening) = self.opening(id)
            && opening.turn == Turn::Waiting
        {
            self.unlink(id);
            self.start(id, opening.source.server);
        }
    }

    /// The SYN of an opening is no longer on its way: it is taken for lost, or its client is gone.
    pub fn end_turn(&mut self, id: u32) {
        let Some(opening) = self.opening(id) else {
            return;
        };
        match opening.turn {
            Turn::Waiting => self.unlink(id),
            Turn::InFlight => {
                if let Some(server) = self.servers.get_mut(&opening.source.server) {
                    server.pace.ended();
                }
            }
            Turn::Past => return,
        }
        self.openings[id as usize].turn = Turn::Past;
        self.take_turns(opening.source.server);
    }

    /// Starts waiting openings of a server as far as its pace allows.
    fn take_turns(&mut self, server: Server) {
        while let Some(share) = self.servers.get(&server)
            && share.pace.may_send()
            && share.waiting.first != NONE
        {
            let id = share.waiting.first;
            self.unlink(id);
            self.start(id, server);
        }
    }

    fn start(&mut self, id: u32, server: Server) {
        self.openings[id as usize].turn = Turn::InFlight;
        if let Some(share) = self.servers.get_mut(&server) {
            share.pace.sent();
        }
        self.ready.push_back(id);
    }

    /// Removes a waiting opening from its server's list.
    fn unlink(&mut self, id: u32) {
        let Holders {
            source,
            ahead,
            behind,
            ..
        } = self.openings[id as usize];
        if let Some(one) = self.openings.get_mut(ahead as usize) {
            one.behind = behind;
        }
        if let Some(one) = self.openings.get_mut(behind as usize) {
            one.ahead = ahead;
        }
        if let Some(server) = self.servers.get_mut(&source.server) {
            let list = &mut server.waiting;
            if list.first == id {
                list.first = behind;
            }
            if list.last == id {
                list.last = ahead;
            }
        }
    }
}
