//! Where the key comes from that seals what the webhooks topic holds of secrets.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use postrider_types::Secret;
use postrider_webhooks::Keyring;
use tracing::warn;

/// The variable with a key, when no file is named.
pub(crate) const VARIABLE: &str = "POSTRIDER_SECRETS_KEY";

/// `secrets.key_file`, else the variable. Read again when the key is to be changed.
#[derive(Debug, Clone)]
pub(crate) struct KeySource {
    pub(crate) file: Option<PathBuf>,
    pub(crate) variable: Option<Secret>,
}

/// The keys cannot be read. Shows nothing of what was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoKeys {
    /// Those of `secrets.key_file`.
    #[error("secrets.key_file: {0}")]
    File(String),
    /// Those of the variable.
    #[error("{VARIABLE}: {0}")]
    Variable(String),
}

impl KeySource {
    /// What the setting names, among these variables.
    pub(crate) fn new(key_file: Option<PathBuf>, variables: &BTreeMap<String, String>) -> Self {
        Self {
            file: key_file,
            variable: variables.get(VARIABLE).map(Secret::new),
        }
    }

    /// Reads the keys: one to a line, the first one seals. None is no fault as long as nothing has to be sealed.
    ///
    /// # Errors
    /// [`NoKeys`] when the file cannot be read or is empty, or a line is no key.
    pub(crate) fn read(&self) -> Result<Keyring, NoKeys> {
        match &self.file {
            Some(file) => of_file(file).map_err(NoKeys::File),
            None => {
                let text = self.variable.clone().unwrap_or(Secret::new(""));
                Keyring::parse(&text).map_err(|bad| NoKeys::Variable(bad.to_string()))
            }
        }
    }
}

fn of_file(file: &Path) -> Result<Keyring, String> {
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| format!("`{name}` cannot be read: {error}"))?;
    if is_for_everybody(file) {
        warn!(file = %name, "Every user of this machine can read secrets.key_file; chmod 0600 it");
    }
    let keys = Keyring::parse(&Secret::new(text)).map_err(|bad| format!("a line of `{name}` {bad}"))?;
    let holds_some = keys.can_seal().then_some(keys);
    holds_some.ok_or_else(|| format!("`{name}` holds no key; make one with `openssl rand -base64 32`"))
}

fn is_for_everybody(file: &Path) -> bool {
    const OTHERS: u32 = 0o007;
    std::fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & OTHERS != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Base64 of 32 zero bytes.
    const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    fn of_file(text: &str) -> Result<Keyring, NoKeys> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, text).unwrap();
        let source = KeySource {
            file: Some(file),
            variable: Some(Secret::new("not looked at")),
        };
        source.read()
    }

    #[test]
    fn the_file_comes_before_the_variable_and_white_space_is_trimmed() {
        assert!(of_file(&format!(" {KEY}\n")).unwrap().can_seal());
        let variable = |text: &str| KeySource {
            file: None,
            variable: Some(Secret::new(text)),
        };
        assert!(variable(&format!("{KEY}\n")).read().unwrap().can_seal());
        assert!(!variable("").read().unwrap().can_seal());
    }

    #[test]
    fn a_file_that_everybody_can_read_is_noticed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, noticed) in [(0o600, false), (0o440, false), (0o644, true)] {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_for_everybody(file.path()), noticed, "{mode:o}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        for text in ["hunter2", "", "AAAA"] {
            let error = of_file(text).unwrap_err().to_string();
            assert!(
                error.starts_with("secrets.key_file: ") && error.matches("key_file").count() == 1,
                "{error}"
            );
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
