//! Judges the certificate that a server of another datacenter shows on the bridge.
//!
//! Used by `identity` for both directions. A peer is accepted when its chain leads to the CA, or
//! when its fingerprint is the one its datacenter is known by, and in both cases only as what it
//! names itself: exactly one `server.<dc>.<domain>`. The handshake's signature is verified always;
//! nothing here turns that off. Each refusal says which rule was broken.

use super::certificate::{fingerprint_of, parse, server_dc, validity_refusal};
use super::verifier::{ClientJudge, ServerJudge};
use super::{Refusal, provider, server_name};
use arc_swap::ArcSwap;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Datacenter to the fingerprints its servers are known by. A known datacenter may have none.
pub type PinTable = BTreeMap<String, BTreeSet<String>>;

/// What peers are judged by. The pins change while it is in use.
#[derive(Debug)]
pub struct Trust {
    own_dc: String,
    domain: String,
    roots: Option<Arc<RootCertStore>>,
    require_ca: bool,
    pins: ArcSwap<PinTable>,
}

impl Trust {
    /// Judges by `roots` at first; pins come with [`Trust::set_pins`].
    pub fn new(own_dc: &str, domain: &str, roots: Option<Arc<RootCertStore>>, require_ca: bool) -> Trust {
        Trust { own_dc: own_dc.to_owned(), domain: domain.to_owned(), roots, require_ca, pins: ArcSwap::default() }
    }

    /// Whether fingerprints make nobody a server of another datacenter.
    pub fn requires_ca(&self) -> bool {
        self.require_ca
    }

    /// Replaces all pins. Connections that stand are not touched.
    pub fn set_pins(&self, pins: PinTable) {
        self.pins.store(Arc::new(pins));
    }

    /// The pins as they are now.
    pub fn pins(&self) -> PinTable {
        PinTable::clone(&self.pins.load())
    }

    /// The datacenter that a verified peer proved to be of.
    pub fn datacenter_of(&self, leaf: &CertificateDer<'_>) -> Result<String, Refusal> {
        server_dc(leaf, &self.domain)
    }

    /// Whether one of `pins` vouches for a server of `dc` that shows `leaf`.
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
    /// A peer that dials us may have any fingerprint of its datacenter.
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

    /// Name, dates, then CA or pin; in this order, so that the reason given is the plainest one.
    fn judge(&self, leaf: &CertificateDer<'_>, rest: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Refusal> {
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
        if let Some(refusal) = validity_refusal(leaf, now) {
            return Err(refusal);
        }
        let chain = self.judge_chain(leaf, rest, &came, now);
        if chain.is_ok() {
            return Ok(());
        }
        let table = self.trust.pins.load();
        let pins = match &self.direction {
            Direction::Dialling { pins, .. } => Some(pins),
            Direction::Accepting => table.get(&came),
        };
        match self.trust.judge_pin(leaf, &came, pins) {
            // Somebody else's CA signed it: that is what to tell, no pin will ever come.
            Err(Refusal::NotYetKnown { .. } | Refusal::PinsRefused) if !is_self_made(leaf) => chain,
            outcome => outcome,
        }
    }

