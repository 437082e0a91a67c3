//! The address that is dialled is the address that was checked.

use anyhow::{Context, Result};
use postrider_tests::contract::sample;
use postrider_tests::dns::NameServer;
use postrider_tests::{Receiver, Scene, Sent};
use postrider_types::{ErrorKind, Outcome, OutcomeResult};
use serde_json::json;

use crate::delivery::webhook;

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
