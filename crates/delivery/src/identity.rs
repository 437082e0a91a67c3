//! What postrider shows an endpoint that asks who calls it (mTLS): a webhook's client certificate, and the private key
//! that belongs to it. What cannot be used is told without showing any of it.

use std::fmt;
use std::sync::Arc;

use postrider_types::Secret;
use postrider_types::webhook::ClientCertificate;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{Error, InconsistentKeys};

use crate::endpoint::Endpoint;

/// The longest PEM that is taken, in bytes: a chain of several certificates, or one key.
pub const MAX_PEM: usize = 16 * 1024;

/// A certificate and its key, ready for handshakes.
#[derive(Clone)]
pub struct Identity(Arc<CertifiedKey>);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({} certificates)", self.0.cert.len())
    }
}

/// Why nobody can be shown it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadIdentity {
    /// The URL is none of TLS.
    #[error("is for https:// only: over http:// no certificate is shown")]
    NotHttps,
    /// A chain over [`MAX_PEM`].
    #[error("is longer than 16 KiB")]
    LongChain,
    /// A key where everybody may read it.
    #[error("holds a private key, and is shown to whoever reads the webhook; the key goes into tls.key")]
    KeyInChain,
    /// A section that is broken off, or no base64.
    #[error("is no valid PEM")]
    Pem,
    /// No section of a certificate.
    #[error("holds no certificate; it must be PEM (-----BEGIN CERTIFICATE-----), the webhook's own first")]
    NoCertificate,
    /// A section that is no certificate.
    #[error("holds a certificate that cannot be read; it must be X.509 version 3")]
    Certificate,
    /// A key over [`MAX_PEM`].
    #[error("is longer than 16 KiB")]
    LongKey,
    /// A key with a passphrase.
    #[error("is encrypted; it must be without a passphrase")]
    EncryptedKey,
    /// No section of a key.
    #[error("holds no private key; it must be PEM of PKCS#8, PKCS#1 or SEC1 (-----BEGIN PRIVATE KEY-----)")]
    NoKey,
    /// A key that cannot sign.
    #[error("is no key that can be used: RSA of 2048 to 8192 bits, ECDSA P-256, P-384 or P-521, or Ed25519")]
    Key,
    /// The key of another certificate.
    #[error("does not belong to the (first) certificate")]
    Mismatch,
}

impl BadIdentity {
    /// The webhook's field that is at fault.
    #[must_use]
    pub const fn path(&self) -> &'static str {
        match self {
            Self::NotHttps => "tls",
            Self::LongChain | Self::KeyInChain | Self::Pem | Self::NoCertificate | Self::Certificate => {
                "tls.certificate"
            }
            Self::LongKey | Self::EncryptedKey | Self::NoKey | Self::Key | Self::Mismatch => "tls.key",
        }
    }
}

impl Identity {
    /// Reads a webhook's certificate and key.
    ///
    /// # Errors
    /// The first [`BadIdentity`].
    pub fn parse(tls: &ClientCertificate) -> Result<Self, BadIdentity> {
        matching(chain(&tls.certificate)?, key(&tls.key)?)
    }

    /// Reads what a webhook shows this endpoint, if it shows anything.
    ///
    /// # Errors
    /// The first [`BadIdentity`].
    pub fn for_endpoint(tls: Option<&ClientCertificate>, endpoint: &Endpoint) -> Result<Option<Self>, BadIdentity> {
        match tls {
            Some(_) if endpoint.url().scheme() != "https" => Err(BadIdentity::NotHttps),
            tls => tls.map(Self::parse).transpose(),
        }
    }

    /// What answers an endpoint that asks.
    pub(crate) fn resolver(&self) -> SingleCertAndKey {
        SingleCertAndKey::from(Arc::clone(&self.0))
    }
}

/// Everything that is wrong with a webhook's certificate and key. `endpoint` is its URL if that can be used.
#[must_use]
pub fn faults(tls: &ClientCertificate, endpoint: Option<&Endpoint>) -> Vec<BadIdentity> {
    let is_plain = endpoint.is_some_and(|endpoint| endpoint.url().scheme() != "https");
    let mut faults: Vec<BadIdentity> = is_plain.then_some(BadIdentity::NotHttps).into_iter().collect();
    match (chain(&tls.certificate), key(&tls.key)) {
        (Ok(chain), Ok(key)) => faults.extend(matching(chain, key).err()),
        (chain, key) => faults.extend(chain.err().into_iter().chain(key.err())),
    }
    faults
}

fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, BadIdentity> {
    if pem.len() > MAX_PEM {
        return Err(BadIdentity::LongChain);
    }
    if pem.contains("PRIVATE KEY") {
        return Err(BadIdentity::KeyInChain);
    }
    let sections = CertificateDer::pem_slice_iter(pem.as_bytes());
    let chain: Vec<_> = sections.collect::<Result<_, _>>().map_err(|_| BadIdentity::Pem)?;
    if chain.is_empty() {
        return Err(BadIdentity::NoCertificate);
    }
    let is_readable = |certificate| ParsedCertificate::try_from(certificate).is_ok();
    chain
        .iter()
        .all(is_readable)
        .then_some(chain)
        .ok_or(BadIdentity::Certificate)
}

