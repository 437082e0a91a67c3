//! A running server with everything it needs.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postrider_admin::config::{Access, Token};
use postrider_admin::explained::{Explained, Explainer, Explaining, Question, SearchedFor, Unexplained};
use postrider_admin::{Api, ApiSlot, Bodies, Body, Config, Health, Server, Tester, Transmitted};
use postrider_logs::{Record, index_of};
use postrider_replay::replays::MemoryStore;
use postrider_replay::{Replays, Table};
use postrider_types::transmission::SentRequest;
use postrider_types::{
    AccountId, Clock, EventType, Fault, Outcome, Secret, Timestamp, Transmission, Trigger, Webhook, WebhookId,
};
use postrider_webhooks::{Decide, Directory, Editor, Journal, Keyring, MemoryJournal, Refusal, Rules, Written};
use prometheus::Registry;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::contract::Contract;
use crate::wire::{Answer, Ask};

/// The webhook of the configuration file.
pub(crate) const OF_THE_FILE: &str = "of-the-file";
/// The replay of another account, the oldest there is.
pub(crate) const THEIR_REPLAY: &str = "rp_00000000000000000000000000";

/// Answers what it was told to, and remembers what it was asked for.
#[derive(Debug, Default)]
pub(crate) struct FakeTester {
    pub(crate) refusal: Mutex<Option<String>>,
    pub(crate) delay: Mutex<Duration>,
    pub(crate) sent: Mutex<Vec<(EventType, Trigger)>>,
}

impl Tester for FakeTester {
    fn transmit<'a>(&'a self, webhook: Arc<Webhook>, event: EventType, trigger: Trigger) -> Transmitted<'a> {
        Box::pin(async move {
            self.sent.lock().unwrap().push((event, trigger));
            let delay = *self.delay.lock().unwrap();
            tokio::time::sleep(delay).await;
            match self.refusal.lock().unwrap().clone() {
                Some(refusal) => Err(refusal),
                None => Ok(transmission(&webhook)),
            }
        })
    }
}

/// Knows of nothing, or has no time; remembers what it was asked.
#[derive(Debug, Default)]
pub(crate) struct FakeExplainer {
    pub(crate) refusal: Mutex<Option<Unexplained>>,
    pub(crate) asked: Mutex<Vec<Question>>,
}

impl Explainer for FakeExplainer {
    fn explain(&self, question: Question) -> Explaining<'_> {
        let told = match self.refusal.lock().unwrap().clone() {
            Some(refusal) => Err(refusal),
            None => Ok(Explained {
                subject: question.subject.clone(),
                searched: SearchedFor {
                    from: question.from.unwrap_or_default(),
                    records: 0,
                    is_complete: true,
                    unread: Vec::new(),
                },
                events: Vec::new(),
                unreadable: Vec::new(),
            }),
        };
        self.asked.lock().unwrap().push(question);
        Box::pin(async move { told })
    }
}

fn transmission(webhook: &Webhook) -> Transmission {
    Transmission {
        passed: false,
        message: "HTTP response code is 403, it must be 200. Please Retry!".to_owned(),
        hint: Some("A firewall is blocking the webhook".to_owned()),
        time_spent_ms: 12.5,
        request: SentRequest {
            method: "POST".to_owned(),
            url: webhook.url.clone(),
            headers: [("content-type".to_owned(), "application/json".to_owned())].into(),
            body: "{}".to_owned(),
        },
        response: None,
        error: None,
    }
}

/// Has a body for every event but those of the topic `gone`.
#[derive(Debug)]
struct FakeBodies;

impl Bodies for FakeBodies {
    fn body<'a>(&'a self, outcome: &'a Outcome) -> Body<'a> {
        let is_gone = outcome.source.as_ref().is_some_and(|source| source.topic == "gone");
        let body = if is_gone {
            Err("Kafka no longer keeps it".to_owned())
        } else {
            Ok("{\"OrderID\":\"1\"}".into())
        };
        Box::pin(async { body })
    }
}