    /// Whether the chain leads to the CA configured here.
    pub(super) fn judge_chain(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        dc: &str,
        now: UnixTime,
    ) -> Result<(), Refusal> {
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
    fn judge_server(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        Ok(self.judge(leaf, rest, now)?)
    }
}

impl ClientJudge for PeerJudge {
    fn judge_client(&self, leaf: &CertificateDer<'_>, rest: &[CertificateDer<'_>], now: UnixTime) -> Result<(), rustls::Error> {
        Ok(self.judge(leaf, rest, now)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::BridgeIdentity;
    use super::*;

    const NOW: u64 = 1_790_000_000;

    fn leaf(names: &[&str]) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap().der().clone()
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
    }

    fn trust(pins: &[(&str, &CertificateDer<'_>)]) -> Arc<Trust> {
        let trust = Trust::new("dc1", "consul", None, false);
        trust.set_pins(pins.iter().map(|(dc, leaf)| ((*dc).to_owned(), [fingerprint_of(leaf)].into())).collect());
        Arc::new(trust)
    }

    #[test]
    fn a_pin_vouches_for_its_own_datacenter_only() {
        let two = leaf(&["server.dc2.consul"]);
        let accepting = PeerJudge::accepting(trust(&[("dc2", &two)]));
        assert_eq!(accepting.judge(&two, &[], at(NOW)), Ok(()));
        let as_three = PeerJudge::accepting(trust(&[("dc3", &two)]));
        assert!(matches!(as_three.judge(&two, &[], at(NOW)), Err(Refusal::NotYetKnown { .. })));
        let other = leaf(&["server.dc2.consul"]);
        assert!(matches!(accepting.judge(&other, &[], at(NOW)), Err(Refusal::PinMismatch { .. })));
    }

    #[test]
    fn pins_can_be_withdrawn_while_in_use() {
        let two = leaf(&["server.dc2.consul"]);
        let trust = trust(&[("dc2", &two)]);
        let accepting = PeerJudge::accepting(Arc::clone(&trust));
        assert_eq!(accepting.judge(&two, &[], at(NOW)), Ok(()));
        trust.set_pins(PinTable::new());
        assert!(accepting.judge(&two, &[], at(NOW)).is_err());
    }

    #[test]
    fn a_certificate_for_several_datacenters_or_none_is_refused() {
        let both = leaf(&["server.dc2.consul", "server.dc3.consul"]);
        let none = leaf(&["client.dc2.consul", "server.dc2.example", "a.server.dc2.consul", "server..consul"]);
        let accepting = PeerJudge::accepting(trust(&[("dc2", &both)]));
        assert!(matches!(accepting.judge(&both, &[], at(NOW)), Err(Refusal::Malformed(_))));
        assert!(matches!(accepting.judge(&none, &[], at(NOW)), Err(Refusal::Malformed(_))));
        assert!(matches!(accepting.judge(&CertificateDer::from(vec![1, 2, 3]), &[], at(NOW)), Err(Refusal::Malformed(_))));
    }

    #[test]
    fn a_dialled_server_must_have_its_own_pin_and_not_a_neighbours() {
        let (one, other) = (leaf(&["server.dc2.consul"]), leaf(&["server.dc2.consul"]));
        let trust = trust(&[("dc2", &other)]);
        let dialling = PeerJudge::dialling(trust, "dc2".to_owned(), [fingerprint_of(&one)].into());
        assert_eq!(dialling.judge(&one, &[], at(NOW)), Ok(()));
        assert!(matches!(dialling.judge(&other, &[], at(NOW)), Err(Refusal::PinMismatch { .. })));
    }

    #[test]
    fn dates_count_for_pinned_certificates_too() {
        let two = leaf(&["server.dc2.consul"]);
        let accepting = PeerJudge::accepting(trust(&[("dc2", &two)]));
        assert!(matches!(accepting.judge(&two, &[], at(100)), Err(Refusal::NotYetValid(_))));
        assert!(matches!(accepting.judge(&two, &[], at(70_000_000_000)), Err(Refusal::Expired(_))));
    }

    #[test]
    fn what_was_made_with_a_ca_is_named_so_where_there_is_none() {
        let (ca, key) = super::super::create_ca("consul", 10, &[]).unwrap();
        let issuer = rcgen::Issuer::from_ca_cert_pem(&ca, rcgen::KeyPair::from_pem(&key).unwrap()).unwrap();
        let params = rcgen::CertificateParams::new(vec!["server.dc2.consul".to_owned()]).unwrap();
        let signed = params.signed_by(&rcgen::KeyPair::generate().unwrap(), &issuer).unwrap().der().clone();
        let accepting = PeerJudge::accepting(trust(&[]));
        assert!(matches!(accepting.judge(&signed, &[], at(NOW)), Err(Refusal::AnotherCa(_))));
        let own = BridgeIdentity::self_made(None, "dc1", "consul").unwrap();
        assert!(own.trust("dc1", "consul", false).roots.is_none());
    }
}
