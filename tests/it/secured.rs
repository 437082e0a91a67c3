//! A Kafka with TLS, passwords and ACLs: postrider does all its work with the rights that are documented, names the
//! one that is missing, and says why it is not let in.

use anyhow::{Context, Result, ensure};
use postrider_tests::contract::sample;
use postrider_tests::patience::{PATIENCE, until};
use postrider_tests::secured::Secured;
use postrider_tests::{Answer, Daemon, Receiver, Scene, Sent, binary};
use postrider_types::OutcomeResult;
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use serde_json::json;

use crate::delivery::webhook;

const USER: &str = "postrider";

/// A scene whose topics its administrator has made, for a user who has no rights yet.
async fn scene(secured: &Secured) -> Result<Scene> {
    let mut scene = Scene::on(secured.broker(), "secured").await?;
    scene.create_topics().await?;
    secured.admit(&mut scene, USER)?;
    Ok(scene)
}

async fn event(scene: &Scene) -> Result<()> {
    let event = Sent::value(sample("tracking_update"));
    scene.topic("tracking").produce([event]).await
}

#[tokio::test]
async fn with_exactly_the_documented_rights_everything_works_and_no_source_can_be_written_to() -> Result<()> {
    let secured = Secured::shared().await?;
    let receiver = Receiver::start().await?;
    receiver.answer("/hook", [Answer::status(503), Answer::ok()]);
    let mut scene = scene(secured).await?;
    scene.webhooks([webhook("wh_1", receiver.url("/hook"), &["tracking_update"])]);
    secured.allow(&scene, USER, "run").await?;

    let mut daemon = Daemon::start(&scene.write_config()?).await?;
    event(&scene).await?;
    let parked = scene.outcomes(2).await?;
    assert_eq!(
        parked.last().map(|outcome| outcome.result),
        Some(OutcomeResult::Success)
    );
    scene.topic("tracking").produce([Sent::value("no event")]).await?;
    scene.dead_letters(1).await?;

    let document = json!({ "url": receiver.url("/managed"), "events": ["tracking_update"] });
    let (status, added) = daemon.api("POST", "/webhooks", Some(&document)).await?;
    ensure!(status == 201, "{added}");
    scene.outcomes(3).await.context("the first connection's outcome")?;
    let path = format!("/webhooks/{}", added["id"].as_str().context("it is added")?);
    for verb in ["disable", "enable"] {
        assert_eq!(
            daemon.api("POST", &format!("{path}/{verb}"), None).await?.0,
            200,
            "{verb}"
        );
    }
    let notices = scene.topic("notices");
    notices.read_until(|records| records.len() >= 2).await?;

    assert!(daemon.stop().await?.success());
    shows_no_password(&daemon)?;
    assert_eq!(warnings(&daemon), [""; 0]);
    daemon.restart().await?;
    assert_eq!(daemon.api("GET", &path, None).await?.0, 200, "it was saved");
    event(&scene).await?;
    let outcomes = scene.outcomes(5).await?;
    assert_eq!(outcomes.len(), 5, "nothing was sent again");
    assert_eq!(receiver.requests("/hook").len(), 3);

    let before = scene.topic("tracking").count().await?;
    let refused = write_to(&scene, scene.topic("tracking").name()).await?;
    assert_eq!(refused, Some(RDKafkaErrorCode::TopicAuthorizationFailed));
    assert_eq!(scene.topic("tracking").count().await?, before);
    Ok(())
}

/// What it warned of; that tests leave the limit of connections to chance is none of this.
fn warnings(daemon: &Daemon) -> Vec<String> {
    let log = daemon.log().into_iter();
    log.filter(|line| line.contains("\"WARN\"") || line.contains("\"ERROR\""))
        .filter(|line| line.contains("Kafka") || line.contains("kafka"))
        .collect()
}

fn shows_no_password(daemon: &Daemon) -> Result<()> {
    let log = daemon.log().join("\n");
    for user in [USER, "late"] {
        assert!(!log.contains(Secured::password(user)?), "the password is in the log");
    }
    Ok(())
}

#[derive(Default)]
struct Answered(parking_lot::Mutex<Option<RDKafkaErrorCode>>);

impl ClientContext for Answered {}

impl ProducerContext for Answered {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        *self.0.lock() = result.as_ref().err().and_then(|(error, _)| error.rdkafka_error_code());
    }
}