pub(crate) struct House {
    pub(crate) address: SocketAddr,
    pub(crate) tester: Arc<FakeTester>,
    pub(crate) explainer: Arc<FakeExplainer>,
    pub(crate) editor: Arc<Editor>,
    directory: Arc<Directory>,
    pub(crate) contract: Contract,
    slot: ApiSlot,
    api: Api,
    folder: TempDir,
}

pub(crate) fn keyring(byte: u8) -> Keyring {
    Keyring::parse(&Secret::new(STANDARD.encode([byte; 32]))).unwrap()
}

/// A token `NAME-0123456789abcdef012345`.
pub(crate) fn token(name: &str, access: Access, accounts: &[&str]) -> Token {
    Token {
        name: name.to_owned(),
        token: Secret::new(secret_of(name)),
        access,
        accounts: accounts
            .iter()
            .map(|account| AccountId::new(account).unwrap())
            .collect(),
    }
}

pub(crate) fn secret_of(name: &str) -> String {
    format!("{name}-0123456789abcdef012345")
}

/// Takes a while, as Kafka does.
#[derive(Debug)]
pub(crate) struct Slow(MemoryJournal, Duration);

impl Journal for Slow {
    fn write<'a>(&'a self, decide: Decide<'a>) -> Written<'a> {
        Box::pin(async move {
            tokio::time::sleep(self.1).await;
            self.0.write(decide).await
        })
    }
}

/// Refuses to write.
#[derive(Debug)]
struct Refusing(Refusal);

impl Journal for Refusing {
    fn write<'a>(&'a self, _: Decide<'a>) -> Written<'a> {
        Box::pin(async move { Err(self.0.clone()) })
    }
}

fn directory() -> Arc<Directory> {
    let id = WebhookId::new(OF_THE_FILE).unwrap();
    let file = Webhook::new(id, "https://m.example/", vec![EventType::OrderError]);
    Arc::new(Directory::new(vec![file], keyring(1)).unwrap())
}

/// An editor that takes so long.
pub(crate) fn slow_editor(time: Duration) -> Editor {
    let directory = directory();
    let journal = MemoryJournal::new(Arc::clone(&directory));
    editor(directory, Arc::new(Slow(journal, time)))
}

fn editor(directory: Arc<Directory>, journal: Arc<dyn Journal>) -> Editor {
    let judge = |webhook: &Webhook| {
        let bad = webhook.url.contains("forbidden");
        bad.then(|| Fault::new("url", "is forbidden")).into_iter().collect()
    };
    let rules = Rules {
        limit: 3,
        secret_overlap: Duration::from_secs(86_400),
        instance: "postrider-0".into(),
        judge: Box::new(judge),
        clock: Clock::starting_at(Timestamp::from_millis(1_000_000)),
    };
    Editor::new(directory, journal, rules)
}

/// Replays that nobody runs, and one that ran, of the account `other`.
fn replays() -> Replays {
    let table = Arc::new(Table::default());
    let ran = json!({
        "schema": "postrider.replay.v1", "id": THEIR_REPLAY, "state": "done", "reason": null,
        "from": "2025-11-22T09:00:00Z", "to": "2025-11-22T10:00:00Z", "webhook": null, "account": "other",
        "event": null, "result": "failed", "rate_per_second": 50, "dry_run": false, "matched": 3, "parked": 3,
        "lost_source": 0, "unreadable": 0, "created_at": "2025-11-22T10:00:00Z", "started_at": "2025-11-22T10:00:00Z",
        "finished_at": "2025-11-22T10:00:00Z",
    });
    table.take_in(THEIR_REPLAY.as_bytes(), Some(ran.to_string().as_bytes()));
    table.completed();
    let store = Arc::new(MemoryStore(Arc::clone(&table)));
    Replays::new(
        table,
        store,
        50,
        Clock::starting_at(Timestamp::from_millis(1_763_805_600_000)),
    )
}

impl House {
    /// With the API in its slot, and no tokens.
    pub(crate) async fn open() -> Self {
        Self::with(Vec::new()).await
    }

    pub(crate) async fn with(tokens: Vec<Token>) -> Self {
        let house = Self::starting(tokens).await;
        house.slot.set(house.api.clone());
        house
    }

