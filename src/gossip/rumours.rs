//! Decides which rumours are news, for the membership protocol; `core` empties the queue of news after each call.

use super::identity::Identity;
use super::info::{NodeInfo, Policy, Rumour, Stamp};
use super::replay::forget_half;
use crate::defaults;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

/// The key under which a rumour replaces another in the queue to be passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    name: String,
    kind: Kind,
    stamp: Stamp,
}

/// Rumours of different kinds about one member are news independently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    State,
    ForcedToLeave,
    Pruned,
}

fn kind_of(rumour: &Rumour) -> Kind {
    match rumour {
        Rumour::Info(_) | Rumour::Newer { .. } => Kind::State,
        Rumour::Forced { prune: false, .. } => Kind::ForcedToLeave,
        Rumour::Forced { prune: true, .. } => Kind::Pruned,
    }
}

impl foca::Invalidates for Subject {
    fn invalidates(&self, other: &Subject) -> bool {
        self.name == other.name && self.kind == other.kind && self.stamp >= other.stamp
    }
}

#[derive(Debug, thiserror::Error)]
#[error("not a rumour of this pool: {0}")]
pub(super) struct NoRumour(String);

/// Remembers the rumours, so that each is passed on once.
#[derive(Debug)]
pub(super) struct Broadcasts {
    policy: Arc<Policy>,
    heard: HashMap<(String, Kind), Stamp>,
    news: Sender<Rumour>,
    /// Set by `core` while too many rumours wait to be passed on.
    full: Arc<AtomicBool>,
}

impl Broadcasts {
    pub(super) fn new(policy: Arc<Policy>, news: Sender<Rumour>, full: Arc<AtomicBool>) -> Broadcasts {
        Broadcasts { policy, heard: HashMap::new(), news, full }
    }

    fn check(&self, rumour: &Rumour) -> Result<(), String> {
        let (name, _) = rumour.subject();
        if name.len() > defaults::GOSSIP_NAME_BYTES {
            return Err("its name is too long".to_owned());
        }
        match rumour {
            Rumour::Info(info) => self.policy.admits(info).map_err(|denied| denied.reason),
            Rumour::Newer { addr, .. } if !self.policy.admits_addr(*addr) => Err(format!("{addr} is not an allowed address")),
            Rumour::Newer { .. } | Rumour::Forced { .. } => Ok(()),
        }
    }

    /// Forgets the older half at once; at worst a rumour is heard twice.
    fn make_room(&mut self) {
        if self.heard.len() >= 2 * defaults::GOSSIP_MAX_MEMBERS {
            forget_half(&mut self.heard, |stamp| *stamp);
        }
    }
}

impl foca::BroadcastHandler<Identity> for Broadcasts {
    type Key = Subject;
    type Error = NoRumour;

    fn receive_item(&mut self, data: &[u8], sender: Option<&Identity>) -> Result<Option<Subject>, NoRumour> {
        let rumour: Rumour = postcard::from_bytes(data).map_err(|error| NoRumour(error.to_string()))?;
        if let Rumour::Info(info) = &rumour
            && self.policy.shuns(info)
        {
            // No error: the packet of an honest member may hold other news.
            metrics::counter!("kontor.gossip.refused", "reason" => "removed").increment(1);
            return Ok(None);
        }
        if !self.policy.horizon.admits(rumour.subject().1.generation) {
            metrics::counter!("kontor.gossip.refused", "reason" => "ahead").increment(1);
            return Ok(None);
        }
        self.check(&rumour).map_err(NoRumour)?;
        let (name, stamp) = rumour.subject();
        let key = (name.to_owned(), kind_of(&rumour));
        // This agent's own rumours go out again: an order may be repeated.
        if sender.is_some() && self.heard.get(&key).is_some_and(|heard| *heard >= stamp) {
            return Ok(None);
        }
        let subject = Subject { name: key.0.clone(), kind: key.1, stamp };
        self.make_room();
        self.heard.insert(key, stamp);
        // The core holds the other end for as long as it holds this handler.
        let _ = self.news.send(rumour);
        if sender.is_some() && self.full.load(Ordering::Relaxed) {
            metrics::counter!("kontor.gossip.rumours_full").increment(1);
            return Ok(None);
        }
        Ok(Some(subject))
    }
}

/// The bytes of a state as a rumour: the state itself, or only its announcement when it is too large.
pub(super) fn rumour_of(info: &NodeInfo) -> Option<Vec<u8>> {
    let whole = postcard::to_stdvec(&Rumour::Info(info.clone())).ok()?;
    if whole.len() <= defaults::GOSSIP_BROADCAST_BYTES {
        return Some(whole);
    }
    postcard::to_stdvec(&Rumour::Newer { name: info.name.clone(), addr: info.addr, stamp: info.stamp }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gossip::Pool;
    use crate::gossip::info::tests::{info, policy, tags};
    use foca::BroadcastHandler;

    fn sender() -> Identity {
        info("b", 2, 1).identity()
    }

    fn broadcasts() -> (Broadcasts, std::sync::mpsc::Receiver<Rumour>) {
        let (news, inbox) = std::sync::mpsc::channel();
        (Broadcasts::new(Arc::new(policy(Pool::Lan)), news, Arc::default()), inbox)
    }

    #[test]
    fn a_rumour_is_news_once() {
        let (mut broadcasts, inbox) = broadcasts();
        let bytes = rumour_of(&info("a", 1, 5)).unwrap();
        assert!(broadcasts.receive_item(&bytes, Some(&sender())).unwrap().is_some());
        assert!(broadcasts.receive_item(&bytes, Some(&sender())).unwrap().is_none());
        assert!(broadcasts.receive_item(&rumour_of(&info("a", 1, 4)).unwrap(), Some(&sender())).unwrap().is_none(), "older");
        assert_eq!(inbox.try_iter().count(), 1);
    }

    #[test]
    fn a_large_state_is_only_announced() {
        let mut large = info("a", 1, 5);
        large.tags.insert("big".to_owned(), "x".repeat(2000));
        let bytes = rumour_of(&large).unwrap();
        assert!(matches!(postcard::from_bytes(&bytes).unwrap(), Rumour::Newer { .. }));
    }

    #[test]
    fn rumours_of_other_datacenters_and_junk_are_no_news() {
        let (mut broadcasts, inbox) = broadcasts();
        let stranger = NodeInfo { tags: tags("dc2", "node"), ..info("a", 1, 5) };
        assert!(broadcasts.receive_item(&rumour_of(&stranger).unwrap(), None).is_err());
        assert!(broadcasts.receive_item(&[9, 9, 9], None).is_err());
        assert_eq!(inbox.try_iter().count(), 0);
    }
}
