//! The secrets that sign requests: the newest, and for a while those that were rotated out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::secret::Secret;

/// How requests are signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signing {
    /// `whsec_…` (HMAC) or `whsk_…` (ed25519).
    pub secret: Secret,
    /// The one before it, which goes on signing for a while after a rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousSecret>,
}

impl Signing {
    /// Secrets that sign beside the newest at most: each is a signature more in every request.
    pub const MOST_ROTATED_OUT: usize = 3;

    /// Signing with one secret.
    #[must_use]
    pub const fn with(secret: Secret) -> Self {
        Self { secret, previous: None }
    }

    /// The secrets that were rotated out, the newest first.
    pub fn rotated_out(&self) -> impl Iterator<Item = &PreviousSecret> {
        std::iter::successors(self.previous.as_ref(), |old| old.previous.as_deref())
    }

    /// All secrets, the newest first.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        std::iter::once(&self.secret).chain(self.rotated_out().map(|old| &old.secret))
    }

    /// Signing with another secret from now on, and until `expires_at` with this one too. Those before it go on until
    /// their own time; of more than [`Self::MOST_ROTATED_OUT`] the oldest ends at once.
    #[must_use]
    pub fn rotated(self, secret: Secret, expires_at: Timestamp) -> Self {
        let last = PreviousSecret {
            secret: self.secret,
            expires_at,
            previous: self.previous.map(Box::new),
        };
        let signing = Self {
            secret,
            previous: Some(last),
        };
        signing.keep(|place, _| place < Self::MOST_ROTATED_OUT)
    }

    /// What an edit makes of `before`: another secret in its place ends those that were rotated out too, unless the edit
    /// says otherwise of them. Who wants them to go on rotates.
    #[must_use]
    pub fn replacing(self, before: &Self) -> Self {
        if self.secret == before.secret || self.previous != before.previous {
            return self;
        }
        Self::with(self.secret.clone())
    }

    /// Without the secrets whose time is over at `now`.
    #[must_use]
    pub fn without_expired(self, now: Timestamp) -> Self {
        self.keep(|_, old| old.expires_at > now)
    }

    /// With those of the secrets that were rotated out which are to be kept, by their place.
    fn keep(self, keep: impl Fn(usize, &PreviousSecret) -> bool) -> Self {
        let old: Vec<&PreviousSecret> = self.rotated_out().collect();
        let kept = old.iter().enumerate().filter(|(place, old)| keep(*place, old));
        let previous = kept.rev().fold(None, |before, (_, old)| {
            Some(PreviousSecret {
                secret: old.secret.clone(),
                expires_at: old.expires_at,
                previous: before.map(Box::new),
            })
        });
        Self {
            secret: self.secret,
            previous,
        }
    }
}

/// A signing secret that was rotated out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviousSecret {
    /// The secret.
    pub secret: Secret,
    /// When it stops signing.
    pub expires_at: Timestamp,
    /// The one before it, where its time was not over either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Box<Self>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotated_secret_signs_until_its_time_and_so_do_those_before_it_up_to_a_number() {
        let of = |signing: &Signing| -> Vec<String> { signing.secrets().map(|one| one.expose().to_owned()).collect() };
        let until = |second: i64| Timestamp::from_millis(second * 1_000);
        let first = Signing::with(Secret::new("1"));
        let rotated = first
            .rotated(Secret::new("2"), until(20))
            .rotated(Secret::new("3"), until(5))
            .rotated(Secret::new("4"), until(30));
        assert_eq!(of(&rotated), ["4", "3", "2", "1"]);
        assert_eq!(
            of(&rotated.clone().without_expired(until(5))),
            ["4", "3", "1"],
            "each by its own time"
        );
        assert_eq!(of(&rotated.clone().without_expired(until(30))), ["4"]);
        assert_eq!(of(&rotated.rotated(Secret::new("5"), until(40))), ["5", "4", "3", "2"]);
    }
}
