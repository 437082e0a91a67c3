//! Where the key comes from that seals what the webhooks topic holds of secrets.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
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

impl KeySource {
    /// Reads the keys: one to a line, the first one seals. None is no fault as long as nothing has to be sealed.
    ///
    /// # Errors
    /// When the file cannot be read, or a line is no key; shows nothing of either.
    pub(crate) fn read(&self) -> anyhow::Result<Keyring> {
        let Some(file) = &self.file else {
            let text = self.variable.clone().unwrap_or(Secret::new(""));
            return Keyring::parse(&text).context(VARIABLE);
        };
        let named = || format!("secrets.key_file {}", file.display());
        let text = std::fs::read_to_string(file).with_context(named)?;
        if is_for_everybody(file) {
            warn!(file = %file.display(), "Every user of this machine can read secrets.key_file; chmod 0600 it");
        }
        let keys = Keyring::parse(&Secret::new(text)).with_context(named)?;
        anyhow::ensure!(keys.can_seal(), "{} holds no key", named());
        Ok(keys)
    }
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

    fn of_file(text: &str) -> anyhow::Result<Keyring> {
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
            let error = format!("{:#}", of_file(text).unwrap_err());
            assert!(
                error.starts_with("secrets.key_file") && !error.contains("hunter2"),
                "{error}"
            );
        }
    }
}
