//! The API behind TLS: its certificate has to lead to an authority of the system.

use std::sync::Arc;

use rcgen::CertifiedKey;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::fake::{file, postrider, stderr, stdout};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n\r\n{\"items\": []}";

/// Its address, its certificate, and what keeps it going.
fn api() -> (String, String, Runtime) {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let config = config
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    let config = config.with_single_cert(vec![cert.der().clone()], key).unwrap();
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust the certificate breaks off.
            let _ = answer(&acceptor, stream).await;
        }
    });
    (format!("https://localhost:{port}"), cert.pem(), runtime)
}

async fn answer(acceptor: &TlsAcceptor, stream: TcpStream) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    // The head of a request is longer than this.
    stream.read_exact(&mut [0; 32]).await?;
    stream.write_all(ANSWER).await?;
    stream.shutdown().await
}

#[test]
fn an_api_whose_certificate_is_trusted_is_spoken_to_and_another_is_not() {
    let (address, certificate, _runtime) = api();
    let (_dir, authorities) = file(&certificate);
    let list = || postrider(&["webhooks", "list", "--api", &address]);
    let trusted = list().env("SSL_CERT_FILE", authorities).output().unwrap();
    assert_eq!(stdout(&trusted), "no webhooks\n", "{}", stderr(&trusted));
    let unknown = list().output().unwrap();
    assert_eq!(unknown.status.code(), Some(69));
    assert!(
        stderr(&unknown).contains("invalid peer certificate"),
        "{}",
        stderr(&unknown)
    );
}
