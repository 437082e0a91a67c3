//! Who a bearer token belongs to. Tokens are kept and compared as digests, so that neither memory nor the time that a
//! comparison takes tells anything of them.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use postrider_types::{AccountId, Secret};

use crate::config::{Access, Token};

/// What a token that is given as its digest begins with.
const DIGEST_PREFIX: &str = "sha256:";
/// The name of a caller without a token.
const NAMELESS: &str = "-";

type Digest = [u8; SHA256_OUTPUT_LEN];

/// The digest of a configured token, given in plain or as `sha256:` and 64 hex digits; `None` for fewer or others.
pub(crate) fn configured(token: &Secret) -> Option<Digest> {
    let text = token.expose();
    text.strip_prefix(DIGEST_PREFIX).map_or_else(|| Some(hash(text)), unhex)
}

/// Whether a configured token is given as its digest.
pub(crate) fn is_digest(token: &Secret) -> bool {
    token.expose().starts_with(DIGEST_PREFIX)
}

fn hash(text: &str) -> Digest {
    let digest = digest(&SHA256, text.as_bytes());
    digest.as_ref().try_into().expect("SHA-256 has one length")
}

fn unhex(text: &str) -> Option<Digest> {
    let mut digest = Digest::default();
    let is_hex = text.len() == 2 * digest.len() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    for (at, byte) in digest.iter_mut().enumerate().filter(|_| is_hex) {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    is_hex.then_some(digest)
}

/// Whoever asks.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The token's name, for the audit log.
    pub(crate) name: Arc<str>,
    access: Access,
    /// Empty means all.
    accounts: Arc<[AccountId]>,
}

impl Caller {
    fn new(token: &Token) -> Self {
        Self {
            name: Arc::from(&*token.name),
            access: token.access,
            accounts: token.accounts.as_slice().into(),
        }
    }

    /// Where there are no tokens, everybody may do everything.
    pub(crate) fn anybody() -> Self {
        Self {
            name: Arc::from(NAMELESS),
            access: Access::Write,
            accounts: Arc::from([]),
        }
    }

    pub(crate) const fn may(&self, access: Access) -> bool {
        matches!((self.access, access), (Access::Write, _) | (_, Access::Read))
    }

    pub(crate) fn sees(&self, account: &AccountId) -> bool {
        self.sees_all() || self.accounts.contains(account)
    }

    pub(crate) fn sees_all(&self) -> bool {
        self.accounts.is_empty()
    }

    /// The accounts that the caller sees, of which only the one that is named; `None` for all there are.
    pub(crate) fn accounts(&self, named: Option<AccountId>) -> Option<Vec<AccountId>> {
        match named {
            Some(named) => Some(Some(named).filter(|named| self.sees(named)).into_iter().collect()),
            None => (!self.sees_all()).then(|| self.accounts.to_vec()),
        }
    }

    /// The account of what names none; `None` when the caller has to name it.
    pub(crate) fn default_account(&self) -> Option<AccountId> {
        match &*self.accounts {
            [] => Some(AccountId::default()),
            [only] => Some(only.clone()),
            _ => None,
        }
    }
}

/// `admin.tokens`.
#[derive(Debug)]
pub(crate) struct Tokens(Vec<(Digest, Caller)>);

impl Tokens {
    /// Those that can be read; the configuration's faults name the others.
    pub(crate) fn new(tokens: &[Token]) -> Self {
        let known = |token: &Token| Some((configured(&token.token)?, Caller::new(token)));
        Self(tokens.iter().filter_map(known).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All digests in their order: what only this configuration has.
    pub(crate) fn digests(&self) -> Vec<u8> {
        self.0.iter().flat_map(|(digest, _)| digest).copied().collect()
    }

    /// Whose token this is. Takes as long for one that nobody has.
    pub(crate) fn holder(&self, token: &str) -> Option<&Caller> {
        let digest = hash(token);
        let matching = |held: &Digest| verify_slices_are_equal(held, &digest).is_ok();
        let holders = self.0.iter().filter(|(held, _)| matching(held));
        // The last and not the first: all of them are looked at.
        holders.map(|(_, caller)| caller).fold(None, |_, caller| Some(caller))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str, token: &str) -> Token {
        Token {
            name: name.to_owned(),
            token: Secret::new(token),
            access: Access::Read,
            accounts: Vec::new(),
        }
    }

    #[test]
    fn a_token_is_known_whether_it_is_given_in_plain_or_as_its_digest() {
        // `printf %s of-the-night | sha256sum`
        let night = format!(
            "sha256:{}",
            hash("of-the-night").map(|byte| format!("{byte:02X}")).concat()
        );
        let tokens = Tokens::new(&[token("day", "of-the-day"), token("night", &night)]);
        let holder = |text: &str| tokens.holder(text).map(|caller| caller.name.to_string());
        assert_eq!(holder("of-the-day").as_deref(), Some("day"));
        assert_eq!(holder("of-the-night").as_deref(), Some("night"));
        assert_eq!(holder(&night), None, "the digest is not the token");
        assert_eq!(holder(""), None);
        assert!(!format!("{tokens:?}").contains("of-the-day"));
    }

    #[test]
    fn a_digest_is_64_hex_digits() {
        assert!(configured(&Secret::new(format!("sha256:{}", "aB".repeat(32)))).is_some());
        for bad in [
            "",
            "ab",
            &"ab".repeat(31),
            &"ab".repeat(33),
            &"+f".repeat(32),
            &"é".repeat(32),
        ] {
            assert_eq!(configured(&Secret::new(format!("sha256:{bad}"))), None, "{bad}");
        }
    }

    #[test]
    fn who_may_write_may_read() {
        let reader = Caller::new(&token("ops", "x"));
        assert!(reader.may(Access::Read) && !reader.may(Access::Write));
        assert!(Caller::anybody().may(Access::Read) && Caller::anybody().may(Access::Write));
    }
}
