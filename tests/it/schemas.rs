//! The contracts of `schemas/` hold: every example says what it should, and the code agrees with the files.

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;
use postrider_tests::Schema;
use postrider_tests::contract::{sample, schemas};
use postrider_tests::schema_change::{Reader, breaks};
use postrider_types::delivery::Progress;
use postrider_types::outcome::{Ending, Issuer, Met, OutcomeError, ResponseFacts, Timing};
use postrider_types::{
    AccountId, ErrorKind, Event, EventId, EventType, Facts, Notice, NoticeKind, Offset, Origin, Outcome, OutcomeResult,
    Partition, StatusChange, Timestamp, Webhook, WebhookId, status,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const CONTRACTS: [&str; 9] = [
    "outcome.v1",
    "order_shipped.v1",
    "order_error.v1",
    "tracking_update.v1",
    "webhook.v1",
    "dead-letter-headers.v1",
    "notice.v1",
    "replay.v1",
    "webhook-record.v1",
];
/// What others write and postrider reads; the rest postrider writes.
const READ: [&str; 4] = ["order_shipped.v1", "order_error.v1", "tracking_update.v1", "webhook.v1"];

/// Set to write the baseline anew, after changes that break nobody.
const WRITE: &str = "POSTRIDER_WRITE_BASELINE";

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn examples(kind: &str, contract: &str) -> Vec<(String, Value)> {
    let folder = schemas().join("examples").join(kind).join(contract);
    let read = |name: String| {
        let text = std::fs::read_to_string(folder.join(&name)).unwrap();
        let document = serde_json::from_str(&text).unwrap();
        (format!("{kind}/{contract}/{name}"), document)
    };
    names(&folder).into_iter().map(read).collect()
}

fn contract(name: &str) -> Value {
    let text = std::fs::read_to_string(schemas().join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn every_valid_example_fits_its_schema() {
    for contract in CONTRACTS {
        let schema = Schema::named(contract).unwrap();
        for (name, document) in examples("valid", contract) {
            assert_eq!(schema.faults(&document), [""; 0], "{name}");
        }
    }
}

#[test]
fn every_invalid_example_is_refused() {
    for contract in CONTRACTS {
        let schema = Schema::named(contract).unwrap();
        for (name, document) in examples("invalid", contract) {
            assert_ne!(schema.faults(&document), [""; 0], "{name}");
        }
    }
}

#[test]
fn every_contract_has_examples_of_both_kinds_and_no_others() {
    let contracts: BTreeSet<String> = CONTRACTS.map(str::to_owned).into();
    for kind in ["valid", "invalid"] {
        assert_eq!(names(&schemas().join("examples").join(kind)), contracts);
        for contract in CONTRACTS {
            assert!(examples(kind, contract).len() >= 2, "{kind} examples of {contract}");
        }
    }
}

#[test]
fn every_schema_file_is_a_known_contract() {
    let mut known: BTreeSet<String> = CONTRACTS.map(|name| format!("{name}.json")).into();
    known.extend(
        [
            "asyncapi.yaml",
            "openapi.json",
            "status-catalog.json",
            "samples",
            "examples",
        ]
        .map(str::to_owned),
    );
    assert_eq!(names(&schemas()), known);
}

#[test]
fn a_schema_is_named_after_its_file() {
    for contract in CONTRACTS {
        let text = std::fs::read_to_string(schemas().join(format!("{contract}.json"))).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["$id"], format!("urn:postrider:schema:{contract}"));
        assert_eq!(document["$schema"], "https://json-schema.org/draft/2020-12/schema");
    }
}

/// The baseline is what others have been told. A change that breaks nobody is taken into it; one that does needs a
/// schema of the next version, beside the old one.
#[test]
fn no_change_of_a_contract_breaks_those_who_go_by_it() {
    let baseline = Path::new(env!("CARGO_MANIFEST_DIR")).join("baseline");
    for name in CONTRACTS {
        let reader = if READ.contains(&name) {
            Reader::Postrider
        } else {
            Reader::Others
        };
        let path = baseline.join(format!("{name}.json"));
        let told = std::fs::read_to_string(&path).unwrap_or_else(|_| contract(name).to_string());
        let broken = breaks(&serde_json::from_str(&told).unwrap(), &contract(name), reader);
        assert_eq!(
            broken, [""; 0],
            "{name} breaks those who go by it: make it {name}'s successor"
        );
        let now = std::fs::read_to_string(schemas().join(format!("{name}.json"))).unwrap();
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(&path, &now).unwrap();
        }
        let told = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            told == now,
            "{name} changed, and breaks nobody: run the test again with {WRITE}=1"
        );
    }
    let files: BTreeSet<String> = CONTRACTS.map(|name| format!("{name}.json")).into();
    assert_eq!(names(&baseline), files, "contracts that were told do not go");
}