    /// Before the API is in its slot.
    pub(crate) async fn starting(tokens: Vec<Token>) -> Self {
        let config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            tokens,
            ..Config::default()
        };
        let slot = ApiSlot::new();
        let server = Server::bind(&config, Health::new(), Registry::new(), slot.clone())
            .await
            .unwrap();
        let address = server.address();
        tokio::spawn(server.run(CancellationToken::new()));
        let directory = directory();
        let journal = MemoryJournal::new(Arc::clone(&directory));
        let editor = Arc::new(editor(Arc::clone(&directory), Arc::new(journal)));
        let tester = Arc::<FakeTester>::default();
        let explainer = Arc::<FakeExplainer>::default();
        let api = Api {
            editor: Arc::clone(&editor),
            tester: Arc::<FakeTester>::clone(&tester),
            reseal: Arc::new(|| Ok(keyring(2))),
            explainer: Arc::<FakeExplainer>::clone(&explainer),
            logs: None,
            bodies: Arc::new(FakeBodies),
            replays: Arc::new(replays()),
        };
        let document = Ask::new("GET", "/openapi.json").send(address).await.expect(200).json();
        Self {
            address,
            tester,
            explainer,
            editor,
            directory,
            contract: Contract::new(document),
            slot,
            api,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// From now on every change comes to this.
    pub(crate) fn refuse_changes(&self, refusal: Refusal) {
        let refusing = editor(Arc::clone(&self.directory), Arc::new(Refusing(refusal)));
        self.furnish(|api| api.editor = Arc::new(refusing));
    }

    /// The endpoint of the file's webhook answers 410, and postrider disables it.
    pub(crate) fn say_gone(&self) {
        let record = json!({ "record": "status", "webhook_id": OF_THE_FILE, "status": "disabled", "reason": "gone",
            "at": "2026-01-01T00:00:00.000Z" });
        let record = record.to_string();
        self.directory.take_in(OF_THE_FILE.as_bytes(), Some(record.as_bytes()));
    }

    /// From now on it has logs, of these records.
    pub(crate) fn keep_logs(&self, records: impl IntoIterator<Item = Record>) {
        let reader = index_of(&self.folder.path().join("logs.db"), records).unwrap();
        self.furnish(|api| api.logs = Some(reader));
    }

    /// Puts another API into the slot.
    pub(crate) fn furnish(&self, change: impl FnOnce(&mut Api)) {
        let mut api = self.api.clone();
        change(&mut api);
        self.slot.set(api);
    }

    /// Asks, and holds the answer against the contract.
    pub(crate) async fn send(&self, ask: Ask) -> Answer {
        let answer = ask.send(self.address).await;
        self.contract.judge(&ask, &answer);
        assert_eq!(answer.header("cache-control"), "no-store", "{answer:?}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{answer:?}");
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Ask::new("GET", path)).await
    }

    pub(crate) async fn post(&self, path: &str, document: &Value) -> Answer {
        self.send(Ask::new("POST", path).json(document)).await
    }

    pub(crate) async fn patch(&self, path: &str, document: &Value) -> Answer {
        self.send(Ask::new("PATCH", path).json(document)).await
    }

    /// Does what needs no document.
    pub(crate) async fn act(&self, method: &str, path: &str) -> Answer {
        self.send(Ask::new(method, path)).await
    }

    /// Adds a webhook to an account; returns its path.
    pub(crate) async fn added(&self, account: &str) -> String {
        let added = self.editor.add(webhook(account)).await.unwrap();
        path_of(added.webhook.id.as_str())
    }

    pub(crate) fn sent(&self) -> Vec<(EventType, Trigger)> {
        self.tester.sent.lock().unwrap().clone()
    }
}

pub(crate) fn path_of(id: &str) -> String {
    format!("/api/v1/webhooks/{id}")
}

/// A new webhook that wants errors.
pub(crate) fn webhook(account: &str) -> Value {
    json!({ "account_id": account, "url": "https://m.example/hooks", "events": ["order_error"] })
}
