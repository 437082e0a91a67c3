//! Client certificates: who is shown what, and that nobody goes as another.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use postrider_delivery::client::Client;
use postrider_delivery::identity::Identity;
use postrider_delivery::trial::Trials;
use postrider_types::outcome::Issuer;
use postrider_types::webhook::ClientCertificate;
use postrider_types::{
    AccountId, Clock, ErrorKind, Event, EventId, EventType, Facts, Offset, Origin, Partition, Secret, Timestamp,
    Transmission, Trigger, Webhook, WebhookId,
};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

use crate::servers::{Caller, PATIENCE, Server, answered, ok, post, read_request};
use crate::tls::{Authority, https, leaf};

/// A certificate of this authority for a caller of this name.
fn issued(authority: &Authority, name: &str) -> ClientCertificate {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    ClientCertificate {
        certificate: params.signed_by(&key, &authority.issuer).unwrap().pem(),
        key: Secret::new(key.serialize_pem()),
    }
}

/// A server that serves nobody without a certificate of its authority.
struct Guarded {
    server: Server,
    /// The names it was shown, one for each connection.
    callers: Arc<Mutex<Vec<String>>>,
}

impl Guarded {
    async fn start(authority: &Authority, version: &'static SupportedProtocolVersion) -> Self {
        Self::speaking(b"http/1.1", authority, version).await
    }

    async fn speaking(http: &[u8], authority: &Authority, version: &'static SupportedProtocolVersion) -> Self {
        let acceptor = acceptor(http, authority, version);
        let callers = Arc::<Mutex<Vec<String>>>::default();
        let noted = Arc::clone(&callers);
        let server = Server::start(move |stream| {
            let (acceptor, noted) = (acceptor.clone(), Arc::clone(&noted));
            async move {
                let mut stream = match acceptor.accept(stream).into_fallible().await {
                    Ok(stream) => stream,
                    Err((_, mut stream)) => {
                        // What is closed unread takes the alert back.
                        let _ = stream.shutdown().await;
                        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                        return;
                    }
                };
                let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
                noted.lock().unwrap().push(common_name(&shown));
                while let Some((head, _)) = read_request(&mut stream).await {
                    stream.write_all(ok("{}").as_bytes()).await.unwrap();
                    if head.contains("/close") {
                        let _ = stream.shutdown().await;
                        return;
                    }
                }
            }
        })
        .await;
        Self { server, callers }
    }

    fn callers(&self) -> Vec<String> {
        self.callers.lock().unwrap().clone()
    }
}

