//! The address that is dialled is the address that was checked, on every way that dials.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postrider_tests::contract::sample;
use postrider_tests::dns::{NameServer, Says};
use postrider_tests::patience::PATIENCE;
use postrider_tests::{Behaviour, Daemon, Hostile, Receiver, Scene, Sent};
use postrider_types::{ErrorKind, Outcome, OutcomeResult};
use serde_json::{Value, json};

use crate::delivery::webhook;

/// How often a name changes its mind.
const REBINDINGS: usize = 20;

/// One event for a name that resolves to loopback.
async fn delivered(scene: &mut Scene, receiver: &Receiver, names: &NameServer) -> Result<Outcome> {
    scene.config["egress"]["dns"] = json!([names.address()]);
    let url = format!("http://merchant.example:{}/hook", receiver.address().port());
    scene.webhooks([webhook("wh_1", url, &["tracking_update"])]);
    let _daemon = scene.start().await?;
    scene
        .topic("tracking")
        .produce([Sent::value(sample("tracking_update"))])
        .await?;
    let mut outcomes = scene.outcomes(1).await?;
    assert_eq!(outcomes.len(), 1);
    assert!(
        names.asked().contains(&"merchant.example".to_owned()),
        "{:?}",
        names.asked()
    );
    outcomes.pop().context("one outcome")
}

#[tokio::test]
async fn a_name_with_a_forbidden_address_is_never_dialled() -> Result<()> {
    let (receiver, names) = (Receiver::start().await?, NameServer::start().await?);
    let mut scene = Scene::new("egress").await?;
    scene.config["egress"]["allow"] = json!([]);
    let outcome = delivered(&mut scene, &receiver, &names).await?;
    assert_eq!((outcome.result, outcome.status_code), (OutcomeResult::Failed, None));
    let error = outcome.error.context("it says why")?;
    assert_eq!(error.kind, ErrorKind::BlockedAddress);
    assert!(
        !error.message.contains("127.0.0.1"),
        "the address is not told: {}",
        error.message
    );
    assert_eq!(receiver.requests("/hook").len(), 0);
    assert_eq!(scene.dead_letters(1).await?[0].reason(), "blocked_address");
    Ok(())
}

#[tokio::test]
async fn an_allowed_network_is_dialled_and_the_name_stays_the_host() -> Result<()> {
    let (receiver, names) = (Receiver::start().await?, NameServer::start().await?);
    let mut scene = Scene::new("egress").await?;
    let outcome = delivered(&mut scene, &receiver, &names).await?;
    assert_eq!(outcome.result, OutcomeResult::Success);
    let host = format!("merchant.example:{}", receiver.address().port());
    assert_eq!(receiver.requests("/hook")[0].header("host"), host);
    Ok(())
}

/// A listener that must see nobody, behind 127.0.0.1.
async fn forbidden() -> Result<(Hostile, u16)> {
    let any = Behaviour::all().pop().context("some behaviour")?;
    let listener = Hostile::start(any).await?;
    let port = listener
        .url()
        .rsplit(':')
        .next()
        .and_then(|rest| rest.split('/').next()?.parse().ok());
    Ok((listener, port.context("a port")?))
}

/// Spellings of loopback, of what reaches it, and of cloud metadata.
fn spellings(port: u16) -> Vec<String> {
    [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "127.0.0.001",
        "0",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "x.localhost",
        "ip6-localhost",
        "１２７.0.0.1",
        "ⓛocalhost",
        "%31%32%37.0.0.1",
        "user@127.0.0.1",
        "merchant.example@127.0.0.1",
        "127.0.0.1\\@merchant.example",
        "169.254.169.254",
        "2852039166",
        "[fd00:ec2::254]",
        "168.63.129.16",
    ]
    .map(|host| format!("http://{host}:{port}/"))
    .to_vec()
}

async fn refused(daemon: &Daemon, method: &str, path: &str, url: &str) -> Result<()> {
    let mut document = json!({ "url": url });
    if method == "POST" {
        document["events"] = json!(["tracking_update"]);
    }
    let (status, answer) = daemon.api(method, path, Some(&document)).await?;
    let named = answer["errors"][0]["path"] == "url";
    ensure!(status == 422 && named, "{method} of {url}: {status} {answer}");
    Ok(())
}

#[tokio::test]
async fn every_way_that_dials_refuses_every_spelling_of_a_forbidden_address() -> Result<()> {
    let (listener, port) = forbidden().await?;
    let names = NameServer::start().await?;
    let mut scene = Scene::new("egress").await?;
    scene.config["egress"] = json!({ "allow": [], "dns": [names.address()] });
    scene.config["routing"]["max_webhooks_per_account"] = json!(0);
    let daemon = scene.start().await?;

    // Names are judged when they are dialled: by the first connection, by a Test, and by deliveries.
    let url = format!("http://merchant.example:{port}/");
    let document = json!({ "url": url, "events": ["tracking_update"] });
    let (status, added) = daemon.api("POST", "/webhooks", Some(&document)).await?;
    ensure!(
        status == 201 && added["first_connection"]["passed"] == false,
        "{status} {added}"
    );
    let path = format!("/webhooks/{}", added["id"].as_str().unwrap_or_default());
    let (status, tested) = daemon.api("POST", &format!("{path}/test"), None).await?;
    ensure!(
        status == 200 && tested["passed"] == false && tested["hint"].is_string(),
        "{tested}"
    );
    scene
        .topic("tracking")
        .produce([Sent::value(sample("tracking_update"))])
        .await?;
    let outcomes = scene.outcomes(3).await?;
    let kinds = outcomes.iter().filter_map(|outcome| Some(outcome.error.as_ref()?.kind));
    assert_eq!(kinds.collect::<Vec<_>>(), [ErrorKind::BlockedAddress; 3]);

    for url in spellings(port) {
        refused(&daemon, "POST", "/webhooks", &url).await?;
        refused(&daemon, "PATCH", &path, &url).await?;
    }
    let shown = format!("{added} {tested} {outcomes:?}");
    assert!(
        !shown.contains("127.0.0.1\""),
        "what a name resolves to is not told: {shown}"
    );
    assert_eq!(listener.accepted(), 0);
    Ok(())
}

