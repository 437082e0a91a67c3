//! What a request that was let in works with: the API as its caller may see it.

use std::sync::Arc;

use postrider_types::{AccountId, Fault, Webhook, WebhookId};
use postrider_webhooks::{Listed, Refusal};
use serde_json::{Value, json};
use tracing::{info, warn};

use super::Api;
use crate::deadline::Deadline;
use crate::problem::Problem;
use crate::tokens::Caller;

#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub(crate) api: Arc<Api>,
    pub(crate) caller: Caller,
    /// When the request has to be answered.
    pub(crate) deadline: Deadline,
}

impl Desk {
    /// The webhooks that the caller sees.
    pub(crate) fn webhooks(&self) -> Vec<Listed> {
        let mut all = self.api.editor.list();
        all.retain(|one| self.caller.sees(&one.webhook.account_id));
        all
    }

    /// The webhook of an id. One of an account that the caller does not see is as good as none.
    pub(crate) fn webhook(&self, id: &WebhookId) -> Result<Listed, Problem> {
        let found = self.api.editor.get(id);
        let seen = found.filter(|one| self.caller.sees(&one.webhook.account_id));
        seen.ok_or_else(Problem::no_webhook)
    }

    /// The account that something is for.
    pub(crate) fn account(&self, named: Option<AccountId>) -> Result<AccountId, Problem> {
        let account = named.or_else(|| self.caller.default_account()).ok_or_else(|| {
            let reason = "is missing; this token is for more than one account";
            Problem::faults(vec![Fault::new("account_id", reason)])
        })?;
        if self.caller.sees(&account) {
            Ok(account)
        } else {
            Err(Problem::forbidden("this token is not for that account"))
        }
    }

    /// Puts the account into a new webhook's document, if the caller may add one there. What is no account at all is
    /// left to whoever reads the document.
    pub(crate) fn settle_account(&self, document: &mut Value) -> Result<(), Problem> {
        let Some(fields) = document.as_object_mut() else {
            return Ok(());
        };
        let named = match fields.get("account_id") {
            None | Some(Value::Null) => None,
            Some(given) => match given.as_str().map(AccountId::new) {
                Some(Ok(account)) => Some(account),
                _ => return Ok(()),
            },
        };
        let account = self.account(named)?;
        fields.insert("account_id".to_owned(), json!(account));
        Ok(())
    }

    /// The audit log's line of a change.
    pub(crate) fn note(&self, action: &'static str, webhook: &Webhook) {
        info!(
            action,
            webhook.id = %webhook.id,
            account = %webhook.account_id,
            token = &*self.caller.name,
            version = webhook.version,
            "A webhook was changed through the API"
        );
    }

    /// The audit log's line of a change that may have been made; of one that was not there is none.
    pub(crate) fn note_uncertain(&self, action: &'static str, id: Option<&WebhookId>, refusal: &Refusal) {
        if matches!(refusal, Refusal::Uncertain(_)) {
            warn!(
                action,
                webhook.id = id.map_or("-", WebhookId::as_str),
                token = &*self.caller.name,
                error = %refusal,
                "A webhook may have been changed through the API"
            );
        }
    }
}