fn acceptor(http: &[u8], authority: &Authority, version: &'static SupportedProtocolVersion) -> TlsAcceptor {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.issuer.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let identity = authority.issue(leaf("127.0.0.1"));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(identity.chain, identity.key)
        .unwrap();
    config.alpn_protocols = vec![http.to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// The subject's name: the last one of a certificate, after the issuer's.
fn common_name(certificate: &CertificateDer<'_>) -> String {
    const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];
    let at = certificate
        .windows(COMMON_NAME.len())
        .rposition(|six| six == COMMON_NAME);
    let value = &certificate[at.unwrap() + COMMON_NAME.len()..];
    let length = usize::from(value[1]);
    String::from_utf8(value[2..2 + length].to_vec()).unwrap()
}

fn client(caller: &Caller, tls: &ClientCertificate) -> Client {
    caller.clients.client(Some(&Identity::parse(tls).unwrap()))
}

#[tokio::test]
async fn an_endpoint_that_asks_sees_the_webhooks_own_certificate() {
    let authority = Authority::new();
    for version in [&TLS12, &TLS13] {
        let guarded = Guarded::start(&authority, version).await;
        let caller = authority.caller();
        let client = client(&caller, &issued(&authority, "shop"));
        let endpoint = caller.endpoint(&https(&guarded.server));
        for _ in 0..3 {
            assert_eq!(answered(post(&client, &endpoint, PATIENCE).await).status, 200);
        }
        assert_eq!(guarded.callers(), ["shop"], "{version:?}");
    }
}

#[tokio::test]
async fn two_webhooks_of_one_server_share_neither_connections_nor_sessions() {
    let authority = Authority::new();
    for version in [&TLS12, &TLS13] {
        let guarded = Guarded::start(&authority, version).await;
        let caller = authority.caller();
        let clients = ["first", "second"].map(|name| client(&caller, &issued(&authority, name)));
        for (path, rounds) in [("/keep", 3), ("/close", 3)] {
            let endpoint = caller.endpoint(&format!("https://{}{path}", guarded.server.address));
            for _ in 0..rounds {
                for client in &clients {
                    assert_eq!(answered(post(client, &endpoint, PATIENCE).await).status, 200);
                }
            }
        }
        // Kept connections until the first `/close`; from then on a new one each time.
        assert_eq!(guarded.callers(), ["first", "second"].repeat(3), "{version:?}");
    }
}

#[tokio::test]
async fn a_renewed_certificate_takes_a_new_connection() {
    let authority = Authority::new();
    let guarded = Guarded::start(&authority, &TLS13).await;
    let trials = trials(&authority);
    let mut webhook = webhook(&https(&guarded.server));
    for name in ["old", "new"] {
        webhook.tls = Some(issued(&authority, name));
        assert_eq!(tried(&trials, &webhook).await.response.unwrap().status, 200);
    }
    assert_eq!(guarded.callers(), ["old", "new"]);
}

#[tokio::test]
async fn an_endpoint_that_asks_refuses_a_webhook_without_a_certificate_and_one_of_strangers() {
    let authority = Authority::new();
    let stranger = issued(&Authority::new(), "stranger");
    let spoken: [(&SupportedProtocolVersion, &[u8]); 4] = [
        (&TLS12, b"http/1.1"),
        (&TLS12, b"h2"),
        (&TLS13, b"http/1.1"),
        (&TLS13, b"h2"),
    ];
    for (version, http) in spoken {
        let guarded = Guarded::speaking(http, &authority, version).await;
        let trials = trials(&authority);
        for (tls, message) in [
            (None, "The endpoint asks for a client certificate"),
            (
                Some(stranger.clone()),
                "The endpoint asks for a client certificate that it accepts",
            ),
        ] {
            let mut webhook = webhook(&https(&guarded.server));
            webhook.tls = tls;
            let told = tried(&trials, &webhook).await;
            let error = told.error.unwrap();
            assert_eq!(
                (error.kind, &*error.message),
                (ErrorKind::Tls, message),
                "{version:?} {http:?}"
            );
            assert!(told.hint.unwrap().contains("client certificate"));
        }
        assert_eq!(guarded.callers(), [""; 0]);
    }
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_sends_nothing_and_shows_nothing() {
    let authority = Authority::new();
    let guarded = Guarded::start(&authority, &TLS13).await;
    let mut webhook = webhook(&https(&guarded.server));
    webhook.tls = Some(ClientCertificate {
        key: issued(&authority, "other").key,
        ..issued(&authority, "shop")
    });
    let told = tried(&trials(&authority), &webhook).await;
    assert_eq!(
        told.message,
        "Nothing was sent: the webhook's tls.key does not belong to the (first) certificate"
    );
    assert_eq!(guarded.server.accepted(), 0);
}

fn trials(authority: &Authority) -> Trials {
    let Caller { clients, policy, .. } = authority.caller();
    let issuer = Issuer {
        instance: "postrider-0".into(),
        max_retries: 10,
        traced: false,
    };
    Trials::new(policy, clients, issuer, Clock::system(), Duration::from_secs(30))
}

fn webhook(url: &str) -> Webhook {
    Webhook::new(WebhookId::new("wh_1").unwrap(), url, vec![EventType::TrackingUpdate])
}

async fn tried(trials: &Trials, webhook: &Webhook) -> Transmission {
    let origin = Origin {
        topic: "test".into(),
        partition: Partition(0),
        offset: Offset(0),
        timestamp: Timestamp::from_millis(0),
    };
    let event = Event {
        id: EventId::new("test-01J").unwrap(),
        origin,
        event_type: EventType::TrackingUpdate,
        account: AccountId::default(),
        facts: Facts::default(),
        key: None,
        headers: Vec::new(),
        body: Bytes::from_static(b"{\"code\":6}"),
    };
    trials.make(&event, webhook, Trigger::Test).await.0
}
