//! The one error that crosses hops: its kind, its text and its cause.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The kind of a failure. The HTTP status is derived from it in `http/error.rs` alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FaultKind {
    /// The request is wrong (400).
    BadRequest,
    /// The thing is not there (404).
    NotFound,
    /// The user may not do this (403).
    Denied,
    /// The request is understood and failed; trying again will not help (500).
    Failed,
    /// Nothing was done because there is no leader; safe to try again (500).
    NoLeader,
    /// Nothing was done because a bound is reached; safe to try again later (503).
    Busy,
    /// The datacenter is not known (500).
    NoPath,
    /// The datacenter is known and none of its servers answers (500).
    Unreachable,
    /// A write may or may not have been done (500).
    OutcomeUnknown,
}

/// A failed request, as it travels back to the user over any number of hops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub kind: FaultKind,
    /// The body of the HTTP answer: Consul's text where Consul has one.
    pub message: String,
    /// The cause, for the header `X-Kontor-Reason`.
    pub reason: Option<String>,
}

impl Fault {
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Fault {
        Fault { kind, message: message.into(), reason: None }
    }

    /// The user's mistake, answered with 400 and `message` as it is.
    pub fn bad_request(message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::BadRequest, message)
    }

    /// Answered with 500 and `message` as it is.
    pub fn failed(message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Failed, message)
    }

    /// Answered with 404 and `message` as it is.
    pub fn not_found(message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::NotFound, message)
    }

    /// There is no leader: Consul's `No cluster leader`.
    pub fn no_leader() -> Fault {
        Fault::new(FaultKind::NoLeader, "No cluster leader")
    }

    /// An unknown datacenter: Consul's `No path to datacenter`.
    pub fn no_path(reason: impl Into<String>) -> Fault {
        Fault::new(FaultKind::NoPath, "No path to datacenter").because(reason)
    }

    /// A known datacenter that does not answer: Consul's text, with the cause.
    pub fn unreachable(reason: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Unreachable, "Remote DC has no server currently reachable").because(reason)
    }

    pub fn outcome_unknown(message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::OutcomeUnknown, message).because("outcome-unknown")
    }

    /// Adds the cause, for `X-Kontor-Reason`.
    pub fn because(mut self, reason: impl Into<String>) -> Fault {
        self.reason = Some(reason.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Some(reason) => write!(f, "{} ({reason})", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Fault {}
