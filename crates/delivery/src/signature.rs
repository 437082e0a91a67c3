//! Standard Webhooks signatures: v1 (HMAC-SHA256, `whsec_`) and v1a (ed25519, `whsk_`). What is signed
//! is `<id>.<timestamp>.<body>`, with the very bytes that are sent.

use std::fmt;

use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use postrider_types::webhook::Signing;
use postrider_types::{EventId, Secret, Timestamp, WebhookId, hex};

/// Starts a secret that signs with HMAC-SHA256.
pub const HMAC_PREFIX: &str = "whsec_";
/// Starts a private key that signs with ed25519.
pub const ED25519_PREFIX: &str = "whsk_";
/// Starts the public key that belongs to it.
pub const ED25519_PUBLIC_PREFIX: &str = "whpk_";

/// The lengths an HMAC secret may have, in bytes.
const HMAC_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// An ed25519 seed; a private key is the seed alone or followed by the public key.
const SEED_BYTES: usize = 32;
/// How many signatures of one header are looked at when verifying.
const MAX_SIGNATURES: usize = 16;

/// The text is no signing secret. Says what is wrong, never what was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSigningSecret {
    /// Another prefix.
    #[error("must start with whsec_ (HMAC) or whsk_ (ed25519)")]
    Prefix,
    /// Not base64 of the standard alphabet with padding.
    #[error("must be standard base64 with padding after its prefix")]
    Base64,
    /// Too short or too long for HMAC.
    #[error("must hold 24 to 64 bytes after whsec_")]
    HmacLength,
    /// No seed, nor a seed with its public key.
    #[error("must hold an ed25519 private key after whsk_: 32 bytes, or 64 with the public key")]
    Ed25519Key,
}

/// A key that signs. Its `Debug` shows the kind only.
pub struct SigningKey(Kind);

enum Kind {
    Hmac(Box<hmac::Key>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Hmac(_) => "SigningKey(v1)",
            Kind::Ed25519(_) => "SigningKey(v1a)",
        })
    }
}

impl SigningKey {
    /// Reads a secret.
    ///
    /// # Errors
    /// [`BadSigningSecret`] when the prefix, the encoding or the length is another.
    pub fn parse(secret: &Secret) -> Result<Self, BadSigningSecret> {
        let text = secret.expose();
        if let Some(encoded) = text.strip_prefix(HMAC_PREFIX) {
            let bytes = decode(encoded)?;
            if !HMAC_BYTES.contains(&bytes.len()) {
                return Err(BadSigningSecret::HmacLength);
            }
            return Ok(Self(Kind::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))));
        }
        let encoded = text.strip_prefix(ED25519_PREFIX).ok_or(BadSigningSecret::Prefix)?;
        let pair = key_pair(&decode(encoded)?).ok_or(BadSigningSecret::Ed25519Key)?;
        Ok(Self(Kind::Ed25519(Box::new(pair))))
    }

    /// The value of `webhook-signature` for one attempt; `timestamp` in seconds since the Unix epoch.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> HeaderValue {
        let text = match &self.0 {
            Kind::Hmac(key) => {
                let mut signed = hmac::Context::with_key(key);
                signed.update(signed_head(id, timestamp).as_bytes());
                signed.update(body);
                encoded("v1,", signed.sign().as_ref())
            }
            Kind::Ed25519(pair) => encoded("v1a,", pair.sign(&signed_content(id, timestamp, body)).as_ref()),
        };
        HeaderValue::try_from(text).expect("a version and base64 are visible ASCII")
    }

    fn accepts(&self, signed: &[u8], version: &str, signature: &[u8]) -> bool {
        match &self.0 {
            // The comparison takes the same time wherever the two differ.
            Kind::Hmac(key) => version == "v1" && hmac::verify(key, signed, signature).is_ok(),
            Kind::Ed25519(pair) => version == "v1a" && is_signed_by(pair.public_key().as_ref(), signed, signature),
        }
    }
}

/// The keys of one webhook: today's, and during a rotation those before it.
#[derive(Debug, Default)]
pub struct Keys {
    current: Option<SigningKey>,
    rotated_out: Vec<(SigningKey, Timestamp)>,
}

