//! TLS: whom we trust, which versions we speak, and why a handshake failed, in words a merchant can act on.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};

use crate::causes;
use crate::identity::Identity;

/// The protocols offered, the preferred one first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Sessions kept for one endpoint: as many as there may be tickets of one server.
const SESSIONS: usize = 8;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// `egress.ca_file` cannot be read, or is no PEM.
    #[error("cannot read certificates from {}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// `egress.ca_file` holds no certificate.
    #[error("{} holds no certificate", .0.display())]
    NoCertificate(PathBuf),
    /// A certificate of `egress.ca_file` is none.
    #[error("{} holds a certificate that cannot be read", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The crypto library offers no TLS version.
    #[error("no TLS version can be spoken")]
    Versions(#[source] rustls::Error),
}

/// The client's settings: the system's roots and those of `ca_file`; TLS 1.2 and 1.3; HTTP/2 preferred.
///
/// A system without any roots gets Mozilla's list, unless `ca_file` names some.
///
/// # Errors
/// [`TlsSetupError`] when `ca_file` cannot be used.
pub fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!(%error, "Some of the system's certificate authorities cannot be read");
    }
    roots.add_parsable_certificates(system.certs);
    if let Some(path) = ca_file {
        add_file(&mut roots, path)?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsSetupError::Versions)?;
    let mut config = if roots.is_empty() {
        tracing::warn!("The system has no certificate authorities; using Mozilla's list");
        builder.with_webpki_roots().with_no_client_auth()
    } else {
        builder.with_root_certificates(roots).with_no_client_auth()
    };
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    Ok(Arc::new(config))
}

/// The same settings, with a client certificate for an endpoint that asks for one.
///
/// Sessions are kept apart: one that is resumed goes on as whoever opened it.
pub(crate) fn showing(base: &ClientConfig, identity: &Identity) -> Arc<ClientConfig> {
    let mut config = base.clone();
    config.client_auth_cert_resolver = Arc::new(identity.resolver());
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Arc::new(config)
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), TlsSetupError> {
    let unreadable = |source| TlsSetupError::CaFile {
        path: path.to_owned(),
        source,
    };
    let mut found = 0_usize;
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        let added = roots.add(certificate.map_err(unreadable)?);
        added.map_err(|source| TlsSetupError::BadCertificate {
            path: path.to_owned(),
            source,
        })?;
        found += 1;
    }
    if found == 0 {
        return Err(TlsSetupError::NoCertificate(path.to_owned()));
    }
    Ok(())
}

/// Why a handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("The TLS handshake did not end in time")]
    TimedOut,
    #[error("The certificate is for another host")]
    WrongHost,
    #[error("The certificate has expired")]
    Expired,
    #[error("The certificate is not valid yet")]
    NotYetValid,
    #[error("The certificate is self-signed or its authority is unknown")]
    UnknownAuthority,
    #[error("The certificate has been revoked")]
    Revoked,
    #[error("The certificate is not valid")]
    BadCertificate,
    #[error("The endpoint and postrider have no TLS version and cipher in common")]
    NothingInCommon,
    #[error("The endpoint refused the handshake: no TLS cipher in common, or a client certificate that it misses")]
    Refused,
    #[error("The endpoint asks for a client certificate")]
    ClientCertificate,
    #[error("The endpoint asks for a client certificate that it accepts")]
    OtherClientCertificate,
    #[error("The endpoint does not speak TLS at this port")]
    NotTls,
    #[error("The endpoint broke off the TLS handshake")]
    BrokenOff,
}

impl Refusal {
    /// Reads the reason out of whatever the handshake ended with.
    pub(crate) fn found_in(error: &(dyn Error + 'static)) -> Self {
        causes::find::<rustls::Error>(error).map_or(Self::BrokenOff, Self::of)
    }

    pub(crate) fn of(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(why) => Self::of_certificate(why),
            rustls::Error::AlertReceived(alert) => Self::of_alert(*alert),
            rustls::Error::PeerIncompatible(_) | rustls::Error::NoApplicationProtocol => Self::NothingInCommon,
            rustls::Error::InvalidMessage(_)
            | rustls::Error::PeerSentOversizedRecord
            | rustls::Error::InappropriateMessage { .. } => Self::NotTls,
            rustls::Error::NoCertificatesPresented => Self::BadCertificate,
            _ => Self::BrokenOff,
        }
    }

    const fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            // What an endpoint of TLS 1.2 says of either.
            AlertDescription::HandshakeFailure => Self::Refused,
            AlertDescription::ProtocolVersion
            | AlertDescription::InsufficientSecurity
            | AlertDescription::NoApplicationProtocol => Self::NothingInCommon,
            AlertDescription::CertificateRequired => Self::ClientCertificate,
            // Said of what we showed, or that we showed nothing.
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied => Self::OtherClientCertificate,
            _ => Self::BrokenOff,
        }
    }

    fn of_certificate(why: &CertificateError) -> Self {
        match why {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::WrongHost,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::UnknownIssuer => Self::UnknownAuthority,
            CertificateError::Revoked => Self::Revoked,
            // A self-signed authority that serves itself: the verifier's own word for it has no variant.
            CertificateError::Other(_) => Self::UnknownAuthority,
            _ => Self::BadCertificate,
        }
    }
}
