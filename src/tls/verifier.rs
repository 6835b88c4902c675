//! The one implementation of rustls' verifiers, over the judges of certificates. No judge can turn off the verification of
//! the handshake's signature.

use super::certificate::{has_extensions, parse};
use super::provider;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature, verify_tls13_signature_with_raw_key,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use std::fmt::Debug;

/// The result of a look at a handshake's signature.
type Signed = Result<HandshakeSignatureValid, Error>;

/// The certificates that a peer shows, and the time at which they are judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown<'a> {
    pub(super) leaf: &'a CertificateDer<'a>,
    pub(super) rest: &'a [CertificateDer<'a>],
    pub(super) now: UnixTime,
}

/// Judges the certificate of a server that is dialled.
pub(super) trait ServerJudge: Debug + Send + Sync {
    /// Accepts the certificates of the server that was dialled as `name`, or returns why not.
    fn judge_server(&self, shown: Shown<'_>, name: &ServerName<'_>) -> Result<(), Error>;
}

/// Judges the certificate of a client, which must show one.
pub(super) trait ClientJudge: Debug + Send + Sync {
    /// The authorities whose certificates clients may choose from; empty for any.
    fn root_hints(&self) -> &[DistinguishedName] {
        &[]
    }

    /// Accepts the certificates of a client, or returns why not.
    fn judge_client(&self, shown: Shown<'_>) -> Result<(), Error>;
}

/// A judge in the form that rustls asks for.
#[derive(Debug)]
pub(super) struct Verifier<J> {
    judge: J,
    algorithms: WebPkiSupportedAlgorithms,
}

impl<J> Verifier<J> {
    pub(super) fn new(judge: J) -> Verifier<J> {
        Verifier { judge, algorithms: provider().signature_verification_algorithms }
    }

    /// webpki reads no certificate without extensions; its key is taken out here.
    fn verify_tls13(&self, message: &[u8], leaf: &CertificateDer<'_>, signed: &DigitallySignedStruct) -> Signed {
        match parse(leaf) {
            Ok(parsed) if !has_extensions(&parsed) => {
                let key = SubjectPublicKeyInfoDer::from(parsed.public_key().raw);
                verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
            }
            _ => verify_tls13_signature(message, leaf, signed, &self.algorithms),
        }
    }
}

impl<J: ServerJudge> ServerCertVerifier for Verifier<J> {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge.judge_server(Shown { leaf, rest, now }, name).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(&self, message: &[u8], leaf: &CertificateDer<'_>, signed: &DigitallySignedStruct) -> Signed {
        verify_tls12_signature(message, leaf, signed, &self.algorithms)
    }

    fn verify_tls13_signature(&self, message: &[u8], leaf: &CertificateDer<'_>, signed: &DigitallySignedStruct) -> Signed {
        self.verify_tls13(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl<J: ClientJudge> ClientCertVerifier for Verifier<J> {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.judge.root_hints()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge.judge_client(Shown { leaf, rest, now }).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(&self, message: &[u8], leaf: &CertificateDer<'_>, signed: &DigitallySignedStruct) -> Signed {
        verify_tls12_signature(message, leaf, signed, &self.algorithms)
    }

    fn verify_tls13_signature(&self, message: &[u8], leaf: &CertificateDer<'_>, signed: &DigitallySignedStruct) -> Signed {
        self.verify_tls13(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
