//! States that did not arrive by rumour: those of unknown members, and announced ones. An exchange over TCP fetches them.

use super::*;
use crate::gossip::roster::Record;

/// A state that was only announced, with the time to fetch it.
#[derive(Debug)]
pub(super) struct Announced {
    pub addr: SocketAddr,
    pub stamp: Stamp,
    pub at: Instant,
    pub tries: u32,
}

impl Core {
    /// Fetches the states that are due, a few at a time.
    pub(super) fn fetch(&mut self, now: Instant) {
        let table = &self.table;
        self.announced.retain(|name, announced| {
            let is_missing = |record: &Record| record.info.stamp < announced.stamp && record.down_since.is_none();
            announced.tries < defaults::GOSSIP_FETCH_TRIES && table.get(name).is_some_and(is_missing)
        });
        let unknown = self.wanted.iter_mut().map(|(addr, at)| (*addr, at));
        let announced = self.announced.values_mut().map(|announced| {
            announced.tries += u32::from(announced.at <= now);
            (announced.addr, &mut announced.at)
        });
        let due = unknown.chain(announced).filter(|(_, at)| **at <= now).take(defaults::GOSSIP_FETCHES);
        let due: Vec<SocketAddr> = due
            .map(|(addr, at)| {
                *at = now + defaults::GOSSIP_FETCH_RETRY;
                addr
            })
            .collect();
        for with in due {
            if self.is_proven(with, now) {
                self.outputs.push_back(Output::Exchange { with });
            } else {
                self.ask_for_proof(with, now);
            }
        }
    }
}