/// The fields of a schema, of one that was made from a type too.
fn fields(schema: &Value) -> BTreeSet<&str> {
    let properties = schema["properties"].as_object().unwrap();
    properties.keys().map(String::as_str).collect()
}

fn of_type<T: schemars::JsonSchema>() -> Value {
    schemars::schema_for!(T).to_value()
}

#[test]
fn the_schemas_and_the_types_have_the_same_fields() {
    let record = contract("webhook-record.v1");
    let (document, status) = (&record["$defs"]["document"], &record["$defs"]["status_change"]);
    let (outcome, notice) = (of_type::<Outcome>(), of_type::<Notice>());
    let (webhook, change) = (of_type::<Webhook>(), of_type::<StatusChange>());
    assert_eq!(fields(&contract("outcome.v1")), fields(&outcome));
    assert_eq!(fields(&contract("notice.v1")), fields(&notice));
    assert_eq!(fields(&contract("webhook.v1")), fields(&webhook));
    assert_eq!(fields(document), fields(&webhook));
    let mut changed = fields(&change);
    changed.insert("record");
    assert_eq!(fields(status), changed);
    for part in ["error", "source", "request", "response"] {
        let contract = contract("outcome.v1");
        let schema = &contract["properties"][part];
        let told = schema.pointer("/oneOf/1").unwrap_or(schema);
        let pointer = outcome["properties"][part].to_string();
        let named = outcome["$defs"].as_object().unwrap().iter();
        let (_, made) = named
            .into_iter()
            .find(|(name, _)| pointer.contains(&format!("/{name}\"")))
            .unwrap();
        assert_eq!(fields(told), fields(made), "{part}");
    }
}

