//! Every change that a person makes of a managed webhook: judged by the webhooks as they are when the change has the
//! topic to itself, written, and answered once it can be read back.

mod next;

use std::sync::Arc;

use postrider_routing::Table;
use postrider_types::webhook::WebhookStatus;
use postrider_types::{Secret, StatusChange, Webhook, WebhookId};
use serde_json::Value;

use self::next::{require_version, switch_on};
use crate::directory::{Directory, Listed, Origin, UNREADABLE};
use crate::draft::{self, Generated};
use crate::journal::{Entry, Journal, Rehearsal};
use crate::keys::Keyring;
use crate::once::Once;
use crate::refusal::Refusal;
use crate::rules::Rules;
use crate::sign;

/// A change that was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// The webhook as it is now.
    pub webhook: Arc<Webhook>,
    /// Who changes it.
    pub origin: Origin,
    /// Whether its endpoint is another than before, and gets a first connection.
    pub is_new_endpoint: bool,
    /// A signing secret that was made, to be shown this once.
    pub generated: Option<Secret>,
}

/// Changes webhooks.
#[derive(Debug)]
pub struct Editor {
    directory: Arc<Directory>,
    journal: Arc<dyn Journal>,
    rules: Arc<Rules>,
}

impl Editor {
    /// Over a directory, writing to a journal.
    #[must_use]
    pub fn new(directory: Arc<Directory>, journal: Arc<dyn Journal>, rules: Rules) -> Self {
        Self {
            directory,
            journal,
            rules: Arc::new(rules),
        }
    }

    /// One that judges changes by the same rules and the webhooks as they are here now, and makes none. Each is judged
    /// as if it were the only one.
    #[must_use]
    pub fn rehearsing(&self) -> Self {
        Self {
            directory: Arc::clone(&self.directory),
            journal: Arc::new(Rehearsal),
            rules: Arc::clone(&self.rules),
        }
    }

    /// All webhooks.
    #[must_use]
    pub fn list(&self) -> Vec<Listed> {
        self.directory.list()
    }

    /// The webhook of an id.
    #[must_use]
    pub fn get(&self, id: &WebhookId) -> Option<Listed> {
        self.directory.get(id)
    }

    /// The table that routes, for what-if questions.
    #[must_use]
    pub fn table(&self) -> Arc<Table> {
        self.directory.table().load()
    }

    /// Adds a webhook.
    ///
    /// # Errors
    /// The [`Refusal`].
    pub async fn add(&self, document: Value) -> Result<Changed, Refusal> {
        let id = WebhookId::new(&format!("wh_{}", ulid::Ulid::new())).expect("a ULID fits an id");
        let (mut webhook, generated) =
            draft::new(&id, document, &|webhook| self.rules.faults(webhook)).map_err(Refusal::Faults)?;
        let now = self.rules.clock.now();
        (webhook.version, webhook.created_at, webhook.updated_at) = (1, Some(now), Some(now));
        let added = Once::new();
        let add = || {
            if self.directory.get(&webhook.id).is_some() {
                return Err(Refusal::Taken);
            }
            let limit = self.rules.limit;
            if limit > 0 && self.directory.count(&webhook.account_id) >= limit as usize {
                return Err(Refusal::Full(limit));
            }
            Ok((webhook.clone(), vec![self.document(&webhook)?]))
        };
        let decide = || added.decide(|webhook| self.is_written(webhook), add);
        self.journal.write(&decide).await?;
        let is_new_endpoint = true;
        Ok(self.changed(added.made(), is_new_endpoint, generated))
    }

    /// Edits a webhook by a merge patch; `if_match` is the version that it is meant for.
    ///
    /// # Errors
    /// The [`Refusal`].
    pub async fn edit(&self, id: &WebhookId, patch: Value, if_match: Option<u64>) -> Result<Changed, Refusal> {
        let switched_on = patch.get("enabled") == Some(&Value::Bool(true));
        let edited = Once::new();
        let edit = || {
            let before = self.changeable(id, if_match)?;
            let patched = draft::patched(&before, patch.clone(), &|webhook| self.rules.faults(webhook));
            let (mut webhook, generated) = patched.map_err(Refusal::Faults)?;
            if let Some(old) = &before.signing {
                webhook.signing = webhook.signing.map(|signing| signing.replacing(old));
            }
            if switched_on {
                switch_on(&mut webhook);
            }
            let moved = webhook.url != before.url;
            let (webhook, entries) = self.drawn_up(&before, webhook)?;
            Ok(((webhook, moved, generated), entries))
        };
        let decide = || edited.decide(|(webhook, ..)| self.is_written(webhook), edit);
        self.journal.write(&decide).await?;
        let (webhook, moved, generated) = edited.made();
        Ok(self.changed(webhook, moved, generated))
    }

    /// Switches a webhook on or off. Of the file's webhooks it switches on those that postrider itself disabled.
    ///
    /// # Errors
    /// The [`Refusal`].
    pub async fn switch(&self, id: &WebhookId, on: bool, if_match: Option<u64>) -> Result<Changed, Refusal> {
        let switch = |webhook: &mut Webhook| {
            if on {
                switch_on(webhook);
            } else {
                webhook.enabled = false;
            }
            Ok(())
        };
        match self.alter(id, if_match, &switch).await {
            Err(Refusal::OfTheFile) if on => self.take_back(id, if_match).await,
            other => other,
        }
    }

