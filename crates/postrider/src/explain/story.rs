//! One account of everything that was found. Pure.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use postrider_admin::explained::{
    DeliveryState, Explained, ExplainedDelivery, ExplainedEvent, ParkedAt, Question, RecordState, SearchedFor,
    Unreadable,
};
use postrider_routing::{Explanation, Table, explain};
use postrider_types::{
    AccountId, DeliveryId, Event, EventId, EventType, Offset, Origin, Outcome, OutcomeResult, ParkCause, Partition,
    Timestamp, WebhookId, status,
};

use super::gather::{Gathered, Progress, Waits};
use super::subject::{Subject, origin};

/// A delivery within an event: its webhook, and the replay it belongs to.
type Leg = (WebhookId, Option<String>);

/// What is known of one event.
#[derive(Default)]
struct Known {
    event: Option<Event>,
    legs: BTreeMap<Leg, (Vec<Outcome>, Option<Waits>)>,
}

/// Tells it.
pub(super) fn tell(
    question: &Question,
    subject: &Subject,
    from: Timestamp,
    gathered: Gathered,
    table: &Table,
    now: Timestamp,
) -> Explained {
    let searched = SearchedFor {
        from,
        records: gathered.looked_at,
        is_complete: gathered.is_complete,
        unread: gathered.unread.clone(),
    };
    let unreadable = unreadable(question, subject, &gathered);
    let progress = gathered.progress;
    let known = sorted(subject, gathered.events, gathered.outcomes, gathered.parked);
    let teller = Teller {
        subject,
        progress,
        table,
        now,
    };
    let events = known.into_iter().filter_map(|(when, known)| teller.event(&when, known));
    Explained {
        subject: question.subject.clone(),
        searched,
        events: events.filter(|event| question.sees(&event.account_id)).collect(),
        unreadable,
    }
}

/// A record that is no event has no account, so only who sees all accounts is told of it.
fn unreadable(question: &Question, subject: &Subject, gathered: &Gathered) -> Vec<Unreadable> {
    if !question.accounts.is_empty() {
        return Vec::new();
    }
    let in_sources = gathered.unreadable.iter().map(|(origin, rejection)| Unreadable {
        source: origin.source(),
        reason: rejection.to_string(),
        is_dead_letter: gathered.dead.contains_key(origin),
    });
    let is_new = |origin: &Origin| gathered.unreadable.iter().all(|(known, _)| known != origin);
    let is_meant = |origin: &Origin| subject.place().is_none() || subject.is_at(origin);
    let elsewhere = gathered
        .dead
        .iter()
        .filter(|(origin, _)| is_new(origin) && is_meant(origin));
    let elsewhere = elsewhere.filter_map(|(origin, reason)| {
        Some(Unreadable {
            source: origin.source(),
            reason: reason.clone()?,
            is_dead_letter: true,
        })
    });
    in_sources.chain(elsewhere).collect()
}

fn text(text: &Option<impl Deref<Target = str>>) -> Option<String> {
    text.as_deref().map(str::to_owned)
}

/// Everything by its event, oldest first.
fn sorted(subject: &Subject, events: Vec<Event>, outcomes: Vec<Outcome>, parked: Vec<Waits>) -> BTreeMap<When, Known> {
    let mut known: BTreeMap<When, Known> = BTreeMap::new();
    let is_meant = |webhook: &WebhookId| subject.webhook().is_none_or(|meant| meant == webhook);
    for outcome in outcomes.into_iter().filter(|outcome| is_meant(&outcome.webhook_id)) {
        let Some(origin) = origin(&outcome) else {
            continue;
        };
        let leg = (outcome.webhook_id.clone(), text(&outcome.replay));
        let known = known.entry(When::new(origin)).or_default();
        known.legs.entry(leg).or_default().0.push(outcome);
    }
    for waits in parked.into_iter().filter(|waits| is_meant(&waits.waiting.webhook_id)) {
        let leg = (waits.waiting.webhook_id.clone(), waits.waiting.progress.replay.clone());
        let known = known.entry(When::new(waits.event.origin.clone())).or_default();
        let last = &mut known.legs.entry(leg).or_default().1;
        if last.as_ref().is_none_or(|last| rank(last) < rank(&waits)) {
            *last = Some(waits);
        }
    }
    for event in events {
        let when = When::new(event.origin.clone());
        known.entry(when).or_default().event = Some(event);
    }
    known
}

