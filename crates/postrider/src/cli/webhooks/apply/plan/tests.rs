use super::*;

fn wanted(fields: Value) -> Wanted {
    let Value::Object(fields) = fields else {
        panic!("a webhook is an object")
    };
    let id = WebhookId::new("wh_1").unwrap();
    Wanted { id, fields }
}

fn found() -> Value {
    json!({
        "id": "wh_1", "account_id": "default", "url": "https://m.example/a", "description": "", "events": ["a", "b"],
        "filter": {"code": {"gte": 5}}, "enabled": true, "status": "active", "auth": {"username": "u", "password": MASK},
        "header": null, "retry": {"enabled": true, "max_retries": null}, "signing": null, "timeout_ms": null,
        "version": 3, "origin": "managed",
    })
}

/// The patch and the changes, with a dash for nothing to do.
fn compare(fields: Value) -> (Value, Vec<Change>) {
    match step(wanted(fields), Some(&found())) {
        Step::Change {
            patch,
            changes,
            version,
            ..
        } => {
            assert_eq!(version, Some(3));
            (patch, changes)
        }
        other => {
            assert!(matches!(other, Step::Keep { .. }), "{other:?}");
            (json!("-"), Vec::new())
        }
    }
}

fn change(path: &str, kind: Kind) -> Change {
    Change {
        path: path.to_owned(),
        kind,
    }
}

#[test]
fn what_the_file_leaves_out_or_says_alike_needs_nothing() {
    for fields in [
        json!({}),
        json!({"url": "https://m.example/a", "events": ["b", "a"], "header": null, "signing": null}),
        json!({"retry": {"enabled": true}, "filter": {"code": {"gte": 5}}, "auth": {"username": "u"}}),
        json!({"auth": {"username": "u", "password": MASK}, "signing": {"generate": false}}),
        json!({"version": 9, "status": "disabled", "origin": "file", "created_at": "x", "timeout_ms": null}),
    ] {
        assert_eq!(compare(fields.clone()), (json!("-"), vec![]), "{fields}");
    }
    assert_eq!(compare(found()), (json!("-"), vec![]));
}

#[test]
fn only_what_differs_is_sent() {
    let becomes = |path, old, new| change(path, Kind::Becomes(old, new));
    for (fields, patch, told) in [
        (
            json!({"events": ["b"], "description": ""}),
            json!({"events": ["b"]}),
            becomes("events", json!(["a", "b"]), json!(["b"])),
        ),
        (
            json!({"retry": {"enabled": true, "max_retries": 2}}),
            json!({"retry": {"max_retries": 2}}),
            becomes("retry.max_retries", json!(null), json!(2)),
        ),
        (
            json!({"auth": {"username": "v", "password": MASK}}),
            json!({"auth": {"username": "v"}}),
            becomes("auth.username", json!("u"), json!("v")),
        ),
        (
            json!({"filter": null}),
            json!({"filter": null}),
            becomes("filter", json!({"code": {"gte": 5}}), json!(null)),
        ),
        (
            json!({"auth": null}),
            json!({"auth": null}),
            becomes("auth", json!({"username": "u", "password": MASK}), json!(null)),
        ),
    ] {
        assert_eq!(compare(fields), (patch, vec![told]));
    }
}

#[test]
fn a_filter_is_replaced_as_a_whole() {
    let filter = json!({"code": {"lt": 5}});
    assert_eq!(compare(json!({ "filter": filter })).0, json!({ "filter": filter }));
}

#[test]
fn a_secret_is_sent_and_never_shown() {
    let again = compare(json!({"auth": {"username": "u", "password": "hunter2"}}));
    assert_eq!(again.0, json!({"auth": {"password": "hunter2"}}));
    assert_eq!(again.1, [change("auth.password", Kind::SentAgain)]);
    let (patch, changes) = compare(json!({"header": {"name": "x-key", "value": "hunter2"}}));
    assert_eq!(patch, json!({"header": {"name": "x-key", "value": "hunter2"}}));
    assert_eq!(changes[1], change("header.value", Kind::NewSecret));
    let tls = json!({"tls": {"certificate": "chain", "key": "hunter2"}});
    let (patch, changes) = compare(tls.clone());
    assert_eq!(patch, tls);
    let told = [("tls.certificate", Kind::NewCertificate), ("tls.key", Kind::NewSecret)];
    assert_eq!(changes, told.map(|(path, kind)| change(path, kind)));
}

