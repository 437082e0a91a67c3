use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postrider_types::{AccountId, Clock, Fault, NoticeKind, Timestamp};
use serde_json::json;

use super::*;
use crate::journal::{Decide, MemoryJournal, Written};

fn keyring(bytes: &[u8]) -> Keyring {
    let lines: Vec<String> = bytes.iter().map(|byte| STANDARD.encode([*byte; 32])).collect();
    Keyring::parse(&Secret::new(lines.join("\n"))).unwrap()
}

struct Desk {
    editor: Editor,
    journal: Arc<MemoryJournal>,
    directory: Arc<Directory>,
}

/// Hears nothing of what it wrote, so that it is decided on again.
#[derive(Debug)]
struct Forgetful(Arc<MemoryJournal>);

impl Journal for Forgetful {
    fn write<'a>(&'a self, decide: Decide<'a>) -> Written<'a> {
        Box::pin(async move {
            self.0.write(decide).await?;
            self.0.write(decide).await
        })
    }
}

fn desk() -> Desk {
    writing(|journal| journal)
}

fn writing<J: Journal + 'static>(journal_over: impl FnOnce(Arc<MemoryJournal>) -> Arc<J>) -> Desk {
    let file = Webhook::new(
        WebhookId::new("of-the-file").unwrap(),
        "https://m.example/",
        vec![postrider_types::EventType::OrderError],
    );
    let directory = Arc::new(Directory::new(vec![file], keyring(&[1])).unwrap());
    let journal = Arc::new(MemoryJournal::new(Arc::clone(&directory)));
    let rules = Rules {
        limit: 3,
        secret_overlap: Duration::from_secs(86_400),
        instance: "postrider-0".into(),
        judge: Box::new(|webhook| {
            let bad = webhook.url.contains("forbidden");
            bad.then(|| Fault::new("url", "is forbidden")).into_iter().collect()
        }),
        clock: Clock::starting_at(Timestamp::from_millis(1_000_000)),
    };
    let shared = journal_over(Arc::clone(&journal));
    Desk {
        editor: Editor::new(Arc::clone(&directory), shared, rules),
        journal,
        directory,
    }
}

fn document(account: &str) -> Value {
    json!({ "account_id": account, "url": "https://m.example/hooks", "events": ["order_error"] })
}

impl Desk {
    async fn added(&self, account: &str) -> Arc<Webhook> {
        self.editor.add(document(account)).await.unwrap().webhook
    }

    fn now(&self, id: &WebhookId) -> Arc<Webhook> {
        self.editor.get(id).unwrap().webhook
    }
}

#[tokio::test]
async fn a_webhook_is_added_edited_switched_cancelled_and_removed_with_a_version_for_each_change() {
    let desk = desk();
    let added = desk.editor.add(document("shop")).await.unwrap();
    assert!(added.is_new_endpoint && added.webhook.version == 1);
    let id = added.webhook.id.clone();
    assert!(id.as_str().starts_with("wh_") && id.as_str().len() == 29);
    let edited = desk
        .editor
        .edit(&id, json!({ "description": "x" }), Some(1))
        .await
        .unwrap();
    assert!(!edited.is_new_endpoint && edited.webhook.updated_at > added.webhook.updated_at);
    let moved = desk
        .editor
        .edit(&id, json!({ "url": "https://m.example/new" }), None)
        .await
        .unwrap();
    assert!(moved.is_new_endpoint);
    assert!(!desk.editor.switch(&id, false, None).await.unwrap().webhook.is_active());
    assert!(desk.editor.switch(&id, true, None).await.unwrap().webhook.is_active());
    let cancelled = desk.editor.cancel(&id, None).await.unwrap().webhook;
    assert_eq!((cancelled.status, cancelled.version), (WebhookStatus::Cancelled, 6));
    assert_eq!(desk.editor.cancel(&id, None).await.unwrap().webhook.version, 6);
    assert_eq!(desk.editor.edit(&id, json!({}), None).await, Err(Refusal::Cancelled));
    desk.editor.purge(&id, None).await.unwrap();
    assert_eq!(desk.editor.get(&id), None);
    assert_eq!(desk.editor.purge(&id, None).await, Err(Refusal::NotFound));
    let kinds: Vec<NoticeKind> = desk.journal.notices().iter().map(|notice| notice.notice).collect();
    use NoticeKind::{WebhookDisabled, WebhookEnabled};
    assert_eq!(kinds, [WebhookDisabled, WebhookEnabled, WebhookDisabled]);
}