impl Keys {
    /// Reads a webhook's secrets.
    ///
    /// # Errors
    /// [`BadSigningSecret`] of today's. One that was rotated out and cannot be read signs nothing.
    pub fn parse(signing: &Signing) -> Result<Self, BadSigningSecret> {
        let old = signing.rotated_out();
        Ok(Self {
            current: Some(SigningKey::parse(&signing.secret)?),
            rotated_out: old
                .filter_map(|old| Some((SigningKey::parse(&old.secret).ok()?, old.expires_at)))
                .collect(),
        })
    }

    /// The value of `webhook-signature` for an attempt at `at`: one signature of each key that signs then,
    /// separated by a space. `None` without a key.
    #[must_use]
    pub fn sign(&self, id: &str, at: Timestamp, body: &[u8]) -> Option<HeaderValue> {
        let current = self.current.as_ref()?.sign(id, at.as_secs(), body);
        if self.rotated_out.iter().all(|(_, expires)| *expires <= at) {
            return Some(current);
        }
        let old = self.rotated_out.iter().filter(|(_, expires)| at < *expires);
        let old = old.map(|(key, _)| key.sign(id, at.as_secs(), body));
        let all: Vec<HeaderValue> = std::iter::once(current).chain(old).collect();
        let all = all.iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b' ');
        Some(HeaderValue::from_bytes(&all).expect("signatures are visible ASCII"))
    }
}

/// Whether one of the signatures in `header` was made with `secret` for this id, timestamp (seconds)
/// and body. Also takes the public key, `whpk_…`. A secret that cannot be read verifies nothing.
#[must_use]
pub fn verify(secret: &Secret, id: &str, timestamp: i64, body: &[u8], header: &str) -> bool {
    let signed = signed_content(id, timestamp, body);
    let public = public_key(secret);
    let key = SigningKey::parse(secret).ok();
    let accepts = |version: &str, signature: &[u8]| match (&public, &key) {
        (Some(public), _) => version == "v1a" && is_signed_by(public, &signed, signature),
        (None, Some(key)) => key.accepts(&signed, version, signature),
        (None, None) => false,
    };
    header
        .split(' ')
        .take(MAX_SIGNATURES)
        .filter_map(|signature| signature.split_once(','))
        .filter_map(|(version, encoded)| Some((version, STANDARD.decode(encoded).ok()?)))
        .any(|(version, signature)| accepts(version, &signature))
}

/// The id that every attempt, replay and crash of a delivery sends: `msg_` and the first 32
/// hexadecimal digits of SHA-256 over event id, a zero byte, webhook id.
#[must_use]
pub fn webhook_message_id(event: &EventId, webhook: &WebhookId) -> String {
    let mut digest = digest::Context::new(&SHA256);
    digest.update(event.as_str().as_bytes());
    digest.update(&[0]);
    digest.update(webhook.as_str().as_bytes());
    let mut id = String::with_capacity(36);
    id.push_str("msg_");
    hex::push(&mut id, &digest.finish().as_ref()[..16]);
    id
}

fn decode(encoded: &str) -> Result<Vec<u8>, BadSigningSecret> {
    STANDARD.decode(encoded).map_err(|_| BadSigningSecret::Base64)
}

fn key_pair(bytes: &[u8]) -> Option<Ed25519KeyPair> {
    match bytes.split_at_checked(SEED_BYTES)? {
        (seed, []) => Ed25519KeyPair::from_seed_unchecked(seed).ok(),
        (seed, public) => Ed25519KeyPair::from_seed_and_public_key(seed, public).ok(),
    }
}

fn public_key(secret: &Secret) -> Option<Vec<u8>> {
    let encoded = secret.expose().strip_prefix(ED25519_PUBLIC_PREFIX)?;
    STANDARD.decode(encoded).ok()
}

fn is_signed_by(public: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public)
        .verify(signed, signature)
        .is_ok()
}

fn signed_content(id: &str, timestamp: i64, body: &[u8]) -> Vec<u8> {
    [signed_head(id, timestamp).as_bytes(), body].concat()
}

/// What is signed before the body.
fn signed_head(id: &str, timestamp: i64) -> String {
    [id, ".", &timestamp.to_string(), "."].concat()
}

fn encoded(version: &str, signature: &[u8]) -> String {
    // An ed25519 signature in base64, and its version.
    const LONGEST: usize = 92;
    let mut text = String::with_capacity(LONGEST);
    text.push_str(version);
    STANDARD.encode_string(signature, &mut text);
    text
}

#[cfg(test)]
mod tests;
