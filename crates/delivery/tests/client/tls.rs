//! TLS: ALPN, versions, and each reason for a refusal.

use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use postrider_delivery::client::Limits;
use postrider_delivery::egress::Config;
use postrider_types::ErrorKind;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::servers::{Caller, Server, ok, open, read_request};

/// A certificate authority, and a file that holds it.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: tempfile::NamedTempFile,
}

struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

fn leaf(host: &str) -> CertificateParams {
    CertificateParams::new(vec![host.to_owned()]).unwrap()
}

impl Authority {
    /// Each has a name of its own, so that a stranger's certificate is not taken for a forged one.
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = format!("Authority {}", NUMBER.fetch_add(1, Ordering::SeqCst));
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(issuer.pem().as_bytes()).unwrap();
        Self { issuer, file }
    }

    fn issue(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        }
    }

    /// A caller that trusts this authority.
    fn caller(&self) -> Caller {
        let config = Config {
            ca_file: Some(self.file.path().to_owned()),
            ..open()
        };
        let limits = Limits {
            connect_timeout: Duration::from_secs(4),
            ..Limits::default()
        };
        Caller::with(&config, limits)
    }
}

fn self_signed(params: CertificateParams) -> Identity {
    let key = KeyPair::generate().unwrap();
    Identity {
        chain: vec![params.self_signed(&key).unwrap().der().clone()],
        key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
    }
}

fn acceptor(identity: Identity, provider: CryptoProvider, versions: &[&'static rustls::SupportedProtocolVersion]) -> TlsAcceptor {
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(identity.chain, identity.key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Speaks HTTP/1 over TLS.
async fn http1(identity: Identity, versions: &[&'static rustls::SupportedProtocolVersion]) -> Server {
    let acceptor = acceptor(identity, aws_lc_rs::default_provider(), versions);
    Server::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            while read_request(&mut stream).await.is_some() {
                tokio::io::AsyncWriteExt::write_all(&mut stream, ok("{}").as_bytes()).await.unwrap();
            }
        }
    })
    .await
}

fn https(server: &Server) -> String {
    format!("https://{}/hooks", server.address)
}

const ALL: &[&rustls::SupportedProtocolVersion] = rustls::ALL_VERSIONS;

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_connections_kept() {
    let authority = Authority::new();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let server = http1(authority.issue(leaf("127.0.0.1")), &[version]).await;
        let caller = authority.caller();
        for _ in 0..5 {
            assert_eq!(caller.answer(&https(&server)).await.status, 200);
        }
        assert_eq!(server.accepted(), 1, "{version:?}");
    }
}

#[tokio::test]
async fn http_2_is_spoken_where_it_is_offered_and_its_connection_kept() {
    let authority = Authority::new();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    let identity = authority.issue(leaf("127.0.0.1"));
    let mut config = config.with_single_cert(identity.chain, identity.key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    let server = Server::start(move |stream| {
        let (acceptor, count) = (acceptor.clone(), Arc::clone(&count));
        async move {
            let stream = acceptor.accept(stream).await.unwrap();
            let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                assert_eq!(request.version(), Version::HTTP_2);
                count.fetch_add(1, Ordering::SeqCst);
                let large = request.uri().path() == "/large";
                let body = if large { vec![b'x'; 1 << 20] } else { b"{}".to_vec() };
                async move { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(body)))) }
            });
            let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await;
    let caller = authority.caller();
    for _ in 0..20 {
        let answer = caller.answer(&https(&server)).await;
        assert_eq!((answer.status, answer.response.body.as_str()), (200, "{}"));
    }
    assert_eq!((server.accepted(), served.load(Ordering::SeqCst)), (1, 20));
    let large = caller.answer(&format!("https://{}/large", server.address)).await;
    assert_eq!((large.status, large.response.truncated), (200, true));
    assert_eq!(caller.answer(&https(&server)).await.status, 200);
}

#[tokio::test]
async fn a_refused_certificate_says_why() {
    let authority = Authority::new();
    let mut expired = leaf("127.0.0.1");
    (expired.not_before, expired.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    let mut early = leaf("127.0.0.1");
    (early.not_before, early.not_after) = (date_time_ymd(2090, 1, 1), date_time_ymd(2091, 1, 1));
    let mut own_authority = leaf("127.0.0.1");
    own_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let unknown = "The certificate is self-signed or its authority is unknown";
    for (identity, why) in [
        (authority.issue(leaf("other.example")), "The certificate is for another host"),
        (authority.issue(expired), "The certificate has expired"),
        (authority.issue(early), "The certificate is not valid yet"),
        (self_signed(leaf("127.0.0.1")), unknown),
        (self_signed(own_authority), unknown),
        (Authority::new().issue(leaf("127.0.0.1")), unknown),
    ] {
        let server = http1(identity, ALL).await;
        let failure = authority.caller().failure(&https(&server)).await;
        assert_eq!((failure.kind, failure.message.as_str()), (ErrorKind::Tls, why));
    }
}

#[tokio::test]
async fn nothing_in_common_says_so() {
    let authority = Authority::new();
    let mut narrow = aws_lc_rs::default_provider();
    narrow.cipher_suites.retain(|suite| suite.tls13().is_none());
    // Suites for RSA keys only, and a key that is none: the server finds no suite to offer.
    narrow.cipher_suites.retain(|suite| format!("{:?}", suite.suite()).contains("RSA"));
    let acceptor = acceptor(authority.issue(leaf("127.0.0.1")), narrow, &[&rustls::version::TLS12]);
    let server = Server::start(move |stream| {
        let acceptor = acceptor.clone();
        async move { assert!(acceptor.accept(stream).await.is_err()) }
    })
    .await;
    let failure = authority.caller().failure(&https(&server)).await;
    assert_eq!(failure.kind, ErrorKind::Tls);
    assert_eq!(failure.message, "The endpoint and postrider have no TLS version and cipher in common");
}

#[tokio::test]
async fn plain_http_at_an_https_url_is_not_tls() {
    let server = Server::start(|mut stream| async move {
        let refusal = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, refusal).await.unwrap();
        std::future::pending().await
    })
    .await;
    let failure = Caller::new().failure(&https(&server)).await;
    assert_eq!(failure.kind, ErrorKind::Tls);
    assert_eq!(failure.message, "The endpoint does not speak TLS at this port");
}

#[tokio::test]
async fn a_handshake_that_hangs_or_breaks_off_is_a_tls_failure() {
    let silent = Server::start(|stream| async move {
        let _kept_open = stream;
        std::future::pending().await
    })
    .await;
    let limits = Limits {
        connect_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let failure = Caller::with(&open(), limits).failure(&https(&silent)).await;
    assert_eq!((failure.kind, failure.message.as_str()), (ErrorKind::Tls, "The TLS handshake did not end in time"));
    let closing = Server::start(|mut stream| async move {
        let _ = tokio::io::AsyncReadExt::read_u8(&mut stream).await;
    })
    .await;
    let failure = Caller::new().failure(&https(&closing)).await;
    assert_eq!((failure.kind, failure.message.as_str()), (ErrorKind::Tls, "The endpoint broke off the TLS handshake"));
}

#[test]
fn a_file_without_certificates_is_refused_by_name() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"no PEM\n").unwrap();
    let error = postrider_delivery::tls::client_config(Some(file.path())).unwrap_err();
    assert!(error.to_string().contains(&*file.path().to_string_lossy()), "{error}");
    assert!(postrider_delivery::tls::client_config(Some("/nonexistent.pem".as_ref())).is_err());
}