#[test]
fn a_secret_in_the_wrong_place_is_not_shown_either() {
    for fields in [
        json!({"auth": "hunter2"}),
        json!({"auth": {"passwort": "hunter2"}}),
        json!({"auth": {"username": {"a": "hunter2"}}}),
        json!({"header": ["hunter2"]}),
        json!({"tls": {"certificate": "hunter2", "key": MASK}}),
        json!({"tls": {"certificate": ["hunter2"]}}),
        json!({"signing": {"secret": {"a": "hunter2"}, "previous": {"secret": "hunter2"}}}),
        json!({"password": "hunter2"}),
        json!({"url": "https://u:hunter2@m.example/"}),
    ] {
        let (patch, changes) = compare(fields);
        assert!(patch.to_string().contains("hunter2"), "{patch}");
        assert!(
            !changes.is_empty() && !format!("{changes:?}").contains("hunter2"),
            "{changes:?}"
        );
    }
}

#[test]
fn a_signing_secret_is_made_only_where_there_is_none() {
    let fields = json!({"signing": {"generate": true}});
    let (patch, changes) = compare(fields.clone());
    assert_eq!(
        (patch, changes),
        (fields.clone(), vec![change(GENERATE, Kind::Generated)])
    );
    let mut signing = found();
    signing["signing"] = json!({"secret": MASK});
    let again = step(wanted(fields), Some(&signing));
    assert!(matches!(again, Step::Keep { .. }), "{again:?}");
}

#[test]
fn another_server_drops_credentials_that_are_not_given_again() {
    let dropped = change("auth", Kind::Dropped);
    let moved = |auth: Value| {
        let mut fields = json!({"url": "https://other.example/a"});
        if auth != "-" {
            fields["auth"] = auth;
        }
        compare(fields).1.contains(&dropped)
    };
    assert!(moved(json!("-")));
    assert!(moved(json!({"username": "u", "password": MASK})));
    assert!(!moved(json!({"username": "u", "password": "again"})));
    assert!(!moved(json!(null)));
    assert!(!compare(json!({"url": "https://m.example/other"})).1.contains(&dropped));
}

#[test]
fn what_is_missing_is_added_with_its_id_and_without_what_postrider_sets() {
    let fields = json!({"url": "https://h/", "events": ["a"], "version": 3, "status": "active", "origin": "managed"});
    let Step::Add { document, .. } = step(wanted(fields), None) else {
        panic!("it has to be added")
    };
    assert_eq!(document, json!({"id": "wh_1", "url": "https://h/", "events": ["a"]}));
}

#[test]
fn a_cancelled_one_cannot_become_what_the_file_says() {
    let mut cancelled = found();
    cancelled["status"] = json!("cancelled");
    let blocked = step(wanted(json!({})), Some(&cancelled));
    assert!(matches!(blocked, Step::Blocked { .. }), "{blocked:?}");
    assert_eq!(blocked.call(), None);
}

#[test]
fn only_managed_webhooks_that_are_not_in_the_file_are_strays() {
    let item = |id: &str, origin: &str, status: &str| json!({"id": id, "origin": origin, "status": status});
    let items = [
        item("wh_1", "managed", "active"),
        item("wh_2", "file", "active"),
        item("wh_3", "managed", "cancelled"),
        item("wh_4", "managed", "disabled"),
        json!({"id": "wh_5", "status": "active"}),
    ];
    let strays = strays(&[WebhookId::new("wh_1").unwrap()], items.into_iter());
    assert_eq!(strays.iter().map(|one| one.id().as_str()).collect::<Vec<_>>(), ["wh_4"]);
}