/// Of two records of one delivery in retry topics, the later one counts.
fn rank(waits: &Waits) -> (u32, u32, Timestamp) {
    let Waits { waiting, .. } = waits;
    (waiting.progress.attempts, waiting.progress.parkings, waiting.due)
}

/// A record's place, in the order of time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct When {
    time: Timestamp,
    topic: Arc<str>,
    partition: Partition,
    offset: Offset,
}

impl When {
    fn new(origin: Origin) -> Self {
        Self {
            time: origin.timestamp,
            topic: origin.topic,
            partition: origin.partition,
            offset: origin.offset,
        }
    }

    fn origin(&self) -> Origin {
        Origin {
            topic: Arc::clone(&self.topic),
            partition: self.partition,
            offset: self.offset,
            timestamp: self.time,
        }
    }
}

struct Teller<'a> {
    subject: &'a Subject,
    progress: Progress,
    table: &'a Table,
    now: Timestamp,
}

impl Teller<'_> {
    /// Nothing is told of an event of which only the place is known.
    fn event(&self, when: &When, known: Known) -> Option<ExplainedEvent> {
        let origin = when.origin();
        let Known { event, legs } = known;
        let mut told = Self::outlined(&origin, event.as_ref(), &legs)?;
        if event.is_some() {
            told.record = self.record(&origin);
        }
        told.webhooks = event.as_ref().map(|event| self.webhooks(event));
        let legs = legs.into_iter();
        told.deliveries = legs
            .map(|(leg, (attempts, waits))| self.delivery(&origin, leg, attempts, waits))
            .collect();
        let owed = self.owed(&told);
        told.deliveries.extend(owed);
        Some(told)
    }

    /// What is known of the event itself: by its record, or else by what became of it.
    fn outlined(
        origin: &Origin,
        event: Option<&Event>,
        legs: &BTreeMap<Leg, (Vec<Outcome>, Option<Waits>)>,
    ) -> Option<ExplainedEvent> {
        let parked = legs.values().find_map(|(_, waits)| Some(&*waits.as_ref()?.event));
        if let Some(event) = event.or(parked) {
            let facts = &event.facts;
            let ids = [&facts.order_id, &facts.transaction_id, &facts.tracking].map(text);
            return Some(blank(origin, (&event.id, event.event_type, &event.account), ids));
        }
        let outcome = legs.values().find_map(|(outcomes, _)| outcomes.first())?;
        let ids = [&outcome.order_id, &outcome.transaction_id, &outcome.tracking].map(text);
        Some(blank(
            origin,
            (&outcome.event_id, outcome.event, &outcome.account_id),
            ids,
        ))
    }

    fn record(&self, origin: &Origin) -> RecordState {
        if self.progress.is_settled(origin) {
            RecordState::Settled
        } else {
            RecordState::Unsettled
        }
    }

    fn webhooks(&self, event: &Event) -> Vec<Explanation> {
        let mut all = explain(self.table, event);
        if let Some(meant) = self.subject.webhook() {
            all.retain(|one| one.webhook == *meant);
        }
        all
    }

    /// What an unsettled record owes, as far as today's webhooks tell, and nothing is committed of yet.
    fn owed(&self, event: &ExplainedEvent) -> Vec<ExplainedDelivery> {
        if event.record != RecordState::Unsettled {
            return Vec::new();
        }
        let has_one = |webhook: &WebhookId| {
            let live = event.deliveries.iter().filter(|delivery| delivery.replay.is_none());
            live.into_iter().any(|delivery| delivery.webhook_id == *webhook)
        };
        let origin = Origin {
            topic: event.source.topic.as_str().into(),
            partition: event.source.partition,
            offset: event.source.offset,
            timestamp: event.event_time,
        };
        let wanting = event.webhooks.iter().flatten().filter(|one| one.matches);
        let wanting = wanting.filter(|one| !has_one(&one.webhook));
        wanting
            .map(|one| self.delivery(&origin, (one.webhook.clone(), None), Vec::new(), None))
            .collect()
    }

    fn delivery(
        &self,
        origin: &Origin,
        (webhook_id, replay): Leg,
        mut attempts: Vec<Outcome>,
        waits: Option<Waits>,
    ) -> ExplainedDelivery {
        attempts.sort_by_key(|outcome| outcome.attempt);
        let last = attempts.last();
        let ended = last.filter(|last| last.result != OutcomeResult::Retrying);
        // A parked one stays in its topic for a while after it came out.
        let waits = waits.filter(|waits| {
            let made = last.map_or(0, |last| last.attempt);
            ended.is_none() && waits.waiting.progress.attempts >= made
        });
        let parked = waits.as_ref().map(parked_at);
        let due = parked.as_ref().map(|parked| parked.due);
        let next = due.or_else(|| last.and_then(|last| last.next_attempt_at));
        let next = next.filter(|_| ended.is_none());
        ExplainedDelivery {
            delivery_id: DeliveryId::new(origin, &webhook_id),
            webhook_id,
            replay,
            state: state(last, waits.is_some()),
            summary: self.summary(last, parked.as_ref(), next),
            next_attempt_at: next,
            parked,
            attempts,
        }
    }

    fn summary(&self, last: Option<&Outcome>, parked: Option<&ParkedAt>, next: Option<Timestamp>) -> String {
        let made = last.map_or(0, |last| last.attempt);
        let when = |due: Timestamp| {
            if due > self.now {
                format!("is due at {due}")
            } else {
                format!("was due at {due}: it is next, or being sent")
            }
        };
        match (last, next) {
            (Some(last), _) if last.result != OutcomeResult::Retrying => ending(last),
            (_, Some(due)) => {
                let next = format!("attempt {} {}", made + 1, when(due));
                let why = parked.and_then(|parked| detour(parked.cause));
                why.map_or_else(|| next.clone(), |why| format!("{next}; it was parked because {why}"))
            }
            (Some(_), None) => format!("attempt {made} failed and another follows"),
            (None, None) => {
                "it waits for its first attempt, or is being sent; nothing of it is committed yet".to_owned()
            }
        }
    }
}

