//! The findings of a look at the way to a datacenter, made here or by a server there.

use super::link::{Cause, readable};
use crate::defaults;
use crate::model::fault::Fault;
use crate::model::federation::CertificateReport;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::Duration;

/// A server that was dialled, and the outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Dialled {
    pub(super) server: String,
    pub(super) addr: SocketAddr,
    /// True if gossip takes it for alive where the dial came from.
    pub(super) alive: bool,
    pub(super) outcome: Result<Met, Cause>,
}

impl Dialled {
    /// True if it is known by a name of its own. A server that is configured by its address is not.
    pub(super) fn is_named(&self) -> bool {
        self.server != self.addr.to_string()
    }

    /// Its name, or else the one it gives itself, or else its address.
    pub(super) fn label(&self) -> &str {
        match &self.outcome {
            Ok(met) if !self.is_named() => &met.name,
            _ => &self.server,
        }
    }
}

/// A server that has answered and greeted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Met {
    /// The name it gives itself.
    pub(super) name: String,
    /// The protocol agreed on.
    pub(super) protocol: String,
    pub(super) rtt: Duration,
    /// How far its clock is ahead, in milliseconds.
    pub(super) clock_ahead: Option<i64>,
    pub(super) certificate: Option<CertificateReport>,
}

/// The findings of a server of the other datacenter on its way to this one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct DialBack {
    /// The server that has dialled.
    pub(super) server: String,
    pub(super) dialled: Vec<Dialled>,
}

impl DialBack {
    /// Reads the findings that the other side sent: no more than an honest server sends, and fit for terminals.
    pub(super) fn read(body: &[u8]) -> Result<DialBack, Fault> {
        let mut found: DialBack = serde_json::from_slice(body)
            .map_err(|error| Fault::failed(format!("the findings of the other side cannot be read: {error}")))?;
        found.server = readable(&found.server);
        found.dialled.truncate(defaults::DOCTOR_MAX_SERVERS);
        for dialled in &mut found.dialled {
            dialled.server = readable(&dialled.server);
            match &mut dialled.outcome {
                Ok(met) => met.name = readable(&met.name),
                Err(Cause::TlsRefused(text) | Cause::Refused(text) | Cause::Unreachable(text)) => *text = readable(text),
                Err(Cause::NotYetKnown) => {}
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_the_other_side_has_found_steers_a_terminal() {
        let escape = "\u{1b}[2J";
        let met =
            Met { name: escape.to_owned(), protocol: String::new(), rtt: Duration::ZERO, clock_ahead: None, certificate: None };
        let refused =
            [Cause::TlsRefused(escape.to_owned()), Cause::Refused(escape.to_owned()), Cause::Unreachable(escape.to_owned())];
        let outcomes = refused.into_iter().map(Err).chain([Ok(met)]);
        let addr = SocketAddr::from(([10, 0, 0, 1], 8300));
        let dialled = outcomes.map(|outcome| Dialled { server: escape.to_owned(), addr, alive: true, outcome }).collect();
        let body = serde_json::to_vec(&DialBack { server: escape.to_owned(), dialled }).unwrap();
        assert!(!format!("{:?}", DialBack::read(&body).unwrap()).contains("u{1b}"));
    }
}
