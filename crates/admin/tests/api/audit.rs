//! The audit log: a line for every change, and no secret in any.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postrider_admin::config::Access;
use postrider_webhooks::{Obstacle, Refusal};
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use crate::house::{House, path_of, secret_of, slow_editor, token, webhook};
use crate::wire::Ask;

#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The fields of the audit log's lines.
    fn audit(&self) -> Vec<Value> {
        let text = self.text();
        let lines = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["fields"].clone());
        lines.filter(|fields| fields["action"].is_string()).collect()
    }
}

/// Everything that is logged on this thread, which is that of the server too.
fn listen() -> (Lines, tracing::subscriber::DefaultGuard) {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(lines.clone());
    (lines, tracing::subscriber::set_default(subscriber.finish()))
}

#[tokio::test]
async fn every_change_has_its_line_and_no_line_has_a_secret() {
    let (lines, _guard) = listen();
    let house = House::with(vec![token("ops", Access::Write, &[])]).await;
    let send = async |method: &str, path: &str, document: Option<Value>| {
        let ask = Ask::new(method, path).token(&secret_of("ops"));
        let ask = document.iter().fold(ask, |ask, document| ask.json(document));
        house.send(ask).await
    };
    let mut secretive = webhook("shop");
    secretive["auth"] = json!({ "username": "u", "password": "hunter2" });
    secretive["signing"] = json!({ "generate": true });
    let added = send("POST", "/api/v1/webhooks", Some(secretive)).await.expect(201);
    let path = added.header("location").to_owned();
    send("PATCH", &path, Some(json!({ "description": "x" })))
        .await
        .expect(200);
    send("POST", &format!("{path}/disable"), None).await.expect(200);
    send("POST", &format!("{path}/enable"), None).await.expect(200);
    let rotated = send("POST", &format!("{path}/rotate-secret"), None).await.expect(200);
    send("DELETE", &path, None).await.expect(200);
    send("DELETE", &format!("{path}?purge=true"), None).await.expect(204);
    send("POST", "/api/v1/secrets/rotate", None).await.expect(200);
    send("DELETE", &path, None).await.expect(404);

    let id = path.rsplit('/').next().unwrap();
    let audit = lines.audit();
    let of_the_webhook = [
        ("webhook.add", 1),
        ("webhook.edit", 2),
        ("webhook.disable", 3),
        ("webhook.enable", 4),
        ("webhook.rotate_secret", 5),
        ("webhook.cancel", 6),
        ("webhook.purge", 6),
    ];
    for (line, (action, version)) in audit.iter().zip(of_the_webhook) {
        let told = ["action", "webhook.id", "account", "token", "version"].map(|name| &line[name]);
        assert_eq!(json!(told), json!([action, id, "shop", "ops", version]));
    }
    assert_eq!((audit.len(), &audit[7]["action"]), (8, &json!("secrets.rotate")));
    let text = lines.text();
    for made in [&added, &rotated] {
        let secret = made.json()["signing"]["secret"].as_str().unwrap().to_owned();
        assert!(secret.starts_with("whsec_") && !text.contains(&secret));
    }
    assert!(!text.contains("hunter2") && !text.contains(&secret_of("ops")));
}

#[tokio::test]
async fn a_change_is_told_of_though_its_caller_hung_up() {
    let (lines, _guard) = listen();
    let house = House::open().await;
    let editor = Arc::new(slow_editor(Duration::from_millis(200)));
    house.furnish(|api| api.editor = Arc::clone(&editor));
    let webhook = editor.add(webhook("shop")).await.unwrap().webhook;
    let disable = Ask::new("POST", &format!("{}/disable", path_of(webhook.id.as_str())));
    let caller = disable.open(house.address).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(caller);
    tokio::time::timeout(Duration::from_secs(10), async {
        while lines.audit().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    let line = &lines.audit()[0];
    assert_eq!(
        (&line["action"], &line["token"]),
        (&json!("webhook.disable"), &json!("-"))
    );
    assert!(!editor.get(&webhook.id).unwrap().webhook.is_active());
}

#[tokio::test]
async fn a_change_that_may_have_been_made_has_its_line_and_one_that_was_not_has_none() {
    let (lines, _guard) = listen();
    let house = House::open().await;
    let path = house.added("shop").await;
    house.refuse_changes(Refusal::Unavailable(Obstacle::Behind));
    house.act("DELETE", &path).await.expect(503);
    house.refuse_changes(Refusal::Uncertain(Obstacle::Behind));
    house.post("/api/v1/webhooks", &webhook("shop")).await.expect(503);
    house.act("DELETE", &format!("{path}?purge=true")).await.expect(503);
    house.act("POST", "/api/v1/secrets/rotate").await.expect(503);
    let told: Vec<Value> = lines
        .audit()
        .iter()
        .map(|line| json!([line["action"], line["webhook.id"], line["message"]]))
        .collect();
    let id = path.rsplit('/').next().unwrap();
    let message = "A webhook may have been changed through the API";
    assert_eq!(
        told,
        [
            json!(["webhook.add", "-", message]),
            json!(["webhook.purge", id, message]),
            json!(["secrets.rotate", "-", message])
        ]
    );
}