#[tokio::test]
async fn an_account_has_no_more_than_its_limit_cancelled_ones_included_until_one_is_removed() {
    let desk = desk();
    let first = desk.added("shop").await;
    desk.added("shop").await;
    desk.added("shop").await;
    desk.added("other").await;
    assert_eq!(desk.editor.add(document("shop")).await, Err(Refusal::Full(3)));
    desk.editor.cancel(&first.id, None).await.unwrap();
    assert_eq!(desk.editor.add(document("shop")).await, Err(Refusal::Full(3)));
    desk.editor.purge(&first.id, None).await.unwrap();
    desk.added("shop").await;
    // The file's webhook takes one of the places.
    desk.added("default").await;
    desk.added("default").await;
    assert_eq!(desk.editor.add(document("default")).await, Err(Refusal::Full(3)));
    assert_eq!(desk.directory.count(&AccountId::new("shop").unwrap()), 3);
}

#[tokio::test]
async fn a_change_for_another_version_and_of_the_files_webhooks_is_refused() {
    let desk = desk();
    let id = desk.added("shop").await.id.clone();
    desk.editor
        .edit(&id, json!({ "description": "x" }), None)
        .await
        .unwrap();
    assert_eq!(desk.editor.edit(&id, json!({}), Some(1)).await, Err(Refusal::Stale(2)));
    assert_eq!(desk.editor.switch(&id, false, Some(3)).await, Err(Refusal::Stale(2)));
    let file = WebhookId::new("of-the-file").unwrap();
    assert_eq!(desk.editor.edit(&file, json!({}), None).await, Err(Refusal::OfTheFile));
    assert_eq!(desk.editor.purge(&file, None).await, Err(Refusal::OfTheFile));
    let taken = json!({ "id": "of-the-file", "url": "https://m.example/", "events": ["order_error"] });
    assert_eq!(desk.editor.add(taken).await, Err(Refusal::Taken));
}

#[tokio::test]
async fn what_was_written_before_it_is_decided_on_again_is_neither_refused_nor_made_twice() {
    let desk = writing(|journal| Arc::new(Forgetful(journal)));
    let editor = &desk.editor;
    let mut signing = document("shop");
    (signing["id"], signing["signing"]) = (json!("wh_1"), json!({ "generate": true }));
    let added = editor.add(signing).await.unwrap();
    assert_eq!(secret_of(&desk), added.generated);
    let id = WebhookId::new("wh_1").unwrap();
    let moved = json!({ "url": "https://m.example/new", "signing": { "generate": true } });
    let edited = editor.edit(&id, moved, Some(1)).await.unwrap();
    assert!(edited.is_new_endpoint);
    assert_eq!(secret_of(&desk), edited.generated);
    let rotated = editor.rotate_secret(&id, Some(2)).await.unwrap();
    assert_eq!(secret_of(&desk), rotated.generated);
    assert_eq!(desk.now(&id).signing.as_ref().unwrap().secrets().count(), 2);
    editor.switch(&id, false, Some(3)).await.unwrap();
    editor.switch(&id, true, Some(4)).await.unwrap();
    assert_eq!(editor.reseal(keyring(&[2, 1])).await, Ok(1));
    let cancelled = editor.cancel(&id, Some(5)).await.unwrap();
    assert_eq!((cancelled.webhook.version, &cancelled.webhook), (6, &desk.now(&id)));
    editor.purge(&id, Some(6)).await.unwrap();
    desk.directory.take_in(b"of-the-file", Some(&gone(0)));
    assert!(
        editor
            .switch(&of_the_file(), true, Some(0))
            .await
            .unwrap()
            .webhook
            .is_active()
    );
    use NoticeKind::{WebhookDisabled, WebhookEnabled};
    let kinds: Vec<NoticeKind> = desk.journal.notices().iter().map(|notice| notice.notice).collect();
    assert_eq!(
        kinds,
        [WebhookDisabled, WebhookEnabled, WebhookDisabled, WebhookEnabled]
    );
}

