//! The accepted certificate of a peer, for the reports of `bridge`.

use super::certificate::{fingerprint_of, parse};
use super::verifier::Shown;
use super::verify::PeerJudge;
use super::{Refusal, Trust};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY_SECONDS: u64 = 86_400;

/// A certificate that a server of another datacenter has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownCertificate {
    /// SHA-256 in hex.
    pub fingerprint: String,
    /// The end of its validity.
    pub expires: SystemTime,
    /// True if its chain leads to the CA configured here. If not, its fingerprint vouches for it.
    pub from_ca: bool,
}

impl ShownCertificate {
    /// Reads the first certificate of `chain`, shown by a server of `dc`.
    pub fn read(chain: &[CertificateDer<'_>], dc: &str, trust: &Arc<Trust>) -> Result<ShownCertificate, Refusal> {
        let Some((leaf, rest)) = chain.split_first() else {
            return Err(Refusal::Malformed("no certificate was shown".to_owned()));
        };
        let seconds = u64::try_from(parse(leaf)?.validity().not_after.timestamp()).unwrap_or(0);
        let judge = PeerJudge::dialling(Arc::clone(trust), dc.to_owned(), BTreeSet::new());
        Ok(ShownCertificate {
            fingerprint: fingerprint_of(leaf),
            expires: UNIX_EPOCH + Duration::from_secs(seconds),
            from_ca: judge.judge_chain(Shown { leaf, rest, now: UnixTime::now() }, dc).is_ok(),
        })
    }
}

/// Whole days from `now` to `then`; negative when `then` is over.
pub fn days_between(now: SystemTime, then: SystemTime) -> i64 {
    let days = |span: Duration| i64::try_from(span.as_secs() / DAY_SECONDS).unwrap_or(i64::MAX);
    then.duration_since(now).map_or_else(|over| -1 - days(over.duration()), days)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{load, server_cert};
    use super::super::{BridgeIdentity, create_ca};
    use super::*;
    use rustls_pki_types::pem::PemObject;

    #[test]
    fn days_are_whole_and_negative_once_it_is_over() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10 * DAY_SECONDS);
        let at = |seconds: u64| days_between(now, SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(12 * DAY_SECONDS + 5), 2);
        assert_eq!(at(10 * DAY_SECONDS + 5), 0);
        assert_eq!(at(10 * DAY_SECONDS - 5), -1);
        assert_eq!(at(8 * DAY_SECONDS - 5), -3);
    }

    #[test]
    fn a_certificate_of_the_ca_is_told_from_a_self_made_one() {
        let ca = create_ca("consul", 10, &[]).unwrap();
        let (cert, key) = server_cert(&ca, "dc2", 2);
        let identity = BridgeIdentity::from_ca(&load(&ca.0, &cert, &key), "dc2", "consul").unwrap();
        let trust = Arc::new(identity.trust("dc1", "consul", false));
        let of_ca = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
        let shown = ShownCertificate::read(&[of_ca], "dc2", &trust).unwrap();
        assert!(shown.from_ca);
        let left = shown.expires.duration_since(SystemTime::now()).unwrap();
        assert!(left > Duration::from_secs(86_400) && left < Duration::from_secs(3 * 86_400), "{left:?}");
        let params = rcgen::CertificateParams::new(vec!["server.dc2.consul".to_owned()]).unwrap();
        let own = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().clone();
        let shown = ShownCertificate::read(&[own], "dc2", &trust).unwrap();
        assert!(!shown.from_ca && shown.fingerprint.len() == 64);
        assert!(ShownCertificate::read(&[], "dc2", &trust).is_err());
        assert!(ShownCertificate::read(&[CertificateDer::from(vec![1])], "dc2", &trust).is_err());
    }
}
