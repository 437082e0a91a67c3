//! What a person does with webhooks, by the API or in the console: the same rules, and the same lines in the audit log.

use std::future::Future;
use std::sync::Arc;

use axum::http::StatusCode;
use postrider_types::webhook::WebhookStatus;
use postrider_types::{EventType, FirstConnection, Transmission, Trigger, Webhook, WebhookId};
use postrider_webhooks::{Changed, Refusal};
use serde_json::Value;
use tokio::time::timeout;

use super::desk::Desk;
use crate::problem::Problem;

/// A change that was made, and the first connection if it made one.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) changed: Changed,
    pub(crate) first_connection: Option<FirstConnection>,
}

/// What would be answered; a secret that would be made is none yet.
fn judged(changed: Changed) -> Done {
    Done {
        changed: Changed {
            generated: None,
            ..changed
        },
        first_connection: None,
    }
}

/// Goes on when the caller hangs up: what was changed has to be told of in the audit log.
pub(super) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(ended) => std::panic::resume_unwind(ended.into_panic()),
    }
}

impl Desk {
    /// Adds a webhook, and makes its first connection.
    pub(crate) async fn add(self, mut document: Value) -> Result<Done, Problem> {
        self.settle_account(&mut document)?;
        let editor = Arc::clone(&self.api.editor);
        self.changed("webhook.add", None, async move { editor.add(document).await })
            .await
    }

    /// Edits a webhook, and makes the first connection of an endpoint that is new.
    pub(crate) async fn edit(self, id: WebhookId, patch: Value, version: Option<u64>) -> Result<Done, Problem> {
        self.webhook(&id)?;
        let editor = Arc::clone(&self.api.editor);
        let edited = id.clone();
        self.changed("webhook.edit", Some(id), async move {
            editor.edit(&edited, patch, version).await
        })
        .await
    }

    /// Judges a webhook that would be added.
    pub(super) async fn would_add(self, mut document: Value) -> Result<Done, Problem> {
        self.settle_account(&mut document)?;
        Ok(judged(self.api.editor.rehearsing().add(document).await?))
    }

    /// Judges an edit that would be made.
    pub(super) async fn would_edit(self, id: WebhookId, patch: Value, version: Option<u64>) -> Result<Done, Problem> {
        self.webhook(&id)?;
        let editor = self.api.editor.rehearsing();
        Ok(judged(editor.edit(&id, patch, version).await?))
    }

    /// Switches a webhook on or off.
    pub(crate) async fn switch(self, id: WebhookId, on: bool, version: Option<u64>) -> Result<Done, Problem> {
        self.webhook(&id)?;
        let action = if on { "webhook.enable" } else { "webhook.disable" };
        let editor = Arc::clone(&self.api.editor);
        let switched = id.clone();
        self.changed(
            action,
            Some(id),
            async move { editor.switch(&switched, on, version).await },
        )
        .await
    }

    /// Gives a webhook another signing secret.
    pub(crate) async fn rotate_secret(self, id: WebhookId, version: Option<u64>) -> Result<Done, Problem> {
        self.webhook(&id)?;
        let editor = Arc::clone(&self.api.editor);
        let rotated = id.clone();
        self.changed("webhook.rotate_secret", Some(id), async move {
            editor.rotate_secret(&rotated, version).await
        })
        .await
    }

    /// Cancels a webhook.
    pub(crate) async fn cancel(self, id: WebhookId, version: Option<u64>) -> Result<Done, Problem> {
        self.webhook(&id)?;
        let editor = Arc::clone(&self.api.editor);
        let cancelled = id.clone();
        self.changed("webhook.cancel", Some(id), async move {
            editor.cancel(&cancelled, version).await
        })
        .await
    }

    /// Removes a webhook for good.
    pub(crate) async fn purge(self, id: WebhookId, version: Option<u64>) -> Result<(), Problem> {
        let listed = self.webhook(&id)?;
        self.deadline.require_time_to_write()?;
        to_the_end(async move {
            let purged = self.api.editor.purge(&id, version).await;
            purged.inspect_err(|refusal| self.note_uncertain("webhook.purge", Some(&id), refusal))?;
            self.note("webhook.purge", &listed.webhook);
            Ok(())
        })
        .await
    }

    /// Sends a sample to a webhook, once, as a delivery is sent; without an event, of the first that it wants.
    pub(crate) async fn test(&self, id: &WebhookId, event: Option<EventType>) -> Result<Transmission, Problem> {
        let webhook = self.webhook(id)?.webhook;
        if webhook.status == WebhookStatus::Cancelled {
            return Err(Refusal::Cancelled.into());
        }
        let event = event.or_else(|| webhook.events.first().copied());
        let made = self.transmit(webhook, event.unwrap_or(EventType::OrderShipped), Trigger::Test);
        made.await
            .map_err(|why| Problem::new(StatusCode::SERVICE_UNAVAILABLE, why))
    }

    /// Makes a change, tells of it in the audit log, and makes the first connection if it needs one.
    async fn changed(
        self,
        action: &'static str,
        id: Option<WebhookId>,
        change: impl Future<Output = Result<Changed, Refusal>> + Send + 'static,
    ) -> Result<Done, Problem> {
        self.deadline.require_time_to_write()?;
        to_the_end(async move {
            let changed = change
                .await
                .inspect_err(|refusal| self.note_uncertain(action, id.as_ref(), refusal))?;
            self.note(action, &changed.webhook);
            let first_connection = self.first_connection(&changed).await;
            Ok(Done {
                changed,
                first_connection,
            })
        })
        .await
    }

    /// The first connection of an endpoint that is new. It always carries a shipment, whatever the webhook wants. The
    /// change is made, and is answered in time: what is left of that is waited for.
    async fn first_connection(&self, changed: &Changed) -> Option<FirstConnection> {
        if !changed.is_new_endpoint {
            return None;
        }
        let webhook = Arc::clone(&changed.webhook);
        let made = self.transmit(webhook, EventType::OrderShipped, Trigger::FirstConnection);
        let patience = self.deadline.left();
        Some(match timeout(patience, made).await {
            Ok(Ok(transmission)) => transmission.into(),
            Ok(Err(why)) => not_passed(why),
            Err(_) => not_passed(format!(
                "No answer within {} s yet; the outcome follows in the logs",
                patience.as_secs()
            )),
        })
    }

    /// Goes on to its end, so that its outcome is published, whoever waits.
    async fn transmit(
        &self,
        webhook: Arc<Webhook>,
        event: EventType,
        trigger: Trigger,
    ) -> Result<Transmission, String> {
        let tester = Arc::clone(&self.api.tester);
        let made = tokio::spawn(async move { tester.transmit(webhook, event, trigger).await });
        match made.await {
            Ok(transmitted) => transmitted,
            Err(ended) => std::panic::resume_unwind(ended.into_panic()),
        }
    }
}

const fn not_passed(message: String) -> FirstConnection {
    FirstConnection {
        passed: false,
        message,
        hint: None,
    }
}
