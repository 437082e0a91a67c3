//! Webhooks that merchants manage: what one instance is told every instance knows, it stays, and it shows no secret.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postrider_tests::contract::sample;
use postrider_tests::patience::{PATIENCE, until};
use postrider_tests::{Answer, Daemon, Receiver, Scene, Sent, Topic};
use postrider_types::{OutcomeResult, Trigger};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

async fn add(daemon: &Daemon, document: &Value) -> Result<Value> {
    let (status, answer) = daemon.api("POST", "/webhooks", Some(document)).await?;
    ensure!(status == 201, "{status}: {answer}");
    Ok(answer)
}

fn id(webhook: &Value) -> &str {
    webhook["id"].as_str().unwrap_or_default()
}

fn hook(url: &str) -> Value {
    json!({ "url": url, "events": ["tracking_update"] })
}

async fn scene() -> Result<Scene> {
    let mut scene = Scene::new("webhooks").await?;
    scene.config["routing"]["max_webhooks_per_account"] = json!(0);
    Ok(scene)
}

#[tokio::test]
async fn what_is_added_on_one_instance_gets_its_events_from_another_within_a_second() -> Result<()> {
    let receiver = Receiver::start().await?;
    let scene = scene().await?;
    scene.create_topics().await?;
    let adding = Daemon::start(&scene.write_instance("a")?).await?;
    let delivering = Daemon::start(&scene.write_instance("b")?).await?;
    // A machine may be busy at any one: the soonest of a few is what it takes.
    let mut soonest = [PATIENCE; 2];
    for _ in 0..5 {
        let [known, gone] = spread(&adding, &delivering, &receiver, &scene).await?;
        soonest = [soonest[0].min(known), soonest[1].min(gone)];
    }
    assert!(soonest.iter().all(|time| *time < Duration::from_secs(1)), "{soonest:?}");
    Ok(())
}

/// Adds a webhook on one instance, has its events delivered, and cancels it on the other: how long each took to know
/// what the other did.
async fn spread(adding: &Daemon, other: &Daemon, receiver: &Receiver, scene: &Scene) -> Result<[Duration; 2]> {
    let webhook = add(adding, &hook(&receiver.url("/hook"))).await?;
    let added = Instant::now();
    let path = format!("/webhooks/{}", id(&webhook));
    let known = || async { Ok((other.api("GET", &path, None).await?.0 == 200).then(|| added.elapsed())) };
    let known = until("the other instance to know it", PATIENCE, known).await?;
    let before = receiver.requests("/hook").len();
    let events = (0..6).map(|partition| Sent::value(sample("tracking_update")).partition(partition % 3));
    scene.topic("tracking").produce(events).await?;
    receiver.wait_for("/hook", before + 6).await?;
    let (status, _) = other.api("DELETE", &path, None).await?;
    assert_eq!(status, 200);
    let cancelled = Instant::now();
    let is_gone = |answer: &Value| (answer["status"] == "cancelled").then(|| cancelled.elapsed());
    let gone = || async { Ok(is_gone(&adding.api("GET", &path, None).await?.1)) };
    let gone = until("the first instance to know it", PATIENCE, gone).await?;
    Ok([known, gone])
}

