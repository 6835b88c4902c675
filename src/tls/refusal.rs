//! The reasons to refuse a server of another datacenter on the bridge.

use rustls::OtherError;
use std::sync::Arc;

/// The reason to refuse a peer's certificate. Each text begins with a word of its own, which logs and
/// `X-Kontor-Reason` show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a certificate at all, or one without the name a server carries.
    #[error("malformed: {0}")]
    Malformed(String),
    /// A server of a datacenter that is not the one expected.
    #[error("wrong-datacenter: expected a server of {expected:?}, its certificate names {came:?}")]
    WrongDatacenter { expected: String, came: String },
    /// Its validity is over.
    #[error("expired: its certificate was valid until {0}")]
    Expired(String),
    /// Its validity has not begun; one of the two clocks is wrong.
    #[error("not-yet-valid: its certificate is valid from {0}")]
    NotYetValid(String),
    /// Its chain does not lead to the CA configured here.
    #[error("another-ca: its certificate is not from the CA configured here ({0})")]
    AnotherCa(String),
    /// Its fingerprint is no pin of its datacenter.
    #[error("pin-mismatch: fingerprint {came} is not the one that servers of {dc:?} are known by")]
    PinMismatch { dc: String, came: String },
    /// No pin of its datacenter is known yet.
    #[error("not-yet-known: no fingerprint of a server of {dc:?} is known yet")]
    NotYetKnown { dc: String },
    /// Only a pin could vouch for it, and pins do not count here.
    #[error("require-ca: its certificate is self-made, and where it was shown only those of the CA count")]
    PinsRefused,
}

impl From<Refusal> for rustls::Error {
    fn from(refusal: Refusal) -> rustls::Error {
        rustls::Error::Other(OtherError(Arc::new(refusal)))
    }
}