/// What Kafka has against a record that is written with the daemon's own credentials.
async fn write_to(scene: &Scene, topic: &str) -> Result<Option<RDKafkaErrorCode>> {
    let mut config = ClientConfig::new();
    config.set(
        "bootstrap.servers",
        scene.config["kafka"]["brokers"].as_str().context("brokers")?,
    );
    for (name, value) in scene.config["kafka"]["properties"].as_object().context("properties")? {
        config.set(name, value.as_str().context("text")?);
    }
    config.set("sasl.password", Secured::password(USER)?);
    let topic = topic.to_owned();
    let written = tokio::task::spawn_blocking(move || -> Result<_> {
        let producer: BaseProducer<Answered> = config.create_with_context(Answered::default())?;
        let record = BaseRecord::<(), str>::to(&topic).payload("forged");
        producer.send(record).map_err(|(error, _)| error)?;
        producer.flush(PATIENCE)?;
        let answered = *producer.context().0.lock();
        Ok(answered)
    });
    written.await?
}

async fn readiness(daemon: &Daemon) -> Result<String> {
    Ok(daemon.get("/readyz").await?.1)
}

/// The rights of the daemon, one operation at a time: as Kafka's tool is told of it, and as the daemon names it. A topic
/// that is not to be seen any more is named with all that is needed on it. The quick form takes away the first ones;
/// `RIGHTS=all` all of them.
fn rights(scene: &Scene) -> Vec<(String, String)> {
    let topic = |short: &str| scene.topic(short).name().to_owned();
    let (retry, group) = (topic("retry."), scene.group());
    let on = |operation: &str, named: &str, short: &str| {
        let name = topic(short);
        (
            format!("--operation {operation} --topic {name}"),
            format!("{named} on topic {name}"),
        )
    };
    let on_retry = |operation: &str, named: &str| {
        let removed = format!("--operation {operation} --resource-pattern-type prefixed --topic {retry}");
        (removed, format!("{named} on topic {retry}500ms"))
    };
    let all = vec![
        on("Write", "WRITE", "notices"),
        on_retry("Delete", "DELETE"),
        (
            format!("--operation Read --group {group}"),
            format!("READ on consumer group {group}"),
        ),
        (
            format!("--operation Write --resource-pattern-type prefixed --transactional-id {group}."),
            format!("WRITE on transactional id {group}.webhooks"),
        ),
        on("Read", "READ", "pending"),
        on("Read", "READ", "tracking"),
        on("Read", "READ", "shipments"),
        on("Read", "READ", "webhooks"),
        on_retry("Read", "READ"),
        on("Write", "WRITE, DESCRIBE_CONFIGS", "results"),
        on("Write", "WRITE, DESCRIBE_CONFIGS", "dead-letters"),
        on("Write", "WRITE", "webhooks"),
        on("Write", "WRITE", "pending"),
        on_retry("Write", "WRITE"),
        on("DescribeConfigs", "DESCRIBE_CONFIGS", "results"),
        on("DescribeConfigs", "DESCRIBE_CONFIGS", "dead-letters"),
        on_retry("DescribeConfigs", "DESCRIBE_CONFIGS"),
    ];
    let quick = std::env::var("RIGHTS").as_deref() != Ok("all");
    all.into_iter().take(if quick { 5 } else { usize::MAX }).collect()
}

