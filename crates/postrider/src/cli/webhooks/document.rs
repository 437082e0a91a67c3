//! Files that hold webhooks: JSON or YAML. What is wrong with one is told without its content, which may be secret.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::Value;

/// Bytes of a file that are read.
const MAX_FILE: u64 = 4 * 1024 * 1024;
/// Bytes of a file that holds one field.
const MAX_CONTENT: u64 = 64 * 1024;

/// Reads a document; `-` is standard input.
pub(super) fn read(file: &Path) -> anyhow::Result<Value> {
    let text = text(file, MAX_FILE)?;
    parse(&text).with_context(|| format!("{} cannot be read", name(file)))
}

/// Reads one field's text, often a secret; `-` is standard input. The line's end, which editors add, is no part of it.
pub(super) fn content(file: &Path) -> anyhow::Result<String> {
    let text = text(file, MAX_CONTENT)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        bail!("{} holds nothing", name(file));
    }
    Ok(line.to_owned())
}

/// Whether this names standard input.
pub(super) fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

/// The file, as it is told.
pub(super) fn name(file: &Path) -> Cow<'_, str> {
    if is_stdin(file) {
        Cow::Borrowed("standard input")
    } else {
        file.to_string_lossy()
    }
}

fn text(file: &Path, most: u64) -> anyhow::Result<String> {
    let bytes = bytes(file, most).with_context(|| format!("cannot read {}", name(file)))?;
    if bytes.len() as u64 > most {
        bail!("{} is larger than {} KiB", name(file), most / 1024);
    }
    // The error would show what was read.
    String::from_utf8(bytes).map_err(|_| anyhow::anyhow!("{} is not UTF-8", name(file)))
}

fn bytes(file: &Path, most: u64) -> io::Result<Vec<u8>> {
    // One byte more than is allowed, so that a file that is too large shows itself.
    let mut bytes = Vec::new();
    if is_stdin(file) {
        io::stdin().lock().take(most + 1).read_to_end(&mut bytes)?;
    } else {
        File::open(file)?.take(most + 1).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Almost all JSON is YAML. What is not, such as escaped surrogates, is read as JSON first.
fn parse(text: &str) -> anyhow::Result<Value> {
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    serde_saphyr::from_str(text).map_err(|error| {
        let line = error.location().map(|place| format!("line {} ", place.line()));
        let message = error.without_snippet().to_string();
        let message = message.lines().next().unwrap_or_default();
        let reason = message.rfind(" at line ").map_or(message, |end| &message[..end]);
        anyhow::anyhow!("{}is neither JSON nor YAML: {reason}", line.unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_and_yaml_are_read_alike() {
        let expected = json!({"url": "https://h", "events": ["order_error"], "timeout_ms": 5, "filter": null});
        let yaml = "# mine\nurl: https://h\nevents:\n  - order_error\ntimeout_ms: 5\nfilter: ~\n";
        assert_eq!(parse(yaml).unwrap(), expected);
        assert_eq!(parse(&expected.to_string()).unwrap(), expected);
        assert_eq!(
            parse(r#"{"description": "\ud83d\ude00"}"#).unwrap(),
            json!({"description": "😀"})
        );
    }

    #[test]
    fn a_fault_is_placed_and_shows_no_content() {
        for text in [
            "url: x\nauth: {password: hunter2\n",
            "{\"auth\": {\"password\": \"hunter2\"",
            "password: hunter2\npassword: hunter2\n",
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(
                error.contains("line ") && error.contains("is neither JSON nor YAML"),
                "{error}"
            );
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_fields_content_is_without_its_last_lines_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        for (written, expected) in [
            ("a b\n", Some("a b")),
            (" a\r\n", Some(" a")),
            ("a\n\n", Some("a\n")),
            ("\n", None),
        ] {
            std::fs::write(&path, written).unwrap();
            assert_eq!(content(&path).ok().as_deref(), expected, "{written:?}");
        }
        std::fs::write(&path, b"hunter2\xff").unwrap();
        let error = format!("{:#?}", content(&path).unwrap_err());
        assert!(error.contains("is not UTF-8") && !error.contains("hunter2"), "{error}");
    }
}
