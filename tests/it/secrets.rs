//! No secret is shown anywhere, also by endpoints that say back all they were told.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postrider_tests::contract::sample;
use postrider_tests::{Behaviour, Daemon, Hostile, Scene, Sent, Topic, binary};
use serde_json::{Value, json};

use crate::delivery::webhook;

/// A secret of its own for each place that takes one; the last is base64, as signing secrets are.
fn planted(place: &str) -> String {
    format!("planted-{place}-secret-0123456789")
}

fn signing(place: &str) -> String {
    STANDARD.encode(format!("{:->32}", planted(place)))
}

/// A signing secret of ed25519: 64 bytes, or the seed of 32.
fn seed(place: &str) -> String {
    let text = planted(place);
    STANDARD.encode(&text.as_bytes()[..32])
}

fn key(byte: u8) -> String {
    STANDARD.encode([byte; 32])
}

fn basic(place: &str) -> String {
    STANDARD.encode(format!("merchant:{}", planted(place)))
}

/// Everything of a topic as text, with what makes its records up.
async fn text_of(topic: &Topic) -> Result<String> {
    let records = topic.read_uncommitted().await?;
    let text = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let all = records.iter().map(|record| {
        let headers = record
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {:?}", text(value)));
        format!(
            "{:?} {:?} {:?}",
            text(&record.key),
            text(&record.value),
            headers.collect::<Vec<_>>()
        )
    });
    Ok(all.collect::<Vec<_>>().join("\n"))
}

async fn reflecting() -> Result<Hostile> {
    let reflects = Behaviour::all()
        .into_iter()
        .find(|behaviour| behaviour.name == "reflects");
    Hostile::start(reflects.context("one reflects")?).await
}

/// Webhooks of the file: secrets of a file, of the environment, and of the document itself.
fn of_the_file(scene: &Scene, url: &str) -> Result<Vec<Value>> {
    let file = scene.folder().join("password");
    std::fs::write(&file, planted("file-password"))?;
    let mut hmac = webhook(
        "wh_hmac",
        format!("{url}?token={}", planted("query")),
        &["tracking_update"],
    );
    hmac["auth"] = json!({ "username": "merchant", "password": format!("${{file:{}}}", file.display()) });
    hmac["header"] = json!({ "name": "x-api-key", "value": format!("Bearer {}", planted("bearer-word")) });
    hmac["signing"] = json!({
        "secret": format!("whsec_{}", signing("file-signing")),
        "previous": { "secret": format!("whsec_{}", signing("file-previous")), "expires_at": "2999-01-01T00:00:00Z" },
    });
    let mut ed25519 = webhook("wh_ed25519", url.to_owned(), &["tracking_update"]);
    ed25519["auth"] = json!({ "username": "merchant", "password": planted("ed25519-password") });
    ed25519["header"] = json!({ "name": "x-token", "value": planted("ed25519-header") });
    ed25519["signing"] = json!({ "secret": format!("whsk_{}", seed("ed25519-signing")) });
    let mut hooks = vec![hmac, ed25519];
    for hook in &mut hooks {
        hook["retry"] = json!({ "max_retries": 1 });
    }
    Ok(hooks)
}

fn configure(scene: &mut Scene, url: &str) -> Result<()> {
    let hooks = of_the_file(scene, url)?;
    scene.webhooks(hooks);
    let keys = scene.folder().join("keys");
    std::fs::write(&keys, [key(7), key(8)].join("\n"))?;
    scene.config["secrets"]["key_file"] = json!(keys);
    scene.config["routing"]["max_webhooks_per_account"] = json!(0);
    scene.config["telemetry"]["log"] = json!("trace");
    scene.config["kafka"]["properties"] =
        json!({ "sasl.password": planted("sasl-password"), "ssl.key.password": planted("ssl-key-password") });
    scene.config["admin"]["tokens"] = json!([{ "name": "test", "token": planted("admin-token"), "access": "write" }]);
    Ok(())
}

async fn ask(daemon: &Daemon, shown: &mut Vec<String>, question: (&str, &str), body: Option<Value>) -> Result<Value> {
    let (method, path) = question;
    let (status, answer) = daemon.api(method, path, body.as_ref()).await?;
    ensure!(status != 401, "{method} {path}: {answer}");
    shown.push(answer.to_string());
    Ok(answer)
}