    /// Takes back what postrider made of a webhook of the file, where that alone keeps it from being active. When that
    /// was is kept, so that failures from before are not held against the webhook.
    async fn take_back(&self, id: &WebhookId, if_match: Option<u64>) -> Result<Changed, Refusal> {
        let taken_back = Once::new();
        let take_back = || {
            let before = self.directory.get(id).ok_or(Refusal::NotFound)?.webhook;
            let written = self.directory.as_written(id).filter(Webhook::is_active);
            let written = written.filter(|_| !before.is_active()).ok_or(Refusal::OfTheFile)?;
            require_version(&before, if_match)?;
            let at = self.later_than(&before);
            let after = Webhook {
                updated_at: Some(at),
                ..written
            };
            let mut entries = vec![Entry::Status(StatusChange {
                webhook_id: id.clone(),
                status: WebhookStatus::Active,
                reason: None,
                at,
                version: after.version,
            })];
            entries.extend(self.switched(&before, &after));
            Ok((after, entries))
        };
        let is_active = |_: &Webhook| self.directory.get(id).is_some_and(|one| one.webhook.is_active());
        let decide = || taken_back.decide(is_active, take_back);
        self.journal.write(&decide).await?;
        Ok(Changed {
            origin: Origin::File,
            ..self.changed(taken_back.made(), false, None)
        })
    }

    /// Cancels a webhook: it gets nothing more, and keeps its place. Doing it twice changes nothing.
    ///
    /// # Errors
    /// The [`Refusal`].
    pub async fn cancel(&self, id: &WebhookId, if_match: Option<u64>) -> Result<Changed, Refusal> {
        let cancel = |webhook: &mut Webhook| {
            webhook.status = WebhookStatus::Cancelled;
            Ok(())
        };
        match self.alter(id, if_match, &cancel).await {
            Err(Refusal::Cancelled) => {
                let one = self.directory.get(id).ok_or(Refusal::NotFound)?;
                Ok(self.changed(Webhook::clone(&one.webhook), false, None))
            }
            other => other,
        }
    }

    /// Removes a webhook for good and frees its place.
    ///
    /// # Errors
    /// The [`Refusal`].
    pub async fn purge(&self, id: &WebhookId, if_match: Option<u64>) -> Result<(), Refusal> {
        let purged = Once::new();
        let purge = || {
            self.managed(id, if_match)?;
            Ok(((), vec![Entry::Document(id.clone(), None), Entry::NoStatus(id.clone())]))
        };
        let decide = || purged.decide(|()| self.directory.document(id).is_none(), purge);
        self.journal.write(&decide).await
    }

    /// Gives a webhook another signing secret; the old one signs too for `delivery.secret_overlap`, and so do those
    /// whose overlap is not over.
    ///
    /// # Errors
    /// The [`Refusal`].
    pub async fn rotate_secret(&self, id: &WebhookId, if_match: Option<u64>) -> Result<Changed, Refusal> {
        let secret = sign::new_secret();
        let expires_at = self.rules.clock.now().after(self.rules.secret_overlap);
        let rotate = |webhook: &mut Webhook| {
            let signing = webhook.signing.take().ok_or(Refusal::NotSigning)?;
            let signing = signing.without_expired(self.rules.clock.now());
            webhook.signing = Some(signing.rotated(secret.clone(), expires_at));
            Ok(())
        };
        let changed = self.alter(id, if_match, &rotate).await?;
        Ok(Changed {
            generated: Some(secret.clone()),
            ..changed
        })
    }

    /// Seals the secrets of all managed webhooks with the first of these keys, and goes on with them; returns how
    /// many webhooks were sealed anew.
    ///
    /// # Errors
    /// The [`Refusal`]; what was sealed before it stays so.
    pub async fn reseal(&self, keys: Keyring) -> Result<usize, Refusal> {
        self.directory.replace_keys(keys);
        let resealed = Once::new();
        let reseal = || {
            let outdated = self.outdated();
            let entries: Result<_, Refusal> = outdated.iter().map(|webhook| self.document(webhook)).collect();
            Ok((outdated.len(), entries?))
        };
        let decide = || resealed.decide(|_| self.outdated().is_empty(), reseal);
        self.journal.write(&decide).await?;
        Ok(resealed.made())
    }

    /// The webhooks to seal anew. What cannot be read here stays as it is.
    fn outdated(&self) -> Vec<Webhook> {
        let ids = self.directory.outdated().into_iter();
        let listed = ids.filter_map(|id| self.directory.get(&id)).map(|one| one.webhook);
        let readable = listed.filter(|webhook| webhook.disabled_reason.as_deref() != Some(UNREADABLE));
        readable.map(|webhook| Webhook::clone(&webhook)).collect()
    }

    async fn alter(
        &self,
        id: &WebhookId,
        if_match: Option<u64>,
        alter: &(dyn Fn(&mut Webhook) -> Result<(), Refusal> + Send + Sync),
    ) -> Result<Changed, Refusal> {
        let altered = Once::new();
        let anew = || {
            let before = self.changeable(id, if_match)?;
            let mut webhook = before.clone();
            alter(&mut webhook)?;
            self.drawn_up(&before, webhook)
        };
        let decide = || altered.decide(|webhook| self.is_written(webhook), anew);
        self.journal.write(&decide).await?;
        Ok(self.changed(altered.made(), false, None))
    }

    fn changed(&self, webhook: Webhook, is_new_endpoint: bool, generated: Generated) -> Changed {
        Changed {
            webhook: Arc::new(webhook),
            origin: Origin::Managed,
            is_new_endpoint,
            generated,
        }
    }
}

#[cfg(test)]
mod tests;