/// `WEBHOOK_RACES=200` makes it as long as it once was run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_adds_at_once_on_two_instances_never_exceed_the_limit() -> Result<()> {
    let races: usize = std::env::var("WEBHOOK_RACES").map_or(Ok(10), |races| races.parse())?;
    let receiver = Receiver::start().await?;
    let mut scene = scene().await?;
    scene.config["routing"]["max_webhooks_per_account"] = json!(3);
    scene.create_topics().await?;
    let one = Daemon::start(&scene.write_instance("a")?).await?;
    let other = Daemon::start(&scene.write_instance("b")?).await?;
    let mut refused = 0;
    for race in 0..races {
        let mut document = hook(&receiver.url("/hook"));
        document["account_id"] = json!(format!("shop-{race}"));
        add(&one, &document).await?;
        add(&other, &document).await?;
        let (left, right) = tokio::join!(
            one.api("POST", "/webhooks", Some(&document)),
            other.api("POST", "/webhooks", Some(&document))
        );
        let mut statuses = [left?.0, right?.0];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409], "race {race}");
        refused += 1;
        let path = format!("/webhooks?account=shop-{race}");
        for instance in [&one, &other] {
            let three = || async {
                let (_, answer) = instance.api("GET", &path, None).await?;
                let count = answer["items"].as_array().map_or(0, Vec::len);
                ensure!(count <= 3, "{count} webhooks in race {race}");
                Ok((count == 3).then_some(()))
            };
            until("three webhooks", PATIENCE, three).await?;
        }
    }
    eprintln!("{races} races at the limit on two instances: {refused} refused, never a fourth webhook");
    Ok(())
}

async fn state(daemon: &Daemon) -> Result<BTreeMap<String, Value>> {
    let (status, answer) = daemon.api("GET", "/webhooks?limit=1000", None).await?;
    ensure!(status == 200, "{status}: {answer}");
    let items = answer["items"].as_array().context("a list")?.clone();
    Ok(items.into_iter().map(|item| (id(&item).to_owned(), item)).collect())
}

async fn expect(daemon: &Daemon, method: &str, path: &str, body: Option<Value>, status: u16) -> Result<Value> {
    let (came, answer) = daemon.api(method, path, body.as_ref()).await?;
    ensure!(came == status, "{method} {path}: {came} {answer}");
    Ok(answer)
}

#[tokio::test]
async fn after_every_change_a_restart_and_compaction_find_the_same_webhooks() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut scene = scene().await?;
    scene.config["secrets"]["key_file"] = json!(key_file(&scene, &[7])?);
    let mut daemon = scene.start().await?;
    let topic = scene.topic("webhooks");
    let kept = id(&add(&daemon, &hook(&receiver.url("/kept"))).await?).to_owned();
    let mut with_secret = hook(&receiver.url("/gone"));
    with_secret["auth"] = json!({ "username": "u", "password": "hunter2" });
    let gone = id(&add(&daemon, &with_secret).await?).to_owned();
    let path = |id: &str, rest: &str| format!("/webhooks/{id}{rest}");
    let changes = [
        (
            "PATCH",
            path(&kept, ""),
            Some(json!({ "description": "ours", "retry": { "max_retries": 2 } })),
            200,
        ),
        ("POST", path(&kept, "/disable"), None, 200),
        ("POST", path(&kept, "/enable"), None, 200),
        ("DELETE", path(&gone, ""), None, 200),
        ("DELETE", path(&gone, "?purge=true"), None, 204),
    ];
    for (method, path, body, status) in changes {
        expect(&daemon, method, &path, body, status).await?;
        let before = state(&daemon).await?;
        assert!(daemon.stop().await?.success());
        daemon = Daemon::start(&scene.write_config()?).await?;
        assert_eq!(state(&daemon).await?, before, "after {method} {path} and a restart");
    }
    let before = state(&daemon).await?;
    assert_eq!((before.len(), before[&kept]["version"].as_u64()), (1, Some(4)));
    compacted(&topic).await?;
    assert!(daemon.stop().await?.success());
    let daemon = Daemon::start(&scene.write_config()?).await?;
    assert_eq!(state(&daemon).await?, before, "after compaction");
    Ok(())
}

