//! Probes a target once: whatever its kind, bounded in time, memory and output.
//!
//! Made of a check's definition; run by `runners`. Checks that nobody probes (TTL, alias,
//! maintenance) have none.

use super::connect::Tls;
use super::tcp::TcpProbe;
use crate::config::defaults::CHECK_TIMEOUT;
use crate::local::definition;
use crate::model::check::{CheckStatus, CheckType};
use crate::tls::CheckTls;
use std::time::Duration;

/// What is the same for every check of this agent.
#[derive(Clone, Debug, Default)]
pub struct ProbeSettings {
    /// How targets are spoken to with TLS.
    pub tls: CheckTls,
    /// Bytes of output kept where a check asks for no fewer. `check_output_max_size`
    pub output_max: usize,
}

impl ProbeSettings {
    /// Bytes of output kept for `check`.
    pub(crate) fn output_max(&self, check: &CheckType) -> usize {
        let own = usize::try_from(check.output_max_size).ok().filter(|own| *own > 0);
        own.map_or(self.output_max, |own| own.min(self.output_max))
    }
}

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// How the target is.
    pub(crate) status: CheckStatus,
    /// Why, for people.
    pub(crate) output: String,
}

impl Finding {
    /// A status with its reason.
    pub(crate) fn new(status: CheckStatus, output: impl Into<String>) -> Finding {
        Finding { status, output: output.into() }
    }

    pub(super) fn passing(output: impl Into<String>) -> Finding {
        Finding::new(CheckStatus::Passing, output)
    }

    pub(super) fn critical(output: impl Into<String>) -> Finding {
        Finding::new(CheckStatus::Critical, output)
    }
}

/// How one target is probed.
#[derive(Debug)]
pub(crate) struct Probe {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpProbe),
}

impl Probe {
    /// The probe of `check`; nothing for one that is not probed.
    pub(crate) fn of(check: &CheckType, settings: &ProbeSettings) -> Option<Probe> {
        let timeout = or_default(check.timeout, CHECK_TIMEOUT);
        let tls = |http2: bool| Tls {
            settings: settings.tls.clone(),
            verify: !check.tls_skip_verify,
            http2,
            server_name: check.tls_server_name.clone(),
        };
        let kind = match definition::kind(check) {
            "tcp" => Kind::Tcp(TcpProbe { target: check.tcp.clone(), tls: check.tcp_use_tls.then(|| tls(false)), timeout }),
            _ => return None,
        };
        Some(Probe { kind })
    }

    /// Probes once. Dropping it ends what it began.
    pub(crate) async fn run(&self) -> Finding {
        match &self.kind {
            Kind::Tcp(probe) => probe.run().await,
        }
    }
}

fn or_default(given: Duration, default: Duration) -> Duration {
    if given.is_zero() { default } else { given }
}