fn blank(
    origin: &Origin,
    (id, event, account): (&EventId, EventType, &AccountId),
    [order_id, transaction_id, tracking]: [Option<String>; 3],
) -> ExplainedEvent {
    ExplainedEvent {
        source: origin.source(),
        event_time: origin.timestamp,
        event_id: id.clone(),
        event,
        account_id: account.clone(),
        order_id,
        transaction_id,
        tracking,
        record: RecordState::Gone,
        webhooks: None,
        deliveries: Vec::new(),
    }
}

fn parked_at(waits: &Waits) -> ParkedAt {
    ParkedAt {
        at: waits.at.source(),
        cause: waits.waiting.cause,
        due: waits.waiting.due,
        attempts: waits.waiting.progress.attempts,
    }
}

const fn state(last: Option<&Outcome>, is_parked: bool) -> DeliveryState {
    match last {
        Some(last) => match last.result {
            OutcomeResult::Success => DeliveryState::Success,
            OutcomeResult::Failed => DeliveryState::Failed,
            OutcomeResult::Skipped => DeliveryState::Skipped,
            OutcomeResult::Retrying => DeliveryState::Parked,
        },
        None if is_parked => DeliveryState::Parked,
        None => DeliveryState::UnderWay,
    }
}

fn ending(last: &Outcome) -> String {
    let error = last.error.as_ref().map(|error| error.message.clone());
    let answered = last
        .status_code
        .map(|code| status::line(code, last.status_text.as_deref().unwrap_or_default()));
    let met = match (answered, error) {
        (Some(answered), Some(error)) => format!("{answered} ({error})"),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => "no answer".to_owned(),
    };
    match last.result {
        OutcomeResult::Success => format!("delivered with attempt {}: {met}", last.attempt),
        OutcomeResult::Skipped => format!("not sent: {met}"),
        _ => format!(
            "given up after attempt {}: {met}; a dead letter holds the event",
            last.attempt
        ),
    }
}

/// Why a delivery waits, beyond that its last attempt failed.
const fn detour(cause: ParkCause) -> Option<&'static str> {
    match cause {
        ParkCause::Retry => None,
        ParkCause::LaneSlow => Some("its endpoint takes less than comes for it"),
        ParkCause::CircuitOpen => Some("its endpoint failed many times in a row"),
        ParkCause::RateLimit => Some("its webhook's rate limit was reached"),
    }
}
