//! Who may depend on whom. The flow's stages do not know each other, only the binary knows them all, and each
//! heavy dependency stays behind one wall. What ships is judged; tests of a crate may use what they like,
//! except the other stages.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Crate → the crates of this workspace it may know.
const EDGES: [(&str, &[&str]); 12] = [
    ("postrider-types", &[]),
    ("postrider-kafka", &["postrider-types"]),
    ("postrider-consumer", &["postrider-kafka", "postrider-types"]),
    ("postrider-replay", &["postrider-kafka", "postrider-types"]),
    ("postrider-routing", &["postrider-types"]),
    ("postrider-delivery", &["postrider-types"]),
    (
        "postrider-webhooks",
        &["postrider-kafka", "postrider-routing", "postrider-types"],
    ),
    ("postrider-logs", &["postrider-kafka", "postrider-types"]),
    (
        "postrider-admin",
        &[
            "postrider-logs",
            "postrider-replay",
            "postrider-routing",
            "postrider-types",
            "postrider-webhooks",
        ],
    ),
    (
        "postrider",
        &[
            "postrider-admin",
            "postrider-consumer",
            "postrider-delivery",
            "postrider-kafka",
            "postrider-logs",
            "postrider-replay",
            "postrider-routing",
            "postrider-types",
            "postrider-webhooks",
        ],
    ),
    ("postrider-tests", &["postrider-types"]),
    (
        "postrider-benches",
        &[
            "postrider-consumer",
            "postrider-delivery",
            "postrider-kafka",
            "postrider-logs",
            "postrider-routing",
            "postrider-types",
        ],
    ),
];

/// Dependency → the only crates that may ship with it.
const WALLS: [(&str, &[&str]); 22] = [
    (
        "rdkafka",
        &["postrider-kafka", "postrider-consumer", "postrider", "postrider-tests"],
    ),
    ("hyper-rustls", &["postrider-delivery", "postrider"]),
    ("hickory-resolver", &["postrider-delivery"]),
    ("backoff", &["postrider-delivery"]),
    ("hyper", &["postrider-delivery", "postrider-admin", "postrider"]),
    ("hyper-util", &["postrider-delivery", "postrider-admin", "postrider"]),
    (
        "aws-lc-rs",
        &[
            "postrider-admin",
            "postrider-delivery",
            "postrider-kafka",
            "postrider-tests",
            "postrider-webhooks",
        ],
    ),
    ("rustls", &["postrider-delivery", "postrider"]),
    ("axum", &["postrider-admin", "postrider", "postrider-tests"]),
    ("rusqlite", &["postrider-logs"]),
    ("askama", &["postrider-admin"]),
    ("figment", &["postrider"]),
    ("serde-saphyr", &["postrider"]),
    ("clap", &["postrider"]),
    ("clap_complete", &["postrider"]),
    ("tracing-subscriber", &["postrider"]),
    ("anyhow", &["postrider", "postrider-benches", "postrider-tests"]),
    ("criterion", &["postrider-benches"]),
    // The stages name spans by numbers of their own; what a span is, only the binary knows.
    ("opentelemetry", &["postrider"]),
    ("opentelemetry-otlp", &["postrider"]),
    ("opentelemetry_sdk", &["postrider"]),
    ("opentelemetry-proto", &["postrider-tests"]),
];

#[derive(Debug, Clone)]
struct Dependency {
    from: String,
    to: String,
    ships: bool,
}

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn members(metadata: &Value) -> BTreeMap<String, Vec<Dependency>> {
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let name = package["name"].as_str().unwrap();
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            (name.to_owned(), dependencies.map(|to| dependency(name, to)).collect())
        })
        .collect()
}

fn dependency(from: &str, to: &Value) -> Dependency {
    Dependency {
        from: from.to_owned(),
        to: to["name"].as_str().unwrap().to_owned(),
        ships: to["kind"] != "dev",
    }
}

fn row<'a>(table: &[(&str, &'a [&'a str])], name: &str) -> Option<&'a [&'a str]> {
    table.iter().find(|(known, _)| *known == name).map(|(_, row)| *row)
}

fn breach(dependency: &Dependency) -> Option<String> {
    let Dependency { from, to, ships } = dependency;
    let is_ours = row(&EDGES, to).is_some();
    let edge_allowed = row(&EDGES, from).is_some_and(|row| row.contains(&&**to));
    let harness_in_tests = !ships && to == "postrider-tests";
    if is_ours && !edge_allowed && !harness_in_tests {
        return Some(format!("{from} must not know {to}"));
    }
    let walled_out = row(&WALLS, to).is_some_and(|wall| !wall.contains(&&**from));
    (*ships && walled_out).then(|| format!("{from} must not ship with {to}"))
}

#[test]
fn every_crate_keeps_to_its_edges_and_walls() {
    let members = members(&metadata());
    let breaches: Vec<String> = members.values().flatten().filter_map(breach).collect();
    assert_eq!(breaches, [""; 0]);
}

#[test]
fn every_crate_of_the_workspace_has_its_row() {
    let listed: BTreeSet<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    let members = members(&metadata());
    assert_eq!(members.keys().map(String::as_str).collect::<BTreeSet<_>>(), listed);
}

#[test]
fn a_forbidden_edge_and_a_breached_wall_are_found() {
    let edge = |from: &str, to: &str, ships| Dependency {
        from: from.to_owned(),
        to: to.to_owned(),
        ships,
    };
    for bad in [
        edge("postrider-delivery", "postrider-consumer", true),
        edge("postrider-routing", "postrider-delivery", false),
        edge("postrider-types", "postrider", true),
        edge("postrider-routing", "rdkafka", true),
        edge("postrider-admin", "rusqlite", true),
        edge("postrider-admin", "hyper-rustls", true),
        edge("postrider-delivery", "opentelemetry", true),
    ] {
        assert!(breach(&bad).is_some(), "{bad:?}");
    }
    for good in [
        edge("postrider-consumer", "postrider-kafka", true),
        edge("postrider-kafka", "postrider-tests", false),
        edge("postrider-delivery", "axum", false),
        edge("postrider-admin", "hyper", true),
    ] {
        assert_eq!(breach(&good), None, "{good:?}");
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = paths.partition(|path| path.is_dir());
    let rust = files
        .into_iter()
        .filter(|path| path.extension().is_some_and(|kind| kind == "rs"));
    rust.chain(folders.iter().flat_map(|folder| sources(folder))).collect()
}

/// hyper is a client and a server in one crate, so the wall around its client runs through the sources. The command
/// line speaks to the admin API; what is sent to merchants goes through delivery and its guard alone.
#[test]
fn only_delivery_names_the_http_client() {
    const ALLOWED: [&str; 2] = ["delivery/src", "postrider/src/api"];
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let naming: BTreeSet<PathBuf> = sources(&crates)
        .into_iter()
        .filter(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            text.contains("hyper::client") || text.contains("hyper_util::client")
        })
        .map(|path| path.strip_prefix(&crates).unwrap().with_extension(""))
        .collect();
    let allowed = |path: &PathBuf| ALLOWED.iter().any(|folder| path.starts_with(folder));
    assert_eq!(naming.iter().find(|path| !allowed(path)), None);
    for folder in ALLOWED {
        assert!(naming.iter().any(|path| path.starts_with(folder)), "{folder}");
    }
}
