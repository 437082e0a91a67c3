//! What the README says is proved by a test is: every file and every test that it names exists.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A test that a text names, with the file it is said to be in.
#[derive(Debug, PartialEq, Eq)]
struct Named<'a> {
    file: &'a str,
    test: Option<&'a str>,
}

/// Every file of Rust and every test that the tables of a text name. `the same file` is that of the row above.
fn named(text: &str) -> Vec<Named<'_>> {
    let mut named: Vec<Named<'_>> = Vec::new();
    let rows = text.lines().filter(|line| line.starts_with('|'));
    let words = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    for word in words {
        if is_file(word) {
            named.push(Named { file: word, test: None });
        } else if let (true, Some(last)) = (is_test(word), named.last()) {
            let file = last.file;
            named.push(Named { file, test: Some(word) });
        }
    }
    named
}

fn is_file(word: &str) -> bool {
    let within = ["tests/", "crates/", "benches/"];
    within.iter().any(|folder| word.starts_with(folder)) && [".rs", ".mjs", ".py"].iter().any(|end| word.ends_with(end))
}

/// A sentence: a metric and a setting have fewer words.
fn is_test(word: &str) -> bool {
    let plain = word
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    plain && word.matches('_').count() >= 3 && !["postrider_", "process_"].iter().any(|metric| word.starts_with(metric))
}

#[test]
fn every_test_that_the_readme_names_exists() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let named = named(&readme);
    for Named { file, test } in &named {
        let text = std::fs::read_to_string(root().join(file));
        let text = text.unwrap_or_else(|error| panic!("README.md names {file}: {error}"));
        if let Some(test) = test {
            assert!(
                text.contains(&format!("fn {test}(")),
                "README.md names {test}, which is not in {file}"
            );
        }
    }
    let tests = named.iter().filter(|named| named.test.is_some()).count();
    assert!(tests >= 40, "{tests} tests are named");
}

#[test]
fn a_test_belongs_to_the_file_that_was_named_last() {
    let text = "| promise | `tests/it/a.rs`: `it_does_so_well`, `and_so_do_i_too` |\n\
                | `postrider_in_flight_total_x` | the same file: `it_goes_on_there` |\n\
                not a row: `tests/it/b.rs`\n";
    let named = named(text);
    assert!(named.iter().all(|named| named.file == "tests/it/a.rs"), "{named:?}");
    let tests: Vec<&str> = named.iter().filter_map(|named| named.test).collect();
    assert_eq!(tests, ["it_does_so_well", "and_so_do_i_too", "it_goes_on_there"]);
}
