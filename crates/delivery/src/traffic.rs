//! What is sent, parked or skipped, and when: the dispatcher's state and its rules, without tasks and
//! channels. Deliveries go in, departures and settled records come out.
//!
//! A delivery is parked instead of queued when its webhook's circuit is open, or when at the lane's present
//! pace or rate limit it would wait longer than `delivery.max_lane_wait`. A queue that moves fast enough to
//! be emptied within that time is left to fill up: then the source waits. What waits in a lane that hangs
//! is parked once it has waited that long, and what a lane turns out to have taken too much of, at once. What a
//! lane is too slow for comes back at its pace.

use std::collections::VecDeque;
use std::time::Duration;

use postrider_types::{Delivery, ParkCause, Resolution, Settled, Share, Trigger, Undelivered, WebhookId};
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::time::Instant;

use crate::attempt::Made;
use crate::circuit::{Entry, Ticket};
use crate::config::Config;
use crate::lane::{Kind, Load};
use crate::lanes::{Lanes, Limits};
use crate::parking::Parking;
use crate::standing::{Clears, Disabled, Standings};

/// Lanes are looked through so many times per `max_lane_wait`.
const LOOKS: u32 = 8;
/// The bounds of the time between two looks.
const LOOK: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));
/// So many webhooks that ask for as much as they can get, and hang, leave the others nothing.
const SHARES: usize = 4;
/// How much more than fits may wait before a lane is relieved, so that an estimate that wavers moves nothing.
const TOLERANCE: f64 = 1.25;

/// A delivery that is to be attempted now, and the place it takes.
#[derive(Debug)]
pub(crate) struct Departure {
    pub(crate) seat: Seat,
    pub(crate) delivery: Delivery,
}

/// A place in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) webhook: WebhookId,
    pub(crate) kind: Kind,
    /// Set when it is the probe of an open circuit.
    pub(crate) probe: Option<Ticket>,
}

/// What becomes of a delivery that arrives.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Admission {
    Queue,
    Park(ParkCause),
    Skip(Disabled),
}

/// Everything between the input and the requests.
#[derive(Debug)]
pub(crate) struct Traffic {
    lanes: Lanes<WebhookId, Delivery>,
    standings: Standings,
    parking: Parking,
    undelivered: Undelivered,
    /// Records that nobody took yet. While there are any, nothing is read and nothing started.
    settled: VecDeque<Settled>,
    random: StdRng,
    queue: usize,
    max_in_flight_per_webhook: usize,
    /// What a webhook can have at once at most, whatever it says itself.
    largest_share: usize,
    max_lane_wait: Duration,
    next_look: Option<Instant>,
}

impl Traffic {
    pub(crate) fn new(
        config: &Config,
        standings: Standings,
        parking: Parking,
        undelivered: Undelivered,
        random: StdRng,
    ) -> Self {
        let share = config.max_in_flight / SHARES;
        let mut limits = Limits::new(config.max_in_flight, config.max_waiting_per_webhook);
        // Where one webhook may have more than a share, its owner wants it so.
        if config.max_in_flight_per_webhook <= share {
            limits.reserved = share;
        }
        Self {
            lanes: Lanes::new(limits),
            standings,
            parking,
            undelivered,
            settled: VecDeque::new(),
            random,
            queue: limits.queue,
            max_in_flight_per_webhook: config.max_in_flight_per_webhook,
            largest_share: config.max_in_flight_per_webhook.max(share),
            max_lane_wait: config.max_lane_wait,
            next_look: None,
        }
    }

    /// Whether another delivery of this kind is wanted.
    pub(crate) fn accepts(&self, kind: Kind) -> bool {
        self.settled.is_empty() && self.lanes.accepts(kind)
    }

    /// Takes a delivery in.
    pub(crate) fn offer(&mut self, mut delivery: Delivery, now: Instant) {
        let kind = kind_of(&delivery);
        if kind != Kind::Replay {
            self.owe(&mut delivery);
        }
        match self.admission(&delivery, kind, now) {
            Admission::Queue => self.queue(delivery, kind, now),
            Admission::Park(cause) => self.park(delivery, cause, now),
            Admission::Skip(why) => self.skip(delivery, why),
        }
    }

    /// The next delivery to attempt.
    pub(crate) fn start(&mut self, now: Instant) -> Option<Departure> {
        while self.settled.is_empty() {
            let standings = &mut self.standings;
            let hold_back = |webhook: &WebhookId| standings.of(webhook)?.hold_back(now);
            let started = self.lanes.start(now, hold_back)?;
            let (webhook, kind, delivery) = (started.key, started.kind, started.item);
            let probe = match self.standings.enter(&webhook, kind, now) {
                Entry::Refused if self.parking.takes(&delivery.event) => {
                    self.lanes.finish(&webhook, kind, now);
                    self.park(delivery, ParkCause::CircuitOpen, now);
                    continue;
                }
                Entry::Probe(ticket) => {
                    // What came together with the probe does not wait for what it finds.
                    self.clear_lane(&webhook, Clears::Parked, now);
                    Some(ticket)
                }
                Entry::Free | Entry::Refused => None,
            };
            let seat = Seat { webhook, kind, probe };
            return Some(Departure { seat, delivery });
        }
        None
    }