#[tokio::test]
async fn a_configured_webhook_of_a_forbidden_address_is_named_before_anything_runs() -> Result<()> {
    let (listener, port) = forbidden().await?;
    let mut scene = Scene::new("egress").await?;
    scene.config["egress"]["allow"] = json!([]);
    let url = format!("http://127.0.0.1:{port}/");
    scene.webhooks([webhook("wh_1", url, &["tracking_update"])]);
    let refused = scene.start().await.err().context("it does not start")?;
    assert!(
        format!("{refused:#}").contains("routing.webhooks[0].url"),
        "{refused:#}"
    );
    assert_eq!(listener.accepted(), 0);
    Ok(())
}

fn hook(name: &str, port: u16) -> Value {
    let mut hook = webhook(
        name.split('.').next().unwrap_or_default(),
        format!("http://{name}:{port}/hook"),
        &["tracking_update"],
    );
    hook["retry"] = json!({ "enabled": false });
    hook
}

/// 127.0.0.2 stands for a public address here, and 127.0.0.1 for a forbidden one.
#[tokio::test]
async fn a_name_that_changes_its_mind_is_judged_at_every_connection() -> Result<()> {
    const GOOD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
    let (listener, port) = forbidden().await?;
    let names = NameServer::start().await?;
    let turns = [Says::Addresses(vec![GOOD]), Says::Addresses(vec![Ipv4Addr::LOCALHOST])];
    names.say("rebinding.example", turns.into_iter().cycle().take(2 * REBINDINGS));
    let mut scene = Scene::new("rebinding").await?;
    scene.config["egress"] = json!({ "allow": ["127.0.0.2/32"], "dns": [names.address()] });
    scene.config["delivery"]["circuit"]["failures"] = json!(1_000_000);
    scene.webhooks([hook("rebinding.example", port)]);
    let _daemon = scene.start().await?;
    let topic = scene.topic("tracking");
    for turn in 1..=2 * REBINDINGS {
        topic.produce([Sent::value(sample("tracking_update"))]).await?;
        let outcomes = scene.outcomes(turn).await?;
        ensure!(outcomes.len() == turn, "{outcomes:?}");
    }
    let outcomes = scene.outcomes(2 * REBINDINGS).await?;
    let of_kind = |kind| {
        let errors = outcomes.iter().filter_map(|outcome| outcome.error.as_ref());
        errors.filter(|error| error.kind == kind).count()
    };
    // Nobody listens at the good one.
    assert_eq!(
        (of_kind(ErrorKind::ConnectRefused), of_kind(ErrorKind::BlockedAddress)),
        (REBINDINGS, REBINDINGS)
    );
    assert_eq!(listener.accepted(), 0);
    Ok(())
}

#[tokio::test]
async fn one_forbidden_answer_refuses_the_name_and_bad_name_servers_only_fail() -> Result<()> {
    const GOOD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
    const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
    let (listener, port) = forbidden().await?;
    let names = NameServer::start().await?;
    let inside = Ipv4Addr::LOCALHOST;
    names.say("mixed.example", [Says::Addresses(vec![GOOD, inside])]);
    names.say("mixed-metadata.example", [Says::Addresses(vec![METADATA, GOOD])]);
    names.say(
        "alias.example",
        [Says::Alias("metadata.google.internal".into(), METADATA)],
    );
    names.say("alias-inside.example", [Says::Alias("other.example".into(), inside)]);
    names.say("late.example", [Says::Late(Duration::from_secs(30), GOOD)]);
    names.say("silent.example", [Says::Nothing]);
    names.say("empty.example", [Says::Addresses(Vec::new())]);
    let expected = [
        ("mixed.example", ErrorKind::BlockedAddress),
        ("mixed-metadata.example", ErrorKind::BlockedAddress),
        ("alias.example", ErrorKind::BlockedAddress),
        ("alias-inside.example", ErrorKind::BlockedAddress),
        ("late.example", ErrorKind::Dns),
        ("silent.example", ErrorKind::Dns),
        ("empty.example", ErrorKind::Dns),
    ];
    let mut scene = Scene::new("names").await?;
    scene.config["egress"] = json!({ "allow": ["127.0.0.2/32"], "dns": [names.address()] });
    scene.webhooks(expected.iter().map(|(name, _)| hook(name, port)));
    let _daemon = scene.start().await?;
    scene
        .topic("tracking")
        .produce([Sent::value(sample("tracking_update"))])
        .await?;
    let outcomes = scene.outcomes(expected.len()).await?;
    for (name, kind) in expected {
        let of = |outcome: &&Outcome| outcome.endpoint.contains(&format!("//{name}:"));
        let outcome = outcomes.iter().find(of).context(name)?;
        assert_eq!(outcome.error.as_ref().map(|error| error.kind), Some(kind), "{name}");
        let spent = outcome.time_spent_ms.unwrap_or_default();
        assert!(spent < PATIENCE.as_secs_f64() * 100.0, "{name} took {spent} ms");
    }
    assert_eq!(listener.accepted(), 0);
    Ok(())
}