#[tokio::test]
async fn a_webhook_of_the_file_that_answered_410_is_enabled_again_for_good() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.answer("/hook", [Answer::status(410), Answer::ok()]);
    let mut scene = scene().await?;
    let mut of_file = hook(&receiver.url("/hook"));
    of_file["id"] = json!("wh_file");
    scene.webhooks([of_file]);
    let mut daemon = scene.start().await?;
    let topic = scene.topic("tracking");
    topic.produce([Sent::value(sample("tracking_update"))]).await?;
    let (path, enable) = ("/webhooks/wh_file", "/webhooks/wh_file/enable");
    let disabled = || async { Ok((daemon.api("GET", path, None).await?.1["status"] == "disabled").then_some(())) };
    until("the webhook to be disabled", PATIENCE, disabled).await?;

    let enabled = expect(&daemon, "POST", enable, None, 200).await?;
    assert_eq!(
        (enabled["status"].as_str(), enabled["origin"].as_str()),
        (Some("active"), Some("file"))
    );
    assert!(daemon.stop().await?.success());
    let daemon = Daemon::start(&scene.write_config()?).await?;
    assert_eq!(expect(&daemon, "GET", path, None, 200).await?["status"], "active");
    topic.produce([Sent::value(sample("tracking_update"))]).await?;
    let outcomes = scene.outcomes(2).await?;
    assert_eq!(
        outcomes
            .iter()
            .filter(|outcome| outcome.result == OutcomeResult::Success)
            .count(),
        1
    );
    Ok(())
}

/// What `postrider_webhook_pending` shows for a webhook, if it has a series of its own.
async fn pending(daemon: &Daemon, id: &str) -> Result<Option<String>> {
    let (_, text) = daemon.get("/metrics").await?;
    let series = format!("postrider_webhook_pending{{webhook=\"{id}\"}} ");
    Ok(text
        .lines()
        .find_map(|line| line.strip_prefix(&series))
        .map(str::to_owned))
}

#[tokio::test]
async fn what_waits_for_a_webhook_is_shown_until_it_is_removed_and_nothing_waits() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.answer("/down", [Answer::status(503)]);
    receiver.answer("/mended", [Answer::ok(), Answer::status(503), Answer::ok()]);
    let mut scene = scene().await?;
    scene.config["delivery"]["retry"] = json!({ "initial": "8s", "multiplier": 1, "jitter": 0 });
    let daemon = scene.start().await?;
    let down = id(&add(&daemon, &hook(&receiver.url("/down"))).await?).to_owned();
    let mended = id(&add(&daemon, &hook(&receiver.url("/mended"))).await?).to_owned();
    let topic = scene.topic("tracking");
    topic.produce([Sent::value(sample("tracking_update"))]).await?;
    let shows = |id: &str, wanted: Option<&'static str>| {
        let (daemon, id) = (&daemon, id.to_owned());
        until("what waits to be shown", PATIENCE, move || {
            let id = id.clone();
            async move { Ok((pending(daemon, &id).await?.as_deref() == wanted).then_some(())) }
        })
    };
    let removed = async |id: &str| {
        for (query, status) in [("", 200), ("?purge=true", 204)] {
            expect(&daemon, "DELETE", &format!("/webhooks/{id}{query}"), None, status).await?;
        }
        anyhow::Ok(())
    };
    shows(&down, Some("1")).await?;
    shows(&mended, Some("1")).await?;
    removed(&down).await?;
    assert_eq!(pending(&daemon, &down).await?.as_deref(), Some("1"), "it waits still");
    shows(&down, None).await?;
    shows(&mended, Some("0")).await?;
    removed(&mended).await?;
    shows(&mended, None).await?;
    Ok(())
}

/// Waits until the cleaner has left one record to a key.
async fn compacted(topic: &Topic) -> Result<()> {
    let admin = postrider_tests::Broker::shared().await?;
    for setting in [
        "segment.ms=100",
        "min.cleanable.dirty.ratio=0.001",
        "max.compaction.lag.ms=100",
        "delete.retention.ms=0",
    ] {
        admin.ask(&["topic-set", topic.name(), setting]).await?;
    }
    let ask = || async {
        // The active segment is never cleaned: a record of nobody closes it.
        topic.produce([Sent::value("{}").key("nobody")]).await?;
        let records = topic.read().await?;
        let mut keys: Vec<_> = records
            .iter()
            .map(|record| record.key.clone())
            .filter(|key| key.as_deref() != Some(b"nobody"))
            .collect();
        let all = keys.len();
        keys.sort();
        keys.dedup();
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok((keys.len() == all).then_some(()))
    };
    until("compaction", PATIENCE, ask).await
}

