//! A hanging endpoint does not delay the others.

use std::time::Duration;

use anyhow::Result;
use postrider_tests::patience::{PATIENCE, until};
use postrider_tests::{Answer, Receiver, Scene, Sent};
use serde_json::json;

use crate::delivery::webhook;

#[tokio::test]
async fn a_hanging_endpoint_does_not_delay_the_others() -> Result<()> {
    const EVENTS: usize = 1000;
    let receiver = Receiver::start().await?;
    receiver.answer("/hanging", [Answer::ok().after(Duration::from_secs(600))]);
    let mut scene = Scene::new("isolation").await?;
    scene.config["delivery"]["timeout"] = json!("5m");
    scene.webhooks([
        webhook("wh_hanging", receiver.url("/hanging"), &["tracking_update"]),
        webhook("wh_healthy", receiver.url("/healthy"), &["tracking_update"]),
    ]);
    let daemon = scene.start().await?;
    let events = (0..EVENTS).map(|number| Sent::value(format!("{{\"OrderID\":{number}}}")));
    scene.topic("tracking").produce(events).await?;

    // The hanging endpoint answers nothing within the test's patience, so whatever comes here did not wait for it.
    receiver.wait_for("/healthy", EVENTS).await?;
    assert_eq!(receiver.requests("/healthy").len(), EVENTS);
    let hanging = receiver.requests("/hanging").len();
    assert_eq!(hanging, 32, "delivery.max_in_flight_per_webhook requests at once");
    // The last healthy answer may still be under way.
    until("only the hanging requests to be in flight", PATIENCE, || async {
        Ok((daemon.metric("postrider_in_flight", &[]).await? == 32.0).then_some(()))
    })
    .await?;
    Ok(())
}

/// Together they would have all of `delivery.max_in_flight`, each within its own limit.
#[tokio::test]
async fn dozens_of_hanging_endpoints_do_not_delay_a_healthy_one() -> Result<()> {
    const HANGING: usize = 60;
    const EVENTS: usize = 100;
    let receiver = Receiver::start().await?;
    let mut scene = Scene::new("dozens").await?;
    scene.config["delivery"]["timeout"] = json!("5m");
    let hanging = (0..HANGING).map(|number| {
        let path = format!("/hanging-{number}");
        receiver.answer(&path, [Answer::ok().after(Duration::from_secs(600))]);
        webhook(&format!("wh_{number}"), receiver.url(&path), &["tracking_update"])
    });
    let healthy = webhook("wh_healthy", receiver.url("/healthy"), &["tracking_update"]);
    scene.webhooks(hanging.chain([healthy]));
    let daemon = scene.start().await?;
    let events = (0..EVENTS).map(|number| Sent::value(format!("{{\"OrderID\":{number}}}")));
    scene.topic("tracking").produce(events).await?;

    receiver.wait_for("/healthy", EVENTS).await?;
    let in_flight = daemon.metric("postrider_in_flight", &[]).await?;
    assert!(in_flight < 1024.0, "{in_flight} of delivery.max_in_flight");
    // What waits for them is parked after its time, as for one.
    let parked = || async {
        let pending = daemon.metric("postrider_webhook_pending", &[]).await?;
        Ok((pending >= (HANGING * EVENTS - 1024) as f64).then_some(()))
    };
    until("what waits for the hanging ones to be parked", PATIENCE, parked).await
}