    /// Takes in an attempt that ended; `None` when it ended without an answer of any kind.
    pub(crate) fn finish(&mut self, seat: &Seat, made: Option<Made>, now: Instant) {
        let under_way = self.lanes.load(&seat.webhook).in_flight;
        self.lanes.finish(&seat.webhook, seat.kind, now);
        let Some(made) = made else {
            return self.standings.forget(&seat.webhook, seat.probe);
        };
        let effects = self.standings.conclude(&made, seat.probe, under_way, now);
        let Made {
            share, mut resolution, ..
        } = made;
        resolution.notices.extend(effects.notices);
        resolution.status_change = effects.status_change;
        self.settle(share, resolution);
        if let Some(why) = effects.clears {
            self.clear_lane(&seat.webhook, why, now);
        }
    }

    /// Looks through the lanes when it is time, and parks what waits too long.
    pub(crate) fn look(&mut self, now: Instant) {
        if self.next_look.is_some_and(|at| now < at) || !self.settled.is_empty() {
            return;
        }
        let pause = (self.max_lane_wait / LOOKS).clamp(LOOK.0, LOOK.1);
        self.next_look = Some(now + pause);
        for (webhook, load) in self.lanes.backlog() {
            if load.hangs(now, self.max_lane_wait) {
                self.relieve_hanging(&webhook, now);
            } else {
                self.relieve_slow(&webhook, &load, now);
            }
        }
    }

    /// When something is to be done even if nothing happens.
    pub(crate) fn next_moment(&self) -> Option<Instant> {
        if !self.settled.is_empty() {
            return None;
        }
        let look = self.next_look.filter(|_| self.lanes.waiting() > 0);
        [look, self.lanes.next_rejoin()].into_iter().flatten().min()
    }

    /// Records to hand on, oldest first.
    pub(crate) const fn settled(&mut self) -> &mut VecDeque<Settled> {
        &mut self.settled
    }

    /// Deliveries that wait.
    pub(crate) const fn waiting(&self) -> usize {
        self.lanes.waiting()
    }

    /// Ends the waiting at a planned stop. What shares its record with other deliveries is parked, so that
    /// the record settles and none of those is sent again; what is alone is given up, to be read again.
    /// Returns how many were given up.
    pub(crate) fn wind_up(&mut self, now: Instant) -> usize {
        for (webhook, _) in self.lanes.backlog() {
            for kind in Kind::ALL {
                let parking = &self.parking;
                let goes = |_, _, delivery: &Delivery| !delivery.share.is_alone() && parking.takes(&delivery.event);
                let shared = self.lanes.remove(&webhook, kind, goes);
                self.park_all(shared, ParkCause::LaneSlow, now);
            }
        }
        self.clear()
    }

    /// Forgets what waits, and returns how much it was.
    pub(crate) fn clear(&mut self) -> usize {
        self.lanes.clear()
    }

    fn admission(&mut self, delivery: &Delivery, kind: Kind, now: Instant) -> Admission {
        let standing = self.standings.meet(&delivery.webhook, now);
        if let Some(why) = standing.disabled() {
            return Admission::Skip(why);
        }
        if !self.parking.takes(&delivery.event) {
            return Admission::Queue;
        }
        if !standing.circuit.admits(kind, now) {
            return Admission::Park(ParkCause::CircuitOpen);
        }
        let load = self.lanes.load(&delivery.webhook.id);
        // Replays come with the retries: when they have no room, the retries behind them must not wait.
        let is_crowded = load.waiting[kind] >= self.queue || !self.lanes.accepts(kind);
        if kind == Kind::Replay && is_crowded {
            return Admission::Park(ParkCause::LaneSlow);
        }
        if !load.is_busy() {
            return Admission::Queue;
        }
        if load.hangs(now, self.max_lane_wait) {
            return Admission::Park(ParkCause::LaneSlow);
        }
        match self.tightest(&delivery.webhook.id, load.limit) {
            Some((room, cause)) if at_least(load.ahead(kind), room) => Admission::Park(cause),
            _ => Admission::Queue,
        }
    }

    /// How many deliveries can follow one another in a lane within `max_lane_wait`, and what sets the bound;
    /// `None` when nothing is known of it.
    fn narrowest(&mut self, webhook: &WebhookId, limit: usize) -> Option<(f64, ParkCause)> {
        let standing = self.standings.of(webhook)?;
        let pace = standing.pace.capacity(limit, self.max_lane_wait);
        let rate = standing
            .rate()
            .map(|rate| f64::from(rate) * self.max_lane_wait.as_secs_f64());
        let bounds = [(pace, ParkCause::LaneSlow), (rate, ParkCause::RateLimit)];
        let known = bounds.into_iter().filter_map(|(room, cause)| Some((room?, cause)));
        known.min_by(|(a, _), (b, _)| a.total_cmp(b))
    }