fn key_file(scene: &Scene, bytes: &[u8]) -> Result<String> {
    let path = scene.folder().join("keys");
    let lines: Vec<String> = bytes.iter().map(|byte| STANDARD.encode([*byte; 32])).collect();
    std::fs::write(&path, lines.join("\n"))?;
    Ok(path.display().to_string())
}

#[tokio::test]
async fn a_new_endpoint_is_sent_order_shipped_first_whatever_it_wants_and_is_added_even_so() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.answer("/failing", [Answer::status(500)]);
    let scene = scene().await?;
    let daemon = scene.start().await?;
    let good = add(&daemon, &hook(&receiver.url("/good"))).await?;
    assert_eq!(good["first_connection"]["passed"], true, "{good}");
    let bad = add(&daemon, &hook(&receiver.url("/failing"))).await?;
    let first = &bad["first_connection"];
    assert_eq!(
        first["message"],
        "HTTP response code is 500, it must be 200. Please Retry!"
    );
    assert!(first["passed"] == false && first["hint"].is_string());
    for path in ["/good", "/failing"] {
        let requests = receiver.requests(path);
        assert_eq!(requests.len(), 1, "one attempt");
        assert_eq!(requests[0].header("x-postrider-event"), "order_shipped");
        assert_eq!(requests[0].body, sample("order_shipped"));
    }
    let path = format!("/webhooks/{}", id(&good));
    expect(
        &daemon,
        "PATCH",
        &path,
        Some(json!({ "description": "same endpoint" })),
        200,
    )
    .await?;
    let moved = expect(
        &daemon,
        "PATCH",
        &path,
        Some(json!({ "url": receiver.url("/moved") })),
        200,
    )
    .await?;
    assert_eq!(moved["first_connection"]["passed"], true);
    assert_eq!(
        (receiver.requests("/good").len(), receiver.requests("/moved").len()),
        (1, 1)
    );
    let outcomes = scene.outcomes(3).await?;
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome.trigger == Trigger::FirstConnection && outcome.source.is_none())
    );
    let failed = outcomes
        .iter()
        .filter(|outcome| outcome.result == OutcomeResult::Failed);
    assert_eq!((outcomes.len(), failed.count()), (3, 1));
    Ok(())
}

/// A server that says nothing and closes.
async fn silent() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // It may be gone already.
            let _ = stream.shutdown().await;
        }
    });
    Ok(url)
}

/// A server whose certificate nobody vouches for.
async fn self_signed() -> Result<String> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    let (listener, acceptor) = (
        TcpListener::bind("127.0.0.1:0").await?,
        TlsAcceptor::from(Arc::new(config)),
    );
    let url = format!("https://{}/", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // The client turns away.
            let _ = acceptor.accept(stream).await;
        }
    });
    Ok(url)
}

/// An endpoint, and what a Test tells of it: whether it passes, in which words, and whether a hint helps on.
type Endpoint = (String, bool, String, bool);

/// Endpoints of every kind. The message is a status, a text, or nothing where any words will do.
async fn endpoints(receiver: &Receiver) -> Result<Vec<Endpoint>> {
    const NO_JSON: &str = "HTTP response must be in JSON format. Please Retry";
    let pages = [
        ("/json", Answer::ok(), true, "", false),
        (
            "/html",
            Answer::page(200, "text/html", "<h1>ok</h1>"),
            false,
            NO_JSON,
            false,
        ),
        ("/204", Answer::page(204, "text/plain", ""), true, "", false),
        (
            "/302",
            Answer::page(302, "text/html", "").header("location", "/json"),
            false,
            "302",
            true,
        ),
        (
            "/403",
            Answer::page(403, "text/html", "CSRF verification failed"),
            false,
            "403",
            true,
        ),
        ("/500", Answer::status(500), false, "500", true),
    ];
    let mut all = Vec::new();
    for (path, answer, passed, message, hint) in pages {
        receiver.answer(path, [answer]);
        let message = match message.parse::<u16>() {
            Ok(code) => format!("HTTP response code is {code}, it must be 200. Please Retry!"),
            Err(_) => message.to_owned(),
        };
        all.push((receiver.url(path), passed, message, hint));
    }
    all.push((silent().await?, false, String::new(), false));
    all.push((self_signed().await?, false, String::new(), true));
    Ok(all)
}