/// What `wh_1` signs with.
fn secret_of(desk: &Desk) -> Option<Secret> {
    let webhook = desk.now(&WebhookId::new("wh_1").unwrap());
    webhook.signing.as_ref().map(|signing| signing.secret.clone())
}

/// Is fenced by another writer, which makes a change of its own: of the first try nothing is written.
#[derive(Debug)]
struct Overtaken {
    journal: Arc<MemoryJournal>,
    theirs: Entry,
}

impl Journal for Overtaken {
    fn write<'a>(&'a self, decide: Decide<'a>) -> Written<'a> {
        Box::pin(async move {
            decide()?;
            self.journal.write(&|| Ok(vec![self.theirs.clone()])).await?;
            self.journal.write(decide).await
        })
    }
}

#[tokio::test]
async fn what_another_writer_did_between_two_tries_is_judged_anew() {
    let id = WebhookId::new("wh_1").unwrap();
    let of_version = |version: u64| {
        let mut stored = document("shop");
        (stored["id"], stored["version"]) = (json!(id), json!(version));
        stored.to_string().into_bytes()
    };
    for (theirs, refusal) in [(Some(of_version(2)), Refusal::Stale(2)), (None, Refusal::NotFound)] {
        let theirs = Entry::Document(id.clone(), theirs);
        let desk = writing(|journal| Arc::new(Overtaken { journal, theirs }));
        desk.directory.take_in(b"wh_1", Some(&of_version(1)));
        let edit = json!({ "description": "mine" });
        assert_eq!(desk.editor.edit(&id, edit, Some(1)).await, Err(refusal));
    }
}

fn of_the_file() -> WebhookId {
    WebhookId::new("of-the-file").unwrap()
}

/// What postrider writes when the endpoint of the file's webhook answers 410.
fn gone(version: u64) -> Vec<u8> {
    let record = json!({ "record": "status", "webhook_id": "of-the-file", "status": "disabled", "reason": "gone",
        "at": "2026-01-01T00:00:00.000Z", "version": version });
    record.to_string().into_bytes()
}

#[tokio::test]
async fn a_webhook_of_the_file_that_postrider_disabled_is_enabled_with_a_notice_and_nothing_else_of_it_is_switched() {
    let (desk, id) = (desk(), of_the_file());
    let refused = Err(Refusal::OfTheFile);
    for on in [true, false] {
        assert_eq!(desk.editor.switch(&id, on, None).await, refused, "it is active");
    }
    for (key, version) in [("of-the-file", 0), ("of-the-file/status", 1)] {
        desk.directory.take_in(key.as_bytes(), Some(&gone(version)));
        assert_eq!(desk.now(&id).disabled_reason.as_deref(), Some("gone"));
        let disabled = desk.now(&id).updated_at.unwrap();
        assert_eq!(desk.editor.switch(&id, false, None).await, refused);
        assert_eq!(desk.editor.switch(&id, true, Some(7)).await, Err(Refusal::Stale(0)));
        let enabled = desk.editor.switch(&id, true, None).await.unwrap();
        assert_eq!((enabled.origin, enabled.webhook), (Origin::File, desk.now(&id)));
        let now = desk.now(&id);
        assert!(now.is_active() && now.disabled_reason.is_none(), "{key}");
        assert!(now.updated_at > Some(disabled), "it begins anew");
    }
    let notices = desk.journal.notices();
    let kinds: Vec<NoticeKind> = notices.iter().map(|notice| notice.notice).collect();
    assert_eq!(kinds, [NoticeKind::WebhookEnabled; 2]);
    assert!(
        notices
            .iter()
            .all(|notice| notice.at >= Timestamp::from_millis(1_000_000))
    );
}

#[tokio::test]
async fn a_webhook_of_the_file_that_its_owner_switched_off_stays_off() {
    let (desk, id) = (desk(), of_the_file());
    let mut off = Webhook::clone(&desk.now(&id));
    off.enabled = false;
    desk.directory.replace_file(vec![off]).unwrap();
    assert_eq!(desk.editor.switch(&id, true, None).await, Err(Refusal::OfTheFile));
    desk.directory.take_in(b"of-the-file", Some(&gone(0)));
    assert_eq!(desk.editor.switch(&id, true, None).await, Err(Refusal::OfTheFile));
    assert_eq!(desk.journal.notices(), []);
}

