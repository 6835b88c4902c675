//! TCP checks: passing when a connection can be made, with TLS where it is asked for.

use super::connect::{Address, Tls, connect, within};
use super::finding::Finding;
use std::time::Duration;

/// A TCP check.
#[derive(Clone, Debug)]
pub(super) struct TcpProbe {
    pub(super) target: String,
    pub(super) tls: Option<Tls>,
    pub(super) timeout: Duration,
}

impl TcpProbe {
    /// Connects once.
    pub(super) async fn run(&self) -> Finding {
        let attempt = async { connect(&Address::parse(&self.target)?, self.tls.as_ref()).await };
        match within(self.timeout, || format!("dial tcp {}: i/o timeout", self.target), attempt).await {
            Ok(_stream) => Finding::passing(format!("TCP connect {}: Success", self.target)),
            Err(why) => Finding::critical(why),
        }
    }
}
