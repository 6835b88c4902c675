//! Why a server of another datacenter is refused on the bridge, in words of its own for logs and reports.

use rustls::OtherError;
use std::sync::Arc;

/// Why a peer's certificate is not accepted. Each text begins with a word of its own that users
/// meet in logs and in `X-Kontor-Reason`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a certificate at all, or one without the name a server carries.
    #[error("malformed: {0}")]
    Malformed(String),
    /// A server of a datacenter that is not the one expected.
    #[error("wrong-datacenter: expected a server of {expected:?}, its certificate names {came:?}")]
    WrongDatacenter { expected: String, came: String },
    /// Its time is over.
    #[error("expired: its certificate was valid until {0}")]
    Expired(String),
    /// Its time has not come; one of the two clocks is wrong.
    #[error("not-yet-valid: its certificate is valid from {0}")]
    NotYetValid(String),
    /// Its chain does not lead to the CA configured here.
    #[error("another-ca: its certificate is not from the CA configured here ({0})")]
    AnotherCa(String),
    /// It has a fingerprint, and not the one its datacenter tells.
    #[error("pin-mismatch: fingerprint {came} is not the one that servers of {dc:?} are known by")]
    PinMismatch { dc: String, came: String },
    /// Nothing is known yet by which it could be told from a stranger.
    #[error("not-yet-known: no fingerprint of a server of {dc:?} is known yet")]
    NotYetKnown { dc: String },
    /// It would have to be pinned, and pins do not count here.
    #[error("require-ca: its certificate is self-made, and where it was shown only those of the CA count")]
    PinsRefused,
}

impl From<Refusal> for rustls::Error {
    fn from(refusal: Refusal) -> rustls::Error {
        rustls::Error::Other(OtherError(Arc::new(refusal)))
    }
}