#[tokio::test]
async fn enabling_a_webhook_of_the_file_keeps_the_managed_one_of_its_id_that_it_hides() {
    let (desk, id) = (desk(), of_the_file());
    for auth in [Value::Null, json!({ "username": "u", "password": "hunter2" })] {
        let file = Webhook::clone(&desk.now(&id));
        desk.directory.replace_file(Vec::new()).unwrap();
        let mut hidden = document("shop");
        (hidden["id"], hidden["auth"]) = (json!(id), auth);
        let hidden = desk.editor.add(hidden).await.unwrap().webhook;
        desk.directory.replace_file(vec![file.clone()]).unwrap();
        desk.directory.take_in(b"of-the-file", Some(&gone(0)));
        desk.editor.switch(&id, true, None).await.unwrap();
        assert!(desk.now(&id).is_active() && desk.now(&id).url == file.url);
        desk.directory.replace_file(Vec::new()).unwrap();
        assert!(desk.now(&id).is_active() && desk.now(&id).url == hidden.url && desk.now(&id).auth == hidden.auth);
        desk.editor.purge(&id, None).await.unwrap();
        desk.directory.replace_file(vec![file]).unwrap();
    }
}

#[tokio::test]
async fn all_faults_of_a_document_come_at_once() {
    let desk = desk();
    let mut bad = document("shop");
    bad["url"] = json!("https://forbidden.example/");
    bad["filter"] = json!({ "code": { "gte": "x" } });
    bad["retry"] = json!({ "max_retries": 11 });
    let Err(Refusal::Faults(faults)) = desk.editor.add(bad).await else {
        panic!("three fields are wrong");
    };
    let paths: BTreeSet<&str> = faults.iter().map(|fault| &*fault.path).collect();
    assert_eq!(paths, BTreeSet::from(["retry.max_retries", "filter.code.gte", "url"]));
}

#[tokio::test]
async fn a_field_that_cannot_be_read_does_not_hide_what_is_wrong_with_the_others() {
    let desk = desk();
    let mut bad = document("shop");
    bad["url"] = json!("https://forbidden.example/");
    bad["events"] = json!(["order_error", "order_error"]);
    bad["header"] = json!({ "name": "a b", "value": "x" });
    bad["retry"] = json!({ "max_retries": "many" });
    bad["auth"] = json!({ "username": "a:b", "password": "********" });
    bad["colour"] = json!("red");
    let id = desk.added("shop").await.id.clone();
    let all = [
        "auth.password",
        "auth.username",
        "colour",
        "events",
        "header.name",
        "retry.max_retries",
        "url",
    ];
    for refused in [
        desk.editor.add(bad.clone()).await,
        desk.editor.edit(&id, bad, None).await,
    ] {
        let Err(Refusal::Faults(faults)) = refused else {
            panic!("seven fields are wrong");
        };
        let mut paths: Vec<&str> = faults.iter().map(|fault| &*fault.path).collect();
        paths.sort_unstable();
        assert_eq!(paths, all);
    }
}

#[tokio::test]
async fn what_stands_in_for_a_missing_field_is_not_judged() {
    let mut desk = desk();
    let rules = Arc::get_mut(&mut desk.editor.rules).unwrap();
    rules.judge = Box::new(|_| vec![Fault::new("url", "is forbidden"), Fault::new("tls", "is no key")]);
    let bad = json!({ "url": 7, "events": ["order_error"], "tls": { "certificate": "x", "key": "********" } });
    let Err(Refusal::Faults(faults)) = desk.editor.add(bad).await else {
        panic!("two fields are wrong");
    };
    let paths: Vec<&str> = faults.iter().map(|fault| &*fault.path).collect();
    assert_eq!(paths, ["tls.key", "url"]);
}

