//! A session: a cookie that holds the token its holder signed in with, sealed, and when it ends. The key comes from the
//! tokens of the configuration, so every instance opens what another one sealed, and a changed token ends the
//! sessions. Nobody can make one without a token, not even by the digests in the configuration: what is sealed is the
//! token itself, and it is looked up like any other.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postrider_types::{Clock, Timestamp};

use crate::tokens::Tokens;

/// How long a session lasts.
pub(super) const LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// What the key is for.
const PURPOSE: &[u8] = b"postrider console session";
/// Bytes of the time it ends.
const MOMENT: usize = size_of::<i64>();

/// Makes sessions and opens them.
pub(super) struct Sessions {
    key: RandomizedNonceKey,
    clock: Clock,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl Sessions {
    pub(super) fn new(tokens: &Tokens, clock: Clock) -> Self {
        let secret = Salt::new(HKDF_SHA256, &[]).extract(&tokens.digests());
        let mut bytes = [0; 32];
        let derived = secret.expand(&[PURPOSE], HKDF_SHA256);
        derived
            .and_then(|derived| derived.fill(&mut bytes))
            .expect("SHA-256 has 32 bytes");
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes).expect("the key has 32 bytes");
        Self { key, clock }
    }

    /// The cookie's value for a token.
    pub(super) fn sealed(&self, token: &str) -> String {
        let ends = self.clock.now().after(LIFETIME).as_millis();
        let mut text = [&ends.to_be_bytes(), token.as_bytes()].concat();
        let sealed = self.key.seal_in_place_append_tag(Aad::empty(), &mut text);
        let nonce = sealed.expect("a token is not too long to be sealed");
        URL_SAFE_NO_PAD.encode([nonce.as_ref().as_slice(), &text].concat())
    }

    /// The token in a cookie's value, unless the session is over.
    pub(super) fn token(&self, value: &str) -> Option<String> {
        let bytes = URL_SAFE_NO_PAD.decode(value).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce: [u8; NONCE_LEN] = nonce.try_into().ok()?;
        let mut sealed = sealed.to_vec();
        let text = self
            .key
            .open_in_place(Nonce::from(&nonce), Aad::empty(), &mut sealed)
            .ok()?;
        let (ends, token) = text.split_at_checked(MOMENT)?;
        let ends = Timestamp::from_millis(i64::from_be_bytes(ends.try_into().ok()?));
        (ends > self.clock.now()).then(|| String::from_utf8(token.to_vec()).ok())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Access, Token};
    use postrider_types::Secret;

    const TOKEN: &str = "0123456789abcdef012345";

    fn sessions(tokens: &[&str]) -> Sessions {
        let token = |token: &&str| Token {
            name: (*token).to_owned(),
            token: Secret::new(*token),
            access: Access::Read,
            accounts: Vec::new(),
        };
        let tokens: Vec<Token> = tokens.iter().map(token).collect();
        Sessions::new(&Tokens::new(&tokens), Clock::starting_at(Timestamp::from_millis(0)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_by_itself() {
        let sessions = sessions(&[TOKEN]);
        let sealed = sessions.sealed(TOKEN);
        tokio::time::advance(LIFETIME - Duration::from_millis(1)).await;
        assert_eq!(sessions.token(&sealed).as_deref(), Some(TOKEN));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(sessions.token(&sealed), None);
    }

    #[tokio::test]
    async fn another_instance_opens_it_and_one_with_other_tokens_does_not() {
        let sealed = sessions(&[TOKEN, "b"]).sealed(TOKEN);
        assert_eq!(sessions(&[TOKEN, "b"]).token(&sealed).as_deref(), Some(TOKEN));
        assert_eq!(sessions(&[TOKEN]).token(&sealed), None);
    }

    #[tokio::test]
    async fn it_does_not_show_the_token_and_a_changed_one_is_none() {
        let sessions = sessions(&[TOKEN]);
        let sealed = sessions.sealed(TOKEN);
        let bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
        assert!(!bytes.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes()));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(sessions.token(&URL_SAFE_NO_PAD.encode(changed)), None, "{at}");
        }
        for bad in ["", "a", "%", &sealed[1..]] {
            assert_eq!(sessions.token(bad), None, "{bad}");
        }
    }
}