/// One life of a managed webhook; what of its answers is not to be shown again is returned.
async fn manage(daemon: &Daemon, url: &str, shown: &mut Vec<String>) -> Result<Vec<String>> {
    let document = json!({
        "url": url,
        "events": ["tracking_update"],
        "auth": { "username": "merchant", "password": planted("added-password") },
        "header": { "name": "x-api-key", "value": planted("added-header") },
        "signing": { "secret": format!("whsec_{}", signing("added-signing")) },
        "retry": { "max_retries": 1 },
    });
    let added = ask(daemon, shown, ("POST", "/webhooks"), Some(document)).await?;
    let path = format!("/webhooks/{}", added["id"].as_str().context("it is added")?);
    let with = |place: &str, retries: u8| {
        let auth = json!({ "username": "merchant", "password": planted(place) });
        Some(json!({ "auth": auth, "retry": { "max_retries": retries } }))
    };
    ask(daemon, shown, ("PATCH", &path), with("refused-password", 11)).await?;
    ask(daemon, shown, ("PATCH", &path), with("edited-password", 1)).await?;
    let (_, rotated) = daemon.api("POST", &format!("{path}/rotate-secret"), None).await?;
    let made = rotated["signing"]["secret"]
        .as_str()
        .context("it is shown once")?
        .to_owned();
    ask(daemon, shown, ("POST", &format!("{path}/test")), None).await?;
    let private_key = with_a_certificate(daemon, shown).await?;
    ask(daemon, shown, ("GET", "/webhooks"), None).await?;
    ask(daemon, shown, ("GET", &path), None).await?;
    Ok([vec![made.trim_start_matches("whsec_").to_owned()], private_key].concat())
}

/// A webhook that has a client certificate, at a port where nobody listens; returns the lines of its private key.
async fn with_a_certificate(daemon: &Daemon, shown: &mut Vec<String>) -> Result<Vec<String>> {
    let made = rcgen::generate_simple_self_signed(["postrider".to_owned()])?;
    let key = made.signing_key.serialize_pem();
    let document = json!({
        "url": "https://127.0.0.1:1/",
        "events": ["order_error"],
        "tls": { "certificate": made.cert.pem(), "key": key },
    });
    let added = ask(daemon, shown, ("POST", "/webhooks"), Some(document)).await?;
    ensure!(added["tls"]["key"] == "********", "{added}");
    let whole = |line: &&str| line.len() == 64 && !line.starts_with('-');
    Ok(key.lines().filter(whole).map(str::to_owned).collect())
}

fn everything_planted() -> Vec<String> {
    let plain = [
        "file-password",
        "bearer-word",
        "query",
        "ed25519-password",
        "ed25519-header",
        "added-password",
        "added-header",
        "refused-password",
        "edited-password",
        "sasl-password",
        "ssl-key-password",
        "admin-token",
    ]
    .map(planted);
    let tokens = ["file-password", "ed25519-password", "added-password", "edited-password"].map(basic);
    let signing = ["file-signing", "file-previous", "added-signing"].map(signing);
    let keys = [seed("ed25519-signing"), key(7), key(8)];
    [&plain[..], &tokens, &signing, &keys].concat()
}

#[tokio::test]
async fn planted_secrets_are_nowhere_to_be_found() -> Result<()> {
    let endpoint = reflecting().await?;
    let mut scene = Scene::new("secrets").await?;
    configure(&mut scene, &endpoint.url())?;
    let mut daemon = scene.start().await?;
    daemon.authorize(&planted("admin-token"));
    let mut shown = Vec::new();
    let made = manage(&daemon, &endpoint.url(), &mut shown).await?;
    scene
        .topic("tracking")
        .produce([Sent::value(sample("tracking_update"))])
        .await?;
    let config = scene.write_config()?.display().to_string();
    shown.push(format!(
        "{:?}",
        binary::run(&["check-config", "--config", &config]).await?
    ));
    let told = shown.len();
    // Two first connections, a Test, and two attempts for each of three webhooks.
    let outcomes = scene.outcomes(9).await?;
    let echoed = outcomes.iter().filter_map(|outcome| outcome.response.as_ref());
    assert_eq!(
        echoed.filter(|response| response.body.contains("POST /hook")).count(),
        8,
        "each endpoint said back what it was told"
    );
    scene.dead_letters(3).await?;
    for topic in [
        "webhooks",
        "results",
        "notices",
        "pending",
        "dead-letters",
        "retry.500ms",
    ] {
        shown.push(text_of(&scene.topic(topic)).await?);
    }
    shown.push(daemon.get("/metrics").await?.1);
    shown.push(daemon.get("/readyz").await?.1);
    shown.push(daemon.command_line()?);
    daemon.stop().await?;
    assert!(
        daemon.log().iter().any(|line| line.contains("\"TRACE\"")),
        "the log is at trace"
    );
    shown.push(daemon.log().join("\n"));

    let secrets = [everything_planted(), made].concat();
    assert!(secrets.len() >= 20);
    for secret in &secrets {
        // Whoever may see a webhook sees its URL, so the answers before it are not searched for its query.
        let first = if *secret == planted("query") { told } else { 0 };
        for text in &shown[first..] {
            let at = text.find(secret).map(|at| &text[at.saturating_sub(300)..at]);
            assert_eq!(at, None, "{secret} is shown");
        }
    }
    eprintln!("{} secrets in {} texts: none is shown", secrets.len(), shown.len());
    Ok(())
}