#[tokio::test]
async fn a_rotated_secret_is_shown_once_and_the_old_one_signs_on_for_the_overlap() {
    let desk = desk();
    let id = desk.added("shop").await.id.clone();
    assert_eq!(desk.editor.rotate_secret(&id, None).await, Err(Refusal::NotSigning));
    let made = desk
        .editor
        .edit(&id, json!({ "signing": { "generate": true } }), None)
        .await
        .unwrap();
    let first = made.generated.unwrap();
    let rotated = desk.editor.rotate_secret(&id, None).await.unwrap();
    let second = rotated.generated.unwrap();
    assert_ne!(first, second);
    let signing = desk.now(&id).signing.clone().unwrap();
    let previous = signing.previous.unwrap();
    assert_eq!((&signing.secret, &previous.secret), (&second, &first));
    assert!(previous.expires_at >= Timestamp::from_millis(1_000_000).after(Duration::from_secs(86_400)));
    let again = desk.editor.rotate_secret(&id, None).await.unwrap();
    let signing = desk.now(&id).signing.clone().unwrap();
    let secrets: Vec<&Secret> = signing.secrets().collect();
    assert_eq!(
        secrets,
        [&again.generated.unwrap(), &second, &first],
        "the first has its overlap still"
    );
}

#[tokio::test]
async fn an_edit_that_makes_another_secret_ends_all_that_were() {
    let desk = desk();
    let id = desk.added("shop").await.id.clone();
    let generate = || json!({ "signing": { "generate": true } });
    desk.editor.edit(&id, generate(), None).await.unwrap();
    desk.editor.rotate_secret(&id, None).await.unwrap();
    let made = desk
        .editor
        .edit(&id, generate(), None)
        .await
        .unwrap()
        .generated
        .unwrap();
    let signing = desk.now(&id).signing.clone().unwrap();
    assert_eq!(signing.secrets().collect::<Vec<_>>(), [&made]);
}

#[tokio::test]
async fn a_secret_whose_overlap_is_over_is_gone_with_the_next_change() {
    let desk = desk();
    let id = desk.added("shop").await.id.clone();
    desk.editor
        .edit(&id, json!({ "signing": { "generate": true } }), None)
        .await
        .unwrap();
    desk.editor.rotate_secret(&id, None).await.unwrap();
    let has_previous = || desk.now(&id).signing.as_ref().unwrap().previous.is_some();
    desk.editor
        .edit(&id, json!({ "description": "soon after" }), None)
        .await
        .unwrap();
    assert!(has_previous());
    let over = json!({ "signing": { "previous": { "expires_at": "1970-01-01T00:00:01.000Z" } } });
    desk.editor.edit(&id, over, None).await.unwrap();
    assert!(!has_previous());
}

#[tokio::test]
async fn resealing_moves_every_secret_to_the_first_key() {
    let desk = desk();
    let mut with_secret = document("shop");
    with_secret["auth"] = json!({ "username": "u", "password": "hunter2" });
    let id = desk.editor.add(with_secret).await.unwrap().webhook.id.clone();
    desk.added("shop").await;
    assert_eq!(desk.editor.reseal(keyring(&[2, 1])).await, Ok(1));
    assert_eq!(desk.editor.reseal(keyring(&[2])).await, Ok(0));
    let auth = desk.now(&id).auth.clone().unwrap();
    assert_eq!(auth.password.expose(), "hunter2");
    // With neither of the keys it is there, and gets nothing.
    assert_eq!(desk.editor.reseal(keyring(&[3])).await, Ok(0));
    assert!(!desk.now(&id).is_active());
}

#[tokio::test]
async fn a_rehearsal_judges_like_the_change_and_makes_none() {
    let desk = desk();
    let mut signing = document("shop");
    signing["signing"] = json!({ "generate": true });
    let id = desk.editor.add(signing).await.unwrap().webhook.id.clone();
    let before = desk.editor.list();
    let rehearsing = desk.editor.rehearsing();
    let version = desk.now(&id).version;
    let edited = rehearsing
        .edit(&id, json!({ "description": "x" }), Some(version))
        .await
        .unwrap();
    assert_eq!(
        (&*edited.webhook.description, edited.webhook.version),
        ("x", version + 1)
    );
    let stale = rehearsing.edit(&id, json!({}), Some(version + 1)).await.unwrap_err();
    assert!(matches!(stale, Refusal::Stale(_)), "{stale:?}");
    rehearsing.rotate_secret(&id, None).await.unwrap();
    rehearsing.cancel(&id, None).await.unwrap();
    rehearsing.purge(&id, None).await.unwrap();
    assert_eq!(desk.editor.list(), before);
    assert!(desk.journal.notices().is_empty());
}