#[tokio::test]
async fn a_test_tells_everything_transmitted_and_passes_only_with_json() -> Result<()> {
    let receiver = Receiver::start().await?;
    let scene = scene().await?;
    let daemon = scene.start().await?;
    for (url, passed, message, hint) in endpoints(&receiver).await? {
        let webhook = add(&daemon, &hook(&url)).await?;
        let path = format!("/webhooks/{}/test", id(&webhook));
        let told = expect(&daemon, "POST", &path, None, 200).await?;
        assert_eq!(told["passed"], passed, "{url}: {told}");
        assert!(message.is_empty() || told["message"] == message, "{url}: {told}");
        assert!(told["message"].as_str().is_some_and(|message| !message.is_empty()));
        assert_eq!(told["hint"].is_string(), hint, "{url}: {told}");
        let request = &told["request"];
        assert_eq!((&request["method"], &request["url"]), (&json!("POST"), &json!(url)));
        assert_eq!(
            request["body"].as_str().map(str::as_bytes),
            Some(&*sample("tracking_update"))
        );
        assert_eq!(request["headers"]["content-type"], "application/json");
        assert!(told["time_spent_ms"].is_number());
    }
    let outcomes = scene.outcomes(16).await?;
    let tests = outcomes.iter().filter(|outcome| outcome.trigger == Trigger::Test);
    assert_eq!(tests.count(), 8);
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome.event_id.as_str().starts_with("test-"))
    );
    assert_eq!(daemon.metric("postrider_circuits_open", &[]).await?, 0.0);
    Ok(())
}

#[tokio::test]
async fn a_blocked_address_is_refused_when_saved_and_named() -> Result<()> {
    let scene = scene().await?;
    let daemon = scene.start().await?;
    for url in [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest",
        "http://localhost:1/",
        "ftp://m.example/",
        "http://u:p@m.example/",
    ] {
        let (status, answer) = daemon.api("POST", "/webhooks", Some(&hook(url))).await?;
        assert_eq!(
            (status, &answer["errors"][0]["path"]),
            (422, &json!("url")),
            "{url}: {answer}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn without_a_key_secrets_are_refused_and_say_what_to_do_and_keys_can_be_changed() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut scene = scene().await?;
    let daemon = scene.start().await?;
    let mut document = hook(&receiver.url("/hook"));
    document["auth"] = json!({ "username": "u", "password": "hunter2" });
    let refused = expect(&daemon, "POST", "/webhooks", Some(document.clone()), 422).await?;
    assert_eq!(refused["errors"][0]["path"], "auth.password");
    assert!(
        refused["errors"][0]["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("secrets.key_file"))
    );
    drop(daemon);

    scene.config["secrets"]["key_file"] = json!(key_file(&scene, &[1])?);
    let daemon = scene.start().await?;
    let added = add(&daemon, &document).await?;
    key_file(&scene, &[2, 1])?;
    let resealed = expect(&daemon, "POST", "/secrets/rotate", None, 200).await?;
    assert_eq!(resealed, json!({ "resealed": 1 }));
    drop(daemon);
    // The first key is not needed any more.
    key_file(&scene, &[2])?;
    let daemon = scene.start().await?;
    let before = receiver.requests("/hook").len();
    expect(&daemon, "POST", &format!("/webhooks/{}/test", id(&added)), None, 200).await?;
    let request = &receiver.requests("/hook")[before];
    assert_eq!(
        request.header("authorization"),
        format!("Basic {}", STANDARD.encode("u:hunter2"))
    );
    Ok(())
}
