//! TLS: ALPN, versions, and each reason for a refusal.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
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
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::servers::{Caller, PATIENCE, Server, ok, open, read_request};

/// A certificate authority, and a file that holds it.
pub(crate) struct Authority {
    pub(crate) issuer: CertifiedIssuer<'static, KeyPair>,
    file: tempfile::NamedTempFile,
}

pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

pub(crate) fn leaf(host: &str) -> CertificateParams {
    CertificateParams::new(vec![host.to_owned()]).unwrap()
}

impl Authority {
    /// Each has a name of its own, so that a stranger's certificate is not taken for a forged one.
    pub(crate) fn new() -> Self {
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

    pub(crate) fn issue(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        }
    }

    /// A caller that trusts this authority.
    pub(crate) fn caller(&self) -> Caller {
        self.caller_within(Limits {
            connect_timeout: Duration::from_secs(4),
            ..Limits::default()
        })
    }

    fn caller_within(&self, limits: Limits) -> Caller {
        let config = Config {
            ca_file: Some(self.file.path().to_owned()),
            ..open()
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

fn acceptor(
    identity: Identity,
    provider: CryptoProvider,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> TlsAcceptor {
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
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            while read_request(&mut stream).await.is_some() {
                tokio::io::AsyncWriteExt::write_all(&mut stream, ok("{}").as_bytes())
                    .await
                    .unwrap();
            }
        }
    })
    .await
}

pub(crate) fn https(server: &Server) -> String {
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

fn http2_acceptor(identity: Identity) -> TlsAcceptor {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(identity.chain, identity.key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Speaks HTTP/2 only, and counts what it serves.
async fn http2(identity: Identity) -> (Server, Arc<AtomicUsize>) {
    let acceptor = http2_acceptor(identity);
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    let server = Server::start(move |stream| {
        let (acceptor, count) = (acceptor.clone(), Arc::clone(&count));
        async move {
            let stream = acceptor.accept(stream).await.unwrap();
            let service = service_fn(move |request| {
                count.fetch_add(1, Ordering::SeqCst);
                std::future::ready(answer(&request))
            });
            let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await;
    (server, served)
}

fn answer(request: &hyper::Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
    assert_eq!(request.version(), Version::HTTP_2);
    let plain = |body: Vec<u8>| Response::new(Full::new(Bytes::from(body)));
    match request.uri().path() {
        "/large" => Ok(plain(vec![b'x'; 1 << 20])),
        "/full" => Ok(plain(vec![b'x'; 60 << 10])),
        "/reset" => Err(std::io::Error::other("the stream is reset")),
        "/head" => {
            let mut response = plain(vec![]);
            for n in 0..120 {
                let name = HeaderName::try_from(format!("x-{n}")).unwrap();
                response.headers_mut().insert(name, HeaderValue::from_static("y"));
            }
            Ok(response)
        }
        _ => Ok(plain(b"{}".to_vec())),
    }
}

#[tokio::test]
async fn http_2_is_spoken_where_it_is_offered_and_its_connection_kept() {
    let authority = Authority::new();
    let (server, served) = http2(authority.issue(leaf("127.0.0.1"))).await;
    let caller = authority.caller();
    for _ in 0..20 {
        let answer = caller.answer(&https(&server)).await;
        assert_eq!((answer.status, answer.response.body.as_str()), (200, "{}"));
    }
    assert_eq!((server.accepted(), served.load(Ordering::SeqCst)), (1, 20));
}

#[tokio::test]
async fn http_2_has_the_same_bounds() {
    let authority = Authority::new();
    let (server, _) = http2(authority.issue(leaf("127.0.0.1"))).await;
    let caller = authority.caller();
    let url = |path: &str| format!("https://{}{path}", server.address);
    for _ in 0..5 {
        let large = caller.answer(&url("/large")).await;
        assert_eq!((large.status, large.response.truncated), (200, true));
    }
    assert_eq!(caller.failure(&url("/head")).await.kind, ErrorKind::ResponseTooLarge);
    assert_eq!(caller.failure(&url("/reset")).await.kind, ErrorKind::Reset);
    assert_eq!(caller.answer(&url("/")).await.status, 200);
}

/// What an HTTP/2 endpoint does instead of answering.
#[derive(Debug, Clone, Copy)]
enum Instead {
    Refuse,
    GoAway,
    Close,
}

async fn refuse(mut stream: TlsStream<TcpStream>, instead: Instead) {
    if matches!(instead, Instead::Close) {
        let _ = read_some(&mut stream).await;
        let _ = stream.shutdown().await;
        return;
    }
    let mut connection = h2::server::handshake(stream).await.unwrap();
    // Dropping one resets its stream.
    let mut open = Vec::new();
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        match instead {
            Instead::GoAway => connection.abrupt_shutdown(h2::Reason::NO_ERROR),
            _ => respond.send_reset(h2::Reason::REFUSED_STREAM),
        }
        open.push(respond);
    }
}

async fn read_some(stream: &mut TlsStream<TcpStream>) -> std::io::Result<usize> {
    stream.read(&mut [0; 1024]).await
}

#[tokio::test]
async fn an_http_2_request_that_is_refused_is_told_from_a_connection_that_goes_away() {
    let authority = Authority::new();
    let kinds = [
        (Instead::Refuse, ErrorKind::Reset),
        (Instead::GoAway, ErrorKind::ClosedBeforeResponse),
        (Instead::Close, ErrorKind::ClosedBeforeResponse),
    ];
    for (instead, kind) in kinds {
        let acceptor = http2_acceptor(authority.issue(leaf("127.0.0.1")));
        let server = Server::start(move |stream| {
            let acceptor = acceptor.clone();
            async move { refuse(acceptor.accept(stream).await.unwrap(), instead).await }
        })
        .await;
        let failure = authority.caller().failure(&https(&server)).await;
        assert_eq!(failure.kind, kind, "{instead:?}: {failure:?}");
    }
}

#[tokio::test]
async fn an_http_2_connection_lives_as_long_as_its_bytes_belong_to_answers() {
    let authority = Authority::new();
    let (server, _) = http2(authority.issue(leaf("127.0.0.1"))).await;
    let caller = authority.caller();
    let endpoint = caller.endpoint(&format!("https://{}/full", server.address));
    for _ in 0..40 {
        let sent = caller
            .client
            .send(&endpoint, hyper::HeaderMap::new, "{}".into(), PATIENCE);
        assert!(sent.await.0.unwrap().complete);
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn an_http_2_connection_that_is_not_used_is_closed_after_its_time() {
    let authority = Authority::new();
    let acceptor = http2_acceptor(authority.issue(leaf("127.0.0.1")));
    let (tell, mut ended) = mpsc::channel(1);
    let server = Server::start(move |stream| {
        let (acceptor, tell) = (acceptor.clone(), tell.clone());
        async move {
            let stream = acceptor.accept(stream).await.unwrap();
            let service = service_fn(|request| std::future::ready(answer(&request)));
            let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
            tell.send(()).await.unwrap();
        }
    })
    .await;
    let caller = authority.caller_within(Limits {
        idle_timeout: Duration::from_millis(300),
        ..Limits::default()
    });
    assert_eq!(caller.answer(&https(&server)).await.status, 200);
    let ended = tokio::time::timeout(PATIENCE, ended.recv()).await;
    assert_eq!(ended.unwrap(), Some(()));
    assert_eq!(caller.answer(&https(&server)).await.status, 200);
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn http_2_frames_without_an_answer_end_the_connection() {
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let authority = Authority::new();
    let identity = authority.issue(leaf("127.0.0.1"));
    let acceptor = http2_acceptor(identity);
    let server = Server::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let stream = acceptor.accept(stream).await.unwrap();
            let (mut reads, mut writes) = tokio::io::split(stream);
            let drain = async { tokio::io::copy(&mut reads, &mut tokio::io::sink()).await };
            let flood = async {
                let mut written = writes.write_all(SETTINGS).await;
                while written.is_ok() {
                    written = writes.write_all(&PING.repeat(100)).await;
                }
            };
            let _ = tokio::join!(drain, flood);
        }
    })
    .await;
    let failure = authority.caller().failure(&https(&server)).await;
    assert_eq!(failure.kind, ErrorKind::ResponseTooLarge);
}

#[tokio::test]
async fn many_http_2_requests_at_once_are_all_answered() {
    let authority = Authority::new();
    let (server, served) = http2(authority.issue(leaf("127.0.0.1"))).await;
    let caller = Arc::new(authority.caller());
    assert_eq!(caller.answer(&https(&server)).await.status, 200);
    all_at_once(100, &caller, &server).await;
    assert_eq!((server.accepted(), served.load(Ordering::SeqCst)), (1, 101));
}

async fn all_at_once(count: usize, caller: &Arc<Caller>, server: &Server) {
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..count {
        let (caller, url) = (Arc::clone(caller), https(server));
        requests.spawn(async move { caller.answer(&url).await.status });
    }
    while let Some(status) = requests.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
}

#[tokio::test]
async fn requests_beyond_those_that_an_http_2_connection_takes_at_once_get_others() {
    const AT_ONCE: usize = 8;
    let authority = Authority::new();
    let acceptor = http2_acceptor(authority.issue(leaf("127.0.0.1")));
    // Nobody is answered before all are there.
    let all = Arc::new(tokio::sync::Barrier::new(AT_ONCE));
    let server = Server::start(move |stream| {
        let (acceptor, all) = (acceptor.clone(), Arc::clone(&all));
        async move {
            let stream = acceptor.accept(stream).await.unwrap();
            let service = service_fn(move |request| {
                let all = Arc::clone(&all);
                async move {
                    all.wait().await;
                    answer(&request)
                }
            });
            let mut http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            http.max_concurrent_streams(2);
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await;
    let caller = Arc::new(authority.caller());
    for _ in 0..5 {
        all_at_once(AT_ONCE, &caller, &server).await;
    }
    let opened = server.accepted();
    assert!((AT_ONCE / 2..=AT_ONCE).contains(&opened), "{opened} connections");
}

/// Answers the first request of an HTTP/2 connection, and the second one with this frame instead.
async fn answer_once(mut stream: TlsStream<TcpStream>, instead: &[u8]) -> std::io::Result<()> {
    const PREFACE: usize = 24;
    const HEADERS: u8 = 1;
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    // All of a head and its stream's end: status 200 is number 8 of the static table.
    const ANSWER: &[u8] = &[0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88];
    stream.write_all(SETTINGS).await?;
    stream.read_exact(&mut [0; PREFACE]).await?;
    let mut answers = [ANSWER, instead].into_iter();
    loop {
        let mut header = [0; 9];
        stream.read_exact(&mut header).await?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        stream.read_exact(&mut vec![0; length as usize]).await?;
        if header[3] == HEADERS
            && let Some(answer) = answers.next()
        {
            stream.write_all(answer).await?;
        }
    }
}

#[tokio::test]
async fn a_request_that_an_http_2_endpoint_says_it_did_not_look_at_is_sent_over_another_connection() {
    const REFUSED: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 3, 0, 0, 0, 7];
    // The last stream that it looks at is the first.
    const GONE: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    let authority = Authority::new();
    for instead in [REFUSED, GONE] {
        let acceptor = http2_acceptor(authority.issue(leaf("127.0.0.1")));
        let server = Server::start(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let _ = answer_once(acceptor.accept(stream).await.unwrap(), instead).await;
            }
        })
        .await;
        let caller = authority.caller();
        for sent in 1..=5 {
            assert_eq!(caller.answer(&https(&server)).await.status, 200, "{instead:?}");
            assert_eq!(server.accepted(), sent, "{instead:?}");
        }
    }
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
        (
            authority.issue(leaf("other.example")),
            "The certificate is for another host",
        ),
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
    narrow
        .cipher_suites
        .retain(|suite| format!("{:?}", suite.suite()).contains("RSA"));
    let acceptor = acceptor(authority.issue(leaf("127.0.0.1")), narrow, &[&rustls::version::TLS12]);
    let server = Server::start(move |stream| {
        let acceptor = acceptor.clone();
        async move { assert!(acceptor.accept(stream).await.is_err()) }
    })
    .await;
    let failure = authority.caller().failure(&https(&server)).await;
    assert_eq!(failure.kind, ErrorKind::Tls);
    assert_eq!(
        failure.message,
        "The endpoint refused the handshake: no TLS cipher in common, or a client certificate that it misses"
    );
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
    assert_eq!(
        (failure.kind, failure.message.as_str()),
        (ErrorKind::Tls, "The TLS handshake did not end in time")
    );
    let closing = Server::start(|mut stream| async move {
        let _ = tokio::io::AsyncReadExt::read_u8(&mut stream).await;
    })
    .await;
    let failure = Caller::new().failure(&https(&closing)).await;
    assert_eq!(
        (failure.kind, failure.message.as_str()),
        (ErrorKind::Tls, "The endpoint broke off the TLS handshake")
    );
}

#[test]
fn a_file_without_certificates_is_refused_by_name() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"no PEM\n").unwrap();
    let error = postrider_delivery::tls::client_config(Some(file.path())).unwrap_err();
    assert!(error.to_string().contains(&*file.path().to_string_lossy()), "{error}");
    assert!(postrider_delivery::tls::client_config(Some("/nonexistent.pem".as_ref())).is_err());
}
