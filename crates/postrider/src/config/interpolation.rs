//! References in strings: `${file:/run/secrets/x}` and `${env:NAME}`; `$${` is a plain `${`.
//!
//! The document is parsed first, so what a reference brings in is always one scalar and never YAML.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};

/// The largest file a reference may name.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// Why a reference cannot be followed. Holds names, never contents.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadReference {
    #[error("names the variable {0}, which is not set")]
    NoVariable(String),
    #[error("names the file {name}, which cannot be read: {why}")]
    NoFile { name: String, why: io::Error },
    #[error("names the file {0}, which is larger than 64 KiB")]
    LargeFile(String),
    #[error("names the file {0}, which is not UTF-8")]
    BinaryFile(String),
    #[error("holds `${{{0}}}`, which is neither ${{file:…}} nor ${{env:…}}; write $${{ for a plain ${{")]
    Unknown(String),
    #[error("holds `${{` without its `}}`; write $${{ for a plain ${{")]
    Open,
}

/// The text with its references followed; `None` when it holds none.
pub(crate) fn follow(text: &str, variables: &BTreeMap<String, String>) -> Result<Option<String>, BadReference> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut whole = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, after) = (&rest[..start], &rest[start + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            whole.push_str(before);
            whole.push_str("${");
            rest = after;
            continue;
        }
        let (reference, after) = after.split_once('}').ok_or(BadReference::Open)?;
        whole.push_str(before);
        whole.push_str(&value(reference, variables)?);
        rest = after;
    }
    whole.push_str(rest);
    Ok(Some(whole))
}

fn value(reference: &str, variables: &BTreeMap<String, String>) -> Result<String, BadReference> {
    match reference.split_once(':') {
        Some(("env", name)) => {
            let value = variables.get(name).cloned();
            value.ok_or_else(|| BadReference::NoVariable(name.to_owned()))
        }
        Some(("file", name)) => file(name),
        _ => Err(BadReference::Unknown(reference.to_owned())),
    }
}

fn file(name: &str) -> Result<String, BadReference> {
    let mut bytes = Vec::new();
    let read = File::open(name).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|why| BadReference::NoFile {
        name: name.to_owned(),
        why,
    })?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(BadReference::LargeFile(name.to_owned()));
    }
    let text = String::from_utf8(bytes).map_err(|_| BadReference::BinaryFile(name.to_owned()))?;
    let trimmed = text.strip_suffix('\n').unwrap_or(&text);
    Ok(trimmed.strip_suffix('\r').unwrap_or(trimmed).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> BTreeMap<String, String> {
        [("NAME".to_owned(), "va${env:NAME}lue".to_owned())].into()
    }

    #[test]
    fn variables_are_put_in_once() {
        let followed = follow("a-${env:NAME}-b", &variables()).unwrap();
        assert_eq!(followed.as_deref(), Some("a-va${env:NAME}lue-b"));
        assert_eq!(follow("plain $ { }", &variables()).unwrap(), None);
        assert_eq!(
            follow("$${env:NAME} $${", &variables()).unwrap().as_deref(),
            Some("${env:NAME} ${")
        );
    }

    #[test]
    fn one_trailing_newline_of_a_file_is_trimmed() {
        let dir = tempfile::tempdir().unwrap();
        for (content, expected) in [
            ("s3cret\n", "s3cret"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
            ("", ""),
            (" a ", " a "),
        ] {
            let path = dir.path().join("secret");
            std::fs::write(&path, content).unwrap();
            let followed = follow(&format!("${{file:{}}}", path.display()), &variables()).unwrap();
            assert_eq!(followed.as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_cannot_be_followed_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let large = dir.path().join("large");
        std::fs::write(&large, vec![b'x'; 65_537]).unwrap();
        let binary = dir.path().join("binary");
        std::fs::write(&binary, [0xff]).unwrap();
        for (text, reason) in [
            (
                "${env:NOT_SET}".to_owned(),
                "names the variable NOT_SET, which is not set",
            ),
            (
                "${file:/no/such}".to_owned(),
                "names the file /no/such, which cannot be read: No such file",
            ),
            (format!("${{file:{}}}", large.display()), "larger than 64 KiB"),
            (format!("${{file:{}}}", binary.display()), "not UTF-8"),
            (
                "${HOME}".to_owned(),
                "holds `${HOME}`, which is neither ${file:…} nor ${env:…}",
            ),
            ("${env:NAME".to_owned(), "holds `${` without its `}`"),
        ] {
            let error = follow(&text, &variables()).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
