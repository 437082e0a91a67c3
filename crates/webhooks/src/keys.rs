//! The keys that seal secrets in the webhooks topic: AES-256-GCM, with a random nonce for each seal and the webhook's
//! id and the field's name as associated data, so that a sealed text is of no use anywhere else.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postrider_types::{Secret, hex};

/// What a sealed text begins with.
const PREFIX: &str = "sealed:v1:";
/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Bytes of the digest that names a key.
const ID_BYTES: usize = 4;

/// A text holds no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not base64 of 32 bytes; make one with `openssl rand -base64 32`")]
pub struct BadKey;

/// A sealed secret cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It was sealed with a key that is not here.
    #[error("it is sealed with the key {0}, which is not here; add that key to the key file below the first")]
    OtherKey(String),
    /// It was changed, or belongs to another webhook or field.
    #[error("it was changed, or sealed for another webhook")]
    Broken,
}

struct Key {
    id: String,
    key: RandomizedNonceKey,
}

/// The keys. The first seals, all open.
#[derive(Default)]
pub struct Keyring(Vec<Key>);

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.id)).finish()
    }
}

impl Keyring {
    /// Reads keys, one to a line, white space around them aside. No line is no key.
    ///
    /// # Errors
    /// [`BadKey`] when a line is none.
    pub fn parse(text: &Secret) -> Result<Self, BadKey> {
        let lines = text.expose().lines().map(str::trim).filter(|line| !line.is_empty());
        lines.map(key).collect::<Result<_, _>>().map(Self)
    }

    /// Whether secrets can be sealed.
    #[must_use]
    pub const fn can_seal(&self) -> bool {
        !self.0.is_empty()
    }

    /// Seals a secret of a webhook's field; `None` without a key.
    #[must_use]
    pub fn seal(&self, webhook: &str, field: &str, secret: &Secret) -> Option<String> {
        let key = self.0.first()?;
        let mut sealed = secret.expose().as_bytes().to_vec();
        let nonce = key
            .key
            .seal_in_place_append_tag(associated(webhook, field), &mut sealed)
            .expect("a secret is far shorter than what AES-GCM takes");
        let text = STANDARD.encode([nonce.as_ref().as_slice(), &sealed].concat());
        Some(format!("{PREFIX}{}:{text}", key.id))
    }

    /// Opens what was sealed for this webhook's field.
    ///
    /// # Errors
    /// [`Unreadable`] when no key opens it.
    pub fn open(&self, webhook: &str, field: &str, sealed: &str) -> Result<Secret, Unreadable> {
        let (id, text) = sealed
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once(':'))
            .ok_or(Unreadable::Broken)?;
        let key = self.0.iter().find(|key| key.id == id);
        let key = key.ok_or_else(|| Unreadable::OtherKey(id.escape_debug().to_string()))?;
        let bytes = STANDARD.decode(text).map_err(|_| Unreadable::Broken)?;
        let (nonce, rest) = bytes.split_first_chunk::<NONCE_LEN>().ok_or(Unreadable::Broken)?;
        let mut rest = rest.to_vec();
        let opened = key
            .key
            .open_in_place(Nonce::from(nonce), associated(webhook, field), &mut rest)
            .map_err(|_| Unreadable::Broken)?;
        let text = std::str::from_utf8(opened).map_err(|_| Unreadable::Broken)?;
        Ok(Secret::new(text))
    }

    /// Whether a text was sealed with the key that seals today.
    #[must_use]
    pub fn is_current(&self, sealed: &str) -> bool {
        let id = sealed.strip_prefix(PREFIX).and_then(|rest| rest.split_once(':'));
        self.0.first().map(|key| &*key.id) == id.map(|(id, _)| id)
    }
}

fn key(line: &str) -> Result<Key, BadKey> {
    let bytes = STANDARD.decode(line).map_err(|_| BadKey)?;
    if bytes.len() != KEY_BYTES {
        return Err(BadKey);
    }
    let hash = digest(&SHA256, &bytes);
    let id = hex::of(&hash.as_ref()[..ID_BYTES]);
    let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes).map_err(|_| BadKey)?;
    Ok(Key { id, key })
}

fn associated(webhook: &str, field: &str) -> Aad<String> {
    Aad::from(format!("{webhook}\0{field}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ring(bytes: &[u8]) -> Keyring {
        let lines: Vec<String> = bytes.iter().map(|byte| STANDARD.encode([*byte; 32])).collect();
        Keyring::parse(&Secret::new(lines.join("\n"))).unwrap()
    }

    #[test]
    fn white_space_around_a_key_is_trimmed_and_anything_else_is_no_key() {
        let text = format!("\n  {}\r\n\n", STANDARD.encode([7; 32]));
        assert!(Keyring::parse(&Secret::new(text)).unwrap().can_seal());
        assert!(!Keyring::parse(&Secret::new(" \n")).unwrap().can_seal());
        for bad in ["x", &STANDARD.encode([7; 31]), &STANDARD.encode([7; 33])] {
            assert_eq!(Keyring::parse(&Secret::new(bad)).unwrap_err(), BadKey, "{bad}");
        }
    }

    #[test]
    fn what_is_sealed_opens_only_for_its_webhook_and_field_and_with_its_key() {
        let (old, both, new) = (ring(&[1]), ring(&[2, 1]), ring(&[2]));
        let sealed = old.seal("wh_1", "auth.password", &Secret::new("hunter2")).unwrap();
        assert!(!sealed.contains("hunter2"));
        assert_eq!(both.open("wh_1", "auth.password", &sealed).unwrap().expose(), "hunter2");
        assert_eq!(old.open("wh_2", "auth.password", &sealed), Err(Unreadable::Broken));
        assert_eq!(old.open("wh_1", "header.value", &sealed), Err(Unreadable::Broken));
        assert!(matches!(
            new.open("wh_1", "auth.password", &sealed),
            Err(Unreadable::OtherKey(_))
        ));
        assert!(old.is_current(&sealed) && !both.is_current(&sealed));
        assert!(!format!("{old:?}").contains(&STANDARD.encode([1; 32])));
    }

    #[test]
    fn the_same_secret_is_sealed_differently_each_time() {
        let (ring, secret) = (ring(&[1]), Secret::new("hunter2"));
        assert_ne!(ring.seal("w", "f", &secret), ring.seal("w", "f", &secret));
        assert_eq!(Keyring::default().seal("w", "f", &secret), None);
    }

    proptest! {
        #[test]
        fn anything_sealed_opens_and_nothing_that_was_changed_does(text in ".{0,80}", at in any::<usize>()) {
            let ring = ring(&[1]);
            let sealed = ring.seal("wh", "f", &Secret::new(text.clone())).unwrap();
            let opened = ring.open("wh", "f", &sealed).unwrap();
            prop_assert_eq!(opened.expose(), text);
            let mut changed = sealed.into_bytes();
            let at = PREFIX.len() + at % (changed.len() - PREFIX.len());
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            prop_assert!(ring.open("wh", "f", &changed).is_err());
        }
    }
}
