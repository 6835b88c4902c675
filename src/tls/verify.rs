//! Judges the certificate that a server of another datacenter shows on the bridge: its chain leads to the CA, or its
//! fingerprint is a pin, and it names exactly one `server.<dc>.<domain>`.

use super::certificate::{fingerprint_of, parse, server_dc, validity_refusal};
use super::verifier::{ClientJudge, ServerJudge, Shown};
use super::{Refusal, provider, server_name};
use arc_swap::ArcSwap;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The fingerprints of servers, by datacenter. A known datacenter may have none.
pub type PinTable = BTreeMap<String, BTreeSet<String>>;

/// The grounds on which peers are judged. The pins change while it is in use.
#[derive(Debug)]
pub struct Trust {
    own_dc: String,
    domain: String,
    roots: Option<Arc<RootCertStore>>,
    require_ca: bool,
    pins: ArcSwap<PinTable>,
}

impl Trust {
    /// Trust by `roots` alone; [`Trust::set_pins`] adds pins.
    pub fn new(own_dc: &str, domain: &str, roots: Option<Arc<RootCertStore>>, require_ca: bool) -> Trust {
        Trust { own_dc: own_dc.to_owned(), domain: domain.to_owned(), roots, require_ca, pins: ArcSwap::default() }
    }

    /// True if only a CA makes a peer a server of another datacenter.
    pub fn requires_ca(&self) -> bool {
        self.require_ca
    }

    /// Replaces all pins. Open connections are not touched.
    pub fn set_pins(&self, pins: PinTable) {
        self.pins.store(Arc::new(pins));
    }

    pub fn pins(&self) -> PinTable {
        PinTable::clone(&self.pins.load())
    }

    /// The datacenter of a verified peer.
    pub fn datacenter_of(&self, leaf: &CertificateDer<'_>) -> Result<String, Refusal> {
        server_dc(leaf, &self.domain)
    }

    /// Accepts `leaf` of a server of `dc` if it is one of `pins`.
    fn judge_pin(&self, leaf: &CertificateDer<'_>, dc: &str, pins: Option<&BTreeSet<String>>) -> Result<(), Refusal> {
        if self.require_ca {
            return Err(Refusal::PinsRefused);
        }
        let came = fingerprint_of(leaf);
        match pins.filter(|pins| !pins.is_empty()) {
            None => Err(Refusal::NotYetKnown { dc: dc.to_owned() }),
            Some(pins) if pins.contains(&came) => Ok(()),
            Some(_) => Err(Refusal::PinMismatch { dc: dc.to_owned(), came }),
        }
    }
}

/// Judges peers by one [`Trust`], for one direction.
#[derive(Debug)]
pub(super) struct PeerJudge {
    trust: Arc<Trust>,
    direction: Direction,
}

#[derive(Debug)]
enum Direction {
    /// A peer that dials this server may have any fingerprint of its datacenter.
    Accepting,
    /// A server that is dialled must have one of its own.
    Dialling { dc: String, pins: BTreeSet<String> },
}

impl PeerJudge {
    pub(super) fn accepting(trust: Arc<Trust>) -> PeerJudge {
        PeerJudge { trust, direction: Direction::Accepting }
    }

    pub(super) fn dialling(trust: Arc<Trust>, dc: String, pins: BTreeSet<String>) -> PeerJudge {
        PeerJudge { trust, direction: Direction::Dialling { dc, pins } }
    }

    /// Judges the name, the dates, then CA or pin. In this order the reason of a refusal is the plainest one.
    fn judge(&self, shown: Shown<'_>) -> Result<(), Refusal> {
        let leaf = shown.leaf;
        let came = server_dc(leaf, &self.trust.domain)?;
        match &self.direction {
            Direction::Dialling { dc, .. } if !came.eq_ignore_ascii_case(dc) => {
                return Err(Refusal::WrongDatacenter { expected: dc.clone(), came });
            }
            Direction::Accepting if came.eq_ignore_ascii_case(&self.trust.own_dc) => {
                return Err(Refusal::WrongDatacenter { expected: format!("any but {}", self.trust.own_dc), came });
            }
            _ => {}
        }
        if let Some(refusal) = validity_refusal(leaf, shown.now) {
            return Err(refusal);
        }
        let chain = self.judge_chain(shown, &came);
        if chain.is_ok() {
            return Ok(());
        }
        let table = self.trust.pins.load();
        let pins = match &self.direction {
            Direction::Dialling { pins, .. } => Some(pins),
            Direction::Accepting => table.get(&came),
        };
        match self.trust.judge_pin(leaf, &came, pins) {
            // Another CA signed it: no pin will ever arrive, so that CA is the reason.
            Err(Refusal::NotYetKnown { .. } | Refusal::PinsRefused) if !is_self_made(leaf) => chain,
            outcome => outcome,
        }
    }