fn key(pem: &Secret) -> Result<Arc<dyn SigningKey>, BadIdentity> {
    let pem = pem.expose();
    if pem.len() > MAX_PEM {
        return Err(BadIdentity::LongKey);
    }
    // Both forms of an encrypted key say so in plain text.
    let missing = if pem.contains("ENCRYPTED") {
        BadIdentity::EncryptedKey
    } else {
        BadIdentity::NoKey
    };
    let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| missing)?;
    any_supported_type(&der).map_err(|_| BadIdentity::Key)
}

fn matching(chain: Vec<CertificateDer<'static>>, key: Arc<dyn SigningKey>) -> Result<Identity, BadIdentity> {
    let both = CertifiedKey::new(chain, key);
    match both.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Identity(Arc::new(both))),
        Err(Error::InconsistentKeys(_)) => Err(BadIdentity::Mismatch),
        Err(_) => Err(BadIdentity::Certificate),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use rcgen::{
        CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm,
    };

    use super::*;
    use crate::samples;

    fn issued(algorithm: &'static SignatureAlgorithm) -> ClientCertificate {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = CertificateParams::new(vec!["postrider.example".to_owned()]).unwrap();
        ClientCertificate {
            certificate: params.self_signed(&key).unwrap().pem(),
            key: Secret::new(key.serialize_pem()),
        }
    }

    fn section(name: &str, body: &str) -> String {
        format!("-----BEGIN {name}-----\n{body}\n-----END {name}-----\n")
    }

    fn found(certificate: &str, key: &str) -> Vec<BadIdentity> {
        let key = Secret::new(key);
        let certificate = certificate.to_owned();
        faults(&ClientCertificate { certificate, key }, None)
    }

    #[test]
    fn a_chain_and_its_key_are_taken_whatever_stands_around_the_sections() {
        for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
            let own = issued(algorithm);
            let chain = format!(
                "Bag Attributes\r\n{}\n{}",
                own.certificate,
                issued(algorithm).certificate
            );
            assert_eq!(found(&chain, own.key.expose()), []);
            assert_eq!(found(&chain.replace('\n', "\r\n"), own.key.expose()), []);
            let shown = format!("{:?}", Identity::parse(&own));
            assert_eq!(shown, "Ok(Identity(1 certificates))");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_by_its_field() {
        let own = issued(&PKCS_ED25519);
        let (certificate, key) = (&*own.certificate, own.key.expose());
        let long = "x".repeat(MAX_PEM + 1);
        let both = format!("{certificate}{key}");
        let broken_off = &certificate[..certificate.len() / 2];
        for (certificate, key, expected) in [
            (&*long, key, BadIdentity::LongChain),
            (&*both, key, BadIdentity::KeyInChain),
            (broken_off, key, BadIdentity::Pem),
            ("", key, BadIdentity::NoCertificate),
            (&*section("CERTIFICATE", "aGVsbG8="), key, BadIdentity::Certificate),
            (certificate, &*long, BadIdentity::LongKey),
            (certificate, "hunter2", BadIdentity::NoKey),
            (
                certificate,
                &*section("ENCRYPTED PRIVATE KEY", "aGVsbG8="),
                BadIdentity::EncryptedKey,
            ),
            (certificate, &*section("PRIVATE KEY", "aGVsbG8="), BadIdentity::Key),
            (certificate, issued(&PKCS_ED25519).key.expose(), BadIdentity::Mismatch),
        ] {
            assert_eq!(found(certificate, key), [expected]);
        }
        let two = found("", "");
        assert_eq!(
            two.iter().map(BadIdentity::path).collect::<Vec<_>>(),
            ["tls.certificate", "tls.key"]
        );
    }

    #[test]
    fn keys_of_the_older_forms_are_taken_too() {
        // What a PKCS#8 document wraps is the same key in PKCS#1 or SEC1.
        for (algorithm, wrapping, name) in [
            (&PKCS_RSA_SHA256, 26, "RSA PRIVATE KEY"),
            (&PKCS_ECDSA_P384_SHA384, 27, "EC PRIVATE KEY"),
        ] {
            let own = issued(algorithm);
            let pkcs8 = PrivateKeyDer::from_pem_slice(own.key.expose().as_bytes()).unwrap();
            let body = STANDARD.encode(&pkcs8.secret_der()[wrapping..]);
            assert_eq!(found(&own.certificate, &section(name, &body)), [], "{name}");
        }
    }

    #[test]
    fn only_a_chains_first_certificate_has_the_key() {
        let (own, other) = (issued(&PKCS_ED25519), issued(&PKCS_ED25519));
        let chain = format!("{}{}", other.certificate, own.certificate);
        assert_eq!(found(&chain, own.key.expose()), [BadIdentity::Mismatch]);
    }

    #[test]
    fn over_plain_http_nothing_is_shown() {
        let own = issued(&PKCS_ED25519);
        let endpoint = |url| Endpoint::parse(url, &samples::policy()).unwrap();
        let plain = endpoint("http://merchant.example/");
        let refused = Identity::for_endpoint(Some(&own), &plain).map(drop);
        assert_eq!(refused, Err(BadIdentity::NotHttps));
        assert_eq!(faults(&own, Some(&plain)), [BadIdentity::NotHttps]);
        assert!(Identity::for_endpoint(None, &plain).unwrap().is_none());
        let secure = endpoint("https://merchant.example/");
        assert!(Identity::for_endpoint(Some(&own), &secure).unwrap().is_some());
    }
}