#[tokio::test]
async fn each_right_that_is_missing_is_named_and_once_it_is_given_the_daemon_goes_on() -> Result<()> {
    let secured = Secured::shared().await?;
    let scene = scene(secured).await?;
    let path = scene.write_config()?;
    let mut daemon = Daemon::spawn(&path).await?;
    let said = daemon.says("Kafka does not allow").await?;
    let group = format!("consumer group {}", scene.group());
    assert!(said.contains(&group), "all are named at once: {said}");
    secured.allow(&scene, USER, "run").await?;
    daemon.ready().await?;
    daemon.stop().await?;

    for (right, named) in rights(&scene) {
        let words: Vec<&str> = right.split(' ').collect();
        let principal = ["--allow-principal", "User:postrider"];
        secured
            .acl(&[&["--remove", "--force"], &principal[..], &words].concat())
            .await?;
        let mut daemon = Daemon::spawn(&path).await?;
        daemon
            .says(&format!("Kafka does not allow {named}; `postrider topics acls`"))
            .await?;
        assert!(readiness(&daemon).await?.contains(&named), "{named}");
        secured.acl(&[&["--add"], &principal[..], &words].concat()).await?;
        daemon.ready().await.context(named)?;
        daemon.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn looking_back_takes_rights_of_its_own_and_without_them_the_rest_works() -> Result<()> {
    let secured = Secured::shared().await?;
    let receiver = Receiver::start().await?;
    let mut scene = scene(secured).await?;
    scene.webhooks([webhook("wh_1", receiver.url("/hook"), &["tracking_update"])]);
    secured.allow(&scene, USER, "run").await?;
    let daemon = Daemon::start(&scene.write_config()?).await?;
    event(&scene).await?;
    scene.outcomes(1).await?;
    let explained = || daemon.api("GET", "/explain?subject=24957298", None);
    let (status, told) = explained().await?;
    assert_eq!(
        (status, &told["searched"]["is_complete"]),
        (200, &json!(false)),
        "{told}"
    );
    assert_eq!(
        told["searched"]["unread"],
        json!([scene.topic("results").name(), scene.topic("dead-letters").name()])
    );

    secured.allow(&scene, USER, "replay").await?;
    let (_, told) = explained().await?;
    assert_eq!(told["searched"]["is_complete"], true, "{told}");
    let ask = json!({ "from": "2020-01-01T00:00:00Z", "result": "any", "rate_per_second": 100 });
    // The topic is read as soon as it is looked for again.
    let replay = until("the replay to be taken", PATIENCE, || async {
        let (status, replay) = daemon.api("POST", "/replays", Some(&ask)).await?;
        Ok((status == 202).then_some(replay))
    })
    .await?;
    let path = format!("/replays/{}", replay["id"].as_str().context("an id")?);
    until("the replay to be done", PATIENCE * 2, || async {
        let (_, replay) = daemon.api("GET", &path, None).await?;
        Ok((replay["state"] == "done").then_some(()))
    })
    .await?;
    scene.outcomes(2).await.context("the event comes once more")?;
    Ok(())
}

#[tokio::test]
async fn making_and_checking_topics_takes_the_documented_rights() -> Result<()> {
    let secured = Secured::shared().await?;
    let mut scene = Scene::on(secured.broker(), "operator").await?;
    secured.admit(&mut scene, "operator")?;
    let config = scene.write_config()?.display().to_string();
    let topics = async |verb: &str| binary::run(&["topics", verb, "--config", &config]).await;
    let denied = topics("create").await?;
    assert_eq!(denied.code, Some(1), "{denied:?}");
    let named = format!("CREATE on topic {}", scene.topic("webhooks").name());
    assert!(denied.stderr.contains(&named), "{denied:?}");
    secured.allow(&scene, "operator", "create").await?;
    assert_eq!(topics("create").await?.code, Some(0));
    let denied = topics("check").await?;
    assert_eq!(denied.code, Some(1), "{denied:?}");
    assert!(denied.stderr.contains("DESCRIBE on topic"), "{denied:?}");
    secured.allow(&scene, "operator", "check").await?;
    let checked = topics("check").await?;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_is_named_not_shown_and_tried_until_it_is_right() -> Result<()> {
    const WRONG: &str = "the-password-that-comes-late";
    let secured = Secured::shared().await?;
    let mut scene = Scene::on(secured.broker(), "late").await?;
    scene.create_topics().await?;
    secured.admit(&mut scene, "late")?;
    std::fs::write(scene.folder().join("kafka-password"), WRONG)?;
    scene.config["telemetry"] = json!({ "log": "trace" });
    let path = scene.write_config()?;
    let checked = binary::run(&["topics", "check", "--config", &path.to_string_lossy()]).await?;
    assert_eq!(checked.code, Some(69), "{checked:?}");
    assert!(
        checked
            .stderr
            .contains("does not let postrider in: SASL authentication error"),
        "{checked:?}"
    );

    let mut daemon = Daemon::spawn(&path).await?;
    daemon
        .says("does not let postrider in: SASL authentication error")
        .await?;
    let told = readiness(&daemon).await?;
    assert!(told.contains("invalid credentials"), "{told}");
    let bootstrap = secured.broker().bootstrap();
    let password = format!("SCRAM-SHA-512=[password={WRONG}]");
    let change = [
        "tool",
        "kafka.admin.ConfigCommand",
        "--bootstrap-server",
        bootstrap,
        "--alter",
        "--entity-type",
    ];
    let of_late = ["users", "--entity-name", "late", "--add-config", &*password];
    secured.broker().ask(&[&change[..], &of_late].concat()).await?;
    daemon.says("Kafka does not allow").await?;
    assert!(daemon.stop().await?.success());
    let shown = format!("{checked:?} {told} {}", daemon.log().join("\n"));
    assert!(!shown.contains(WRONG), "the password is shown");
    shows_no_password(&daemon)
}

#[tokio::test]
async fn a_certificate_lets_postrider_in_and_without_one_it_says_that_kafka_wants_it() -> Result<()> {
    let secured = Secured::shared().await?;
    let receiver = Receiver::start().await?;
    let mut scene = Scene::on(secured.broker(), "mutual").await?;
    scene.create_topics().await?;
    scene.webhooks([webhook("wh_1", receiver.url("/hook"), &["tracking_update"])]);
    secured.admit_by_certificate(&mut scene, false);
    let mut daemon = Daemon::spawn(&scene.write_config()?).await?;
    daemon.says("does not let postrider in: ").await?;
    let told = readiness(&daemon).await?;
    assert!(told.contains("certificate"), "{told}");
    assert!(daemon.stop().await?.success());

    secured.admit_by_certificate(&mut scene, true);
    secured.allow(&scene, USER, "run").await?;
    let daemon = Daemon::start(&scene.write_config()?).await?;
    event(&scene).await?;
    let outcomes = scene.outcomes(1).await?;
    assert_eq!(outcomes[0].result, OutcomeResult::Success);
    drop(daemon);
    Ok(())
}

#[tokio::test]
async fn a_broker_of_a_foreign_authority_is_not_spoken_to_and_a_missing_one_is_bad_configuration() -> Result<()> {
    let secured = Secured::shared().await?;
    let mut scene = Scene::at(secured.address(), "foreign")?;
    secured.admit(&mut scene, USER)?;
    let foreign = scene.folder().join("foreign.pem");
    std::fs::write(
        &foreign,
        rcgen::generate_simple_self_signed(["foreign".to_owned()])?.cert.pem(),
    )?;
    scene.config["kafka"]["properties"]["ssl.ca.location"] = json!(foreign);
    let mut daemon = Daemon::spawn(&scene.write_config()?).await?;
    daemon.says("does not let postrider in: SSL handshake failed").await?;
    let told = readiness(&daemon).await?;
    assert!(
        told.contains("certificate verify failed") && told.contains("ssl.ca.location"),
        "{told}"
    );
    assert!(daemon.stop().await?.success());
    shows_no_password(&daemon)?;

    scene.config["kafka"]["properties"]["ssl.ca.location"] = json!(scene.folder().join("nowhere.pem"));
    let mut daemon = Daemon::spawn(&scene.write_config()?).await?;
    let ended = daemon.exit(PATIENCE).await?;
    assert_eq!(ended.code(), Some(78), "{:?}", daemon.log());
    daemon.says("ssl.ca.location failed").await?;
    Ok(())
}

#[tokio::test]
async fn without_tls_to_another_machine_the_daemon_warns_once() -> Result<()> {
    let scene = Scene::at("kafka.invalid:9092", "open")?;
    let mut daemon = Daemon::spawn(&scene.write_config()?).await?;
    daemon.says("Anybody on the way to Kafka can read along").await?;
    let trying =
        || async { Ok((daemon.log().iter().filter(|line| line.contains("trying again")).count() >= 2).then_some(())) };
    until("two tries", PATIENCE, trying).await?;
    let warned = daemon.log().iter().filter(|line| line.contains("read along")).count();
    assert_eq!(warned, 1);
    daemon.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_principal_without_its_type_is_bad_usage_and_printing_acls_asks_no_kafka() -> Result<()> {
    let scene = Scene::at("127.0.0.1:1", "acls")?;
    let config = scene.write_config()?.display().to_string();
    let acls =
        async |principal: &str| binary::run(&["topics", "acls", "--config", &config, "--principal", principal]).await;
    let printed = acls("User:CN=Post Rider,O=it").await?;
    assert_eq!(printed.code, Some(0), "{printed:?}");
    assert!(
        printed
            .stdout
            .contains("--allow-principal 'User:CN=Post Rider,O=it' --operation Read"),
        "{printed:?}"
    );
    assert_eq!(acls("postrider").await?.code, Some(64));
    Ok(())
}
