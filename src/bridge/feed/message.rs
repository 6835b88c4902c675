//! The messages of feeds.
//!
//! Every feed has a stream of its own, opened by its follower: [`Open`], then [`Took`] for each push. The other side sends
//! [`Push`]es on it, or one fault. Beside the feeds, each link has one stream for its heartbeat: [`Ping`]s one way,
//! [`Echo`]es the other. Fields may be added to each of these.

use crate::model::answer::{Answer, AnswerMeta, Found};
use crate::model::ids::ClusterId;
use crate::model::query::Identity;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;

/// Opens a feed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::bridge) struct Open {
    /// The feed's number, chosen by its follower, used once on a link.
    pub(in crate::bridge) feed: u64,
    /// The query, to be answered in stale mode.
    pub(in crate::bridge) query: Arc<Identity>,
    /// The answer that the follower holds already, from another link or another time.
    pub(in crate::bridge) known: Option<Known>,
}

/// An answer by its fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bridge) struct Known {
    pub(in crate::bridge) cluster: ClusterId,
    pub(in crate::bridge) index: u64,
    /// The hash of its body and of whether the thing is there; see [`fingerprint`].
    pub(in crate::bridge) hash: u64,
}

impl Known {
    /// The fingerprint of `answer`; the same on both sides.
    pub(in crate::bridge) fn of(answer: &Answer) -> Known {
        let Answer { meta, body } = answer;
        Known { cluster: meta.cluster, index: meta.index, hash: fingerprint(is_there(meta.found), body) }
    }
}

/// An answer of a feed. The next one follows after [`Took`], and only the newest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::bridge) struct Push {
    /// Counts the pushes of a feed from 1.
    pub(in crate::bridge) number: u64,
    /// The answer's facts; `last_contact` is the age of the view when it was read.
    pub(in crate::bridge) meta: AnswerMeta,
    /// The body; unset when it is the one pushed last, or the one named in [`Open::known`].
    pub(in crate::bridge) body: Option<Bytes>,
}

/// A push has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bridge) struct Took {
    pub(in crate::bridge) number: u64,
}

/// A sign of life, and a question for the age of all feeds of this link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bridge) struct Ping {
    /// Counts the pings of a link from 1.
    pub(in crate::bridge) number: u64,
    /// The number of the last ping whose echo has arrived; 0 for none.
    pub(in crate::bridge) heard: u64,
}

/// The answer to a ping: the age of its sender's view when the ping was there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bridge) struct Echo {
    /// The number of the ping.
    pub(in crate::bridge) number: u64,
    /// How old the view was; unset when there was none.
    pub(in crate::bridge) age: Option<Duration>,
    /// Feeds pushed since the echo that the ping names as heard, with the number of their last push.
    pub(in crate::bridge) pushed: Vec<(u64, u64)>,
    /// Feeds with news that is not pushed yet: this echo says nothing of their age.
    pub(in crate::bridge) behind: Vec<u64>,
}

/// The hash of an answer: the first 8 bytes of a SHA-256, the same on every server.
pub(in crate::bridge) fn fingerprint(found: bool, body: &[u8]) -> u64 {
    let mut hash = Sha256::new();
    hash.update([u8::from(found)]);
    hash.update(body);
    hash.finalize().iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// True if the thing asked for is there, as fingerprints have it.
pub(super) fn is_there(found: Found) -> bool {
    found != Found::No
}
