//! TCP checks: passing when a connection can be made, with TLS where the check asks for it.

use super::connect::{Target, within};
use super::finding::Finding;

pub(super) async fn probe(target: &Target) -> Finding {
    let Target { address, timeout, .. } = target;
    let late = || format!("dial tcp {address}: i/o timeout");
    let connected = within(*timeout, late, target.connect()).await;
    Finding::of(connected.map(|_stream| format!("TCP connect {address}: Success")))
}