#[test]
fn the_kinds_of_notices_are_the_ones_in_the_code() {
    let kinds = of_type::<NoticeKind>();
    let kinds: Value = kinds["oneOf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["const"].clone())
        .collect();
    assert_eq!(contract("notice.v1")["properties"]["notice"]["enum"], kinds);
}

/// What a later release may add is passed over.
fn comes_back<T: Serialize + DeserializeOwned>(name: &str) {
    let schema = contract(name);
    let known = fields(&schema);
    for (name, mut document) in examples("valid", name) {
        let read: T = serde_json::from_value(document.clone()).unwrap();
        document
            .as_object_mut()
            .unwrap()
            .retain(|field, _| known.contains(&**field));
        assert_eq!(serde_json::to_value(&read).unwrap(), document, "{name}");
    }
}

#[test]
fn every_valid_example_of_what_postrider_writes_is_read_and_written_back_the_same() {
    comes_back::<Outcome>("outcome.v1");
    comes_back::<Notice>("notice.v1");
}

#[test]
fn samples_fit_their_schemas_and_are_single_lines() {
    let expected = [
        ("order_shipped", "order_shipped.v1"),
        ("return", "order_shipped.v1"),
        ("order_error", "order_error.v1"),
        ("tracking_update", "tracking_update.v1"),
    ];
    assert_eq!(names(&schemas().join("samples")).len(), expected.len());
    for (name, contract) in expected {
        let bytes = sample(name);
        assert!(!bytes.contains(&b'\n'), "{name}");
        let document: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(Schema::named(contract).unwrap().faults(&document), [""; 0], "{name}");
    }
}

#[test]
fn the_tracking_sample_is_the_documented_payload_byte_for_byte() {
    let documented = concat!(
        r#"{"tracking":"WZ116539070","date":1622671204,"message":"Shipment delivered","city":"Florence","#,
        r#""est_delivery_date":"0","first_status_date":"1622152801","late":"0","code":6,"OrderID":"24957298","#,
        r#""TransactionID":"48572_1","TrackingCarrier":"FedEx","MarketplaceID":"0","#,
        r#""MarketplacePlatform":"Manual shipment","ExternalLink":"","FromAddressCompany":"John Doe srl.","#,
        r#""ToAddressCompany":"","FromAddressCountry":"IT","ToAddressCountry":"IT"}"#
    );
    assert_eq!(sample("tracking_update"), documented);
}

#[test]
fn a_return_is_an_order_shipped_that_says_so() {
    let document: Value = serde_json::from_slice(&sample("return")).unwrap();
    assert_eq!(document["is_return"], true);
}

#[test]
fn the_status_catalog_is_the_one_in_the_code() {
    let text = std::fs::read_to_string(schemas().join("status-catalog.json")).unwrap();
    let documents: Vec<Value> = serde_json::from_str(&text).unwrap();
    let listed: Vec<(u64, &str)> = documents
        .iter()
        .map(|entry| (entry["status"].as_u64().unwrap(), entry["meaning"].as_str().unwrap()))
        .collect();
    let known: Vec<(u64, &str)> = status::CATALOG
        .iter()
        .map(|(code, text)| (u64::from(*code), *text))
        .collect();
    assert_eq!(listed, known);
}

#[test]
fn the_error_kinds_are_the_ones_in_the_code() {
    let text = std::fs::read_to_string(schemas().join("outcome.v1.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let kinds = &document["properties"]["error"]["oneOf"][1]["properties"]["kind"]["enum"];
    assert_eq!(
        *kinds,
        ErrorKind::ALL.map(ErrorKind::as_str).into_iter().collect::<Value>()
    );
}

#[test]
fn the_dead_letter_reasons_are_the_ones_in_the_code() {
    let text = std::fs::read_to_string(schemas().join("dead-letter-headers.v1.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let reasons = postrider_types::DeadLetterReason::ALL.map(postrider_types::DeadLetterReason::as_str);
    assert_eq!(
        document["properties"]["pr-dl-reason"]["enum"],
        reasons.into_iter().collect::<Value>()
    );
}

#[test]
fn a_webhook_the_schema_takes_is_one_the_code_takes() {
    for (name, document) in examples("valid", "webhook.v1") {
        if document.get("id").is_none() {
            continue;
        }
        let webhook: Webhook = serde_json::from_value(document).unwrap();
        assert_eq!(webhook.faults(), [], "{name}");
    }
}

fn event() -> Event {
    let origin = Origin {
        topic: "tracking".into(),
        partition: Partition(3),
        offset: Offset(1841),
        timestamp: Timestamp::from_millis(1_763_805_600_000),
    };
    Event {
        id: EventId::from(&origin),
        origin,
        event_type: EventType::TrackingUpdate,
        account: AccountId::default(),
        facts: Facts {
            order_id: Some("24957298".into()),
            code: Some(6),
            ..Facts::default()
        },
        key: None,
        headers: Vec::new(),
        body: Bytes::from_static(b"{}"),
    }
}

fn attempted(met: Met) -> Option<(Timing, Met)> {
    let timing = Timing {
        start: Timestamp::from_millis(1_763_805_600_100),
        end: Timestamp::from_millis(1_763_805_600_237),
        spent_ms: 137.25,
    };
    Some((timing, met))
}

fn answered(status: u16) -> Met {
    Met {
        status: Some(status),
        error: None,
        response: Some(ResponseFacts {
            content_type: None,
            body: String::new(),
            truncated: false,
        }),
    }
}

fn failed_by(kind: ErrorKind) -> Met {
    Met {
        status: None,
        error: Some(OutcomeError {
            kind,
            message: "why".into(),
        }),
        response: None,
    }
}

/// Every way an attempt can end, with the result that fits it.
fn endings() -> Vec<Ending> {
    let due = Some(Timestamp::from_millis(1_763_805_605_237));
    let ending = |result, met, next_attempt_at| Ending {
        result,
        attempted: attempted(met),
        skipped: None,
        next_attempt_at,
    };
    let skipped = [ErrorKind::WebhookGone, ErrorKind::WebhookDisabled];
    let mut endings = vec![
        ending(OutcomeResult::Success, answered(204), None),
        ending(OutcomeResult::Retrying, answered(503), due),
        ending(OutcomeResult::Failed, answered(410), None),
    ];
    for kind in ErrorKind::ALL {
        endings.push(if skipped.contains(&kind) {
            Ending::skipped(failed_by(kind).error.unwrap())
        } else if kind.status_code().is_none() {
            ending(OutcomeResult::Failed, failed_by(kind), None)
        } else {
            ending(OutcomeResult::Retrying, failed_by(kind), due)
        });
    }
    endings
}

#[test]
fn every_outcome_the_code_makes_fits_the_schema() {
    let schema = Schema::named("outcome.v1").unwrap();
    let issuer = Issuer {
        instance: "postrider-0".into(),
        max_retries: 10,
        traced: false,
    };
    let webhook = Webhook::new(
        WebhookId::new("wh_1").unwrap(),
        "https://u:p@merchant.example/hooks?token=s3cret&x",
        vec![EventType::TrackingUpdate],
    );
    for ending in endings() {
        let (event, progress) = (event(), Progress::start(None));
        let outcome = issuer.outcome(&event, &webhook, &progress, ending);
        let document = serde_json::to_value(&outcome).unwrap();
        assert_eq!(schema.faults(&document), [""; 0], "{document:#}");
    }
}
