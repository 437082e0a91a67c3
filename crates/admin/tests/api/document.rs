//! The OpenAPI document, the file of it, and the page of it.

use std::path::Path;

use serde_json::Value;

use crate::house::House;

/// Set to write the file anew: `POSTRIDER_WRITE_OPENAPI=1 cargo test --package postrider-admin --test api document`.
const WRITE: &str = "POSTRIDER_WRITE_OPENAPI";

#[tokio::test]
async fn the_file_in_the_repository_is_what_the_code_says() {
    let house = House::open().await;
    let text = format!("{}\n", serde_json::to_string_pretty(&house.contract.document).unwrap());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/openapi.json");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let written: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    // The order of fields is not the contract, and depends on what else is built.
    assert!(
        written == house.contract.document,
        "schemas/openapi.json is not what the code says; write it anew with {WRITE}=1"
    );
}

#[tokio::test]
async fn the_document_is_openapi_3_1_with_a_summary_and_an_id_for_every_operation() {
    let house = House::open().await;
    assert_eq!(house.contract.document["openapi"], "3.1.0");
    let mut ids = Vec::new();
    for (method, path, operation) in house.contract.operations() {
        assert!(operation["summary"].is_string(), "{method} {path}");
        ids.push(operation["operationId"].to_string());
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[tokio::test]
async fn every_schema_is_one() {
    let house = House::open().await;
    let components = &house.contract.document["components"];
    for (name, schema) in components["schemas"].as_object().unwrap() {
        let whole = serde_json::json!({ "allOf": [schema], "components": components });
        assert!(jsonschema::validator_for(&whole).is_ok(), "{name}");
    }
}

#[tokio::test]
async fn the_page_shows_every_route_and_loads_nothing() {
    let house = House::open().await;
    let page = house.get("/docs").await.expect(200);
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    for (_, path, _) in house.contract.operations() {
        assert!(page.body.contains(&format!("<code>{path}</code>")), "{path}");
    }
    for loading in [
        "<script", "<link", "<img", "src=", "@import", "url(", "http://", " onload", " style=",
    ] {
        assert!(!page.body.contains(loading), "{loading}");
    }
    let schemas: &Value = &house.contract.document["components"]["schemas"];
    assert!(
        schemas
            .as_object()
            .unwrap()
            .keys()
            .all(|name| page.body.contains(&format!("id=\"{name}\"")))
    );
}
