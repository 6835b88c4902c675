//! The times that a leader counts: of sessions, of keys with a TTL, of lock delays, of the memory of deletions.
//!
//! No server writes a time down. A leader begins each of them when it first sees the row, and a new leader begins all
//! of them anew, as does one that was paused: so nothing ends early, whatever clocks say. `router` renews sessions here,
//! and `leader` asks what is due.

mod graveyard;
mod timers;

pub use graveyard::Graveyard;
pub use timers::{Due, Timers};

use crate::clock;
use crate::model::session::Session;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The times of one server, shared by those who renew and those who end; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Expiry(Arc<Mutex<Timers>>);

/// A session is over, though its row is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended;

impl Expiry {
    /// Begins the TTL of a session anew, and returns the time for which it lives at least; unset where it has none.
    /// One that is being ended is refused.
    pub fn renew(&self, session: &Session) -> Result<Option<Duration>, Ended> {
        let Some(life) = session.life() else { return Ok(None) };
        let lives = self.timers().renew(session.id, life, clock::now());
        if lives { Ok(Some(life)) } else { Err(Ended) }
    }

    /// The timers themselves.
    pub fn timers(&self) -> MutexGuard<'_, Timers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