    /// The same, when a full queue would exceed it.
    fn tightest(&mut self, webhook: &WebhookId, limit: usize) -> Option<(f64, ParkCause)> {
        let narrowest = self.narrowest(webhook, limit);
        narrowest.filter(|(room, _)| !at_least_room(*room, self.queue))
    }

    fn queue(&mut self, delivery: Delivery, kind: Kind, now: Instant) {
        let webhook = &delivery.webhook;
        let own = webhook.max_in_flight.and_then(|limit| usize::try_from(limit).ok());
        let limit = own.map_or(self.max_in_flight_per_webhook, |own| own.min(self.largest_share));
        self.lanes.offer(webhook.id.clone(), kind, limit, delivery, now);
        self.next_look.get_or_insert(now);
    }

    /// Everything that has waited for long enough goes.
    fn relieve_hanging(&mut self, webhook: &WebhookId, now: Instant) {
        for kind in Kind::ALL {
            let parking = &self.parking;
            let late = |_, since: Instant, delivery: &Delivery| {
                now.saturating_duration_since(since) >= self.max_lane_wait && parking.takes(&delivery.event)
            };
            let late = self.lanes.remove(webhook, kind, late);
            self.park_all(late, ParkCause::LaneSlow, now);
        }
    }

    /// What came last goes, as far as it is too much.
    fn relieve_slow(&mut self, webhook: &WebhookId, load: &Load, now: Instant) {
        let Some((room, cause)) = self.tightest(webhook, load.limit) else {
            return;
        };
        if !at_least(load.waiting.sum(), (room * TOLERANCE).max(1.0)) {
            return;
        }
        let keep = load.split(room.ceil() as usize);
        for kind in Kind::ALL {
            let parking = &self.parking;
            let excess = |place, _, delivery: &Delivery| place >= keep[kind] && parking.takes(&delivery.event);
            let excess = self.lanes.remove(webhook, kind, excess);
            self.park_all(excess, cause, now);
        }
    }

    fn clear_lane(&mut self, webhook: &WebhookId, why: Clears, now: Instant) {
        for kind in Kind::ALL {
            let parking = &self.parking;
            let goes = |_, _, delivery: &Delivery| why != Clears::Parked || parking.takes(&delivery.event);
            let cleared = self.lanes.remove(webhook, kind, goes);
            match why {
                Clears::Parked => self.park_all(cleared, ParkCause::CircuitOpen, now),
                Clears::Skipped(why) => cleared.into_iter().for_each(|delivery| self.skip(delivery, why)),
            }
        }
    }

    fn park_all(&mut self, deliveries: Vec<Delivery>, cause: ParkCause, now: Instant) {
        deliveries
            .into_iter()
            .for_each(|delivery| self.park(delivery, cause, now));
    }

    fn park(&mut self, delivery: Delivery, cause: ParkCause, now: Instant) {
        let booked = match cause {
            ParkCause::LaneSlow | ParkCause::RateLimit => self.book(&delivery, now),
            ParkCause::Retry | ParkCause::CircuitOpen => None,
        };
        let (share, resolution) = self.parking.park(delivery, cause, booked, self.random.random());
        self.settle(share, resolution);
    }

    /// The next time at which the lane has a place for a delivery that it has none for now, if its pace is known.
    fn book(&mut self, delivery: &Delivery, now: Instant) -> Option<Duration> {
        let webhook = &delivery.webhook.id;
        let limit = self.lanes.load(webhook).limit.max(1);
        let (room, _) = self.narrowest(webhook, limit)?;
        let pace = room / self.max_lane_wait.as_secs_f64();
        let (step, bounds) = (self.parking.step(delivery), self.parking.bounds());
        self.standings.of(webhook)?.bookings.book(step, pace, bounds, now)
    }

    fn skip(&mut self, delivery: Delivery, why: Disabled) {
        let (share, resolution) = self.parking.skip(delivery, why);
        self.settle(share, resolution);
    }

    /// From now on until it is settled, the delivery tells how late its webhook is.
    fn owe(&self, delivery: &mut Delivery) {
        let (webhook, since) = (&delivery.webhook.id, delivery.event.time());
        delivery.share.owes(|| self.undelivered.hold(webhook, since));
    }

    fn settle(&mut self, share: Share, resolution: Resolution) {
        if let Some(parked) = resolution.parked.as_ref().filter(|parked| parked.waiting.is_live()) {
            let (waiting, since) = (&parked.waiting, parked.event.time());
            self.undelivered.parked(&waiting.webhook_id, since, waiting.due);
        }
        self.settled.extend(share.resolve(resolution));
    }
}

fn kind_of(delivery: &Delivery) -> Kind {
    match (delivery.due, delivery.progress.trigger) {
        (None, _) => Kind::Fresh,
        (Some(_), Trigger::Replay) => Kind::Replay,
        (Some(_), _) => Kind::Retry,
    }
}

fn at_least(count: usize, room: f64) -> bool {
    count as f64 >= room
}

fn at_least_room(room: f64, count: usize) -> bool {
    room >= count as f64
}

#[cfg(test)]
mod tests;