    /// Accepts a chain that leads to the CA configured here.
    pub(super) fn judge_chain(&self, Shown { leaf, rest, now }: Shown<'_>, dc: &str) -> Result<(), Refusal> {
        let Some(roots) = &self.trust.roots else {
            return Err(Refusal::AnotherCa("none is configured".to_owned()));
        };
        let verified = match &self.direction {
            Direction::Accepting => WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider())
                .build()
                .map_err(|error| Refusal::AnotherCa(error.to_string()))?
                .verify_client_cert(leaf, rest, now)
                .map(|_verified| ()),
            Direction::Dialling { .. } => {
                let name = server_name(dc, &self.trust.domain);
                let name = ServerName::try_from(name).map_err(|error| Refusal::Malformed(error.to_string()))?;
                WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), provider())
                    .build()
                    .map_err(|error| Refusal::AnotherCa(error.to_string()))?
                    .verify_server_cert(leaf, rest, &name, &[], now)
                    .map(|_verified| ())
            }
        };
        verified.map_err(|error| match error {
            rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { .. }) => {
                Refusal::Expired("an earlier day, of the chain or the CA".to_owned())
            }
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => Refusal::AnotherCa("unknown issuer".to_owned()),
            other => Refusal::AnotherCa(other.to_string()),
        })
    }
}

fn is_self_made(leaf: &CertificateDer<'_>) -> bool {
    parse(leaf).is_ok_and(|parsed| parsed.issuer() == parsed.subject())
}

impl ServerJudge for PeerJudge {
    fn judge_server(&self, shown: Shown<'_>, _name: &ServerName<'_>) -> Result<(), rustls::Error> {
        Ok(self.judge(shown)?)
    }
}

impl ClientJudge for PeerJudge {
    fn judge_client(&self, shown: Shown<'_>) -> Result<(), rustls::Error> {
        Ok(self.judge(shown)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::dated_cert;
    use super::super::{BridgeIdentity, create_ca};
    use super::*;
    use rustls_pki_types::UnixTime;
    use rustls_pki_types::pem::PemObject;
    use std::time::Duration;

    const NOW: u64 = 1_790_000_000;

    fn leaf(names: &[&str]) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap().der().clone()
    }

    fn judged(judge: &PeerJudge, leaf: &CertificateDer<'_>, seconds: u64) -> Result<(), Refusal> {
        judge.judge(Shown { leaf, rest: &[], now: UnixTime::since_unix_epoch(Duration::from_secs(seconds)) })
    }

    fn trust(pins: &[(&str, &CertificateDer<'_>)]) -> Arc<Trust> {
        let trust = Trust::new("dc1", "consul", None, false);
        trust.set_pins(pins.iter().map(|(dc, leaf)| ((*dc).to_owned(), [fingerprint_of(leaf)].into())).collect());
        Arc::new(trust)
    }

    #[test]
    fn a_pin_vouches_for_its_own_datacenter_only_and_can_be_withdrawn_while_in_use() {
        let two = leaf(&["server.dc2.consul"]);
        let trusted = trust(&[("dc2", &two)]);
        let accepting = PeerJudge::accepting(Arc::clone(&trusted));
        assert_eq!(judged(&accepting, &two, NOW), Ok(()));
        let as_three = PeerJudge::accepting(trust(&[("dc3", &two)]));
        assert!(matches!(judged(&as_three, &two, NOW), Err(Refusal::NotYetKnown { .. })));
        let other = leaf(&["server.dc2.consul"]);
        assert!(matches!(judged(&accepting, &other, NOW), Err(Refusal::PinMismatch { .. })));
        trusted.set_pins(PinTable::new());
        assert!(judged(&accepting, &two, NOW).is_err());
    }

    #[test]
    fn a_certificate_for_several_datacenters_or_none_is_refused() {
        let both = leaf(&["server.dc2.consul", "server.dc3.consul"]);
        let none = leaf(&["client.dc2.consul", "server.dc2.example", "a.server.dc2.consul", "server..consul"]);
        let accepting = PeerJudge::accepting(trust(&[("dc2", &both)]));
        assert!(matches!(judged(&accepting, &both, NOW), Err(Refusal::Malformed(_))));
        assert!(matches!(judged(&accepting, &none, NOW), Err(Refusal::Malformed(_))));
        assert!(matches!(judged(&accepting, &CertificateDer::from(vec![1, 2, 3]), NOW), Err(Refusal::Malformed(_))));
    }

    #[test]
    fn a_dialled_server_must_have_its_own_pin_and_not_a_neighbours() {
        let (one, other) = (leaf(&["server.dc2.consul"]), leaf(&["server.dc2.consul"]));
        let trust = trust(&[("dc2", &other)]);
        let dialling = PeerJudge::dialling(trust, "dc2".to_owned(), [fingerprint_of(&one)].into());
        assert_eq!(judged(&dialling, &one, NOW), Ok(()));
        assert!(matches!(judged(&dialling, &other, NOW), Err(Refusal::PinMismatch { .. })));
    }

    #[test]
    fn dates_count_for_pinned_certificates_too() {
        let two = leaf(&["server.dc2.consul"]);
        let accepting = PeerJudge::accepting(trust(&[("dc2", &two)]));
        assert!(matches!(judged(&accepting, &two, 100), Err(Refusal::NotYetValid(_))));
        assert!(matches!(judged(&accepting, &two, 70_000_000_000), Err(Refusal::Expired(_))));
    }

    #[test]
    fn what_was_made_with_a_ca_is_named_so_where_there_is_none() {
        let (signed, _) = dated_cert(&create_ca("consul", 10, &[]).unwrap(), &["server.dc2.consul"], [2020, 2049]);
        let signed = CertificateDer::from_pem_slice(signed.as_bytes()).unwrap();
        let accepting = PeerJudge::accepting(trust(&[]));
        assert!(matches!(judged(&accepting, &signed, NOW), Err(Refusal::AnotherCa(_))));
        let own = BridgeIdentity::self_made(None, "dc1", "consul").unwrap();
        assert!(own.trust("dc1", "consul", false).roots.is_none());
    }
}
