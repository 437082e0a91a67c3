//! When a failing webhook is left alone. Pure: moments are arguments.
//!
//! So many failures in a row open the circuit. While it is open nothing is sent but one probe at a time,
//! the first one after `open`, each later one after twice the time, up to `max_open`. A probe comes from a
//! retry topic: should it hang, it holds up no source. Only a success closes the circuit.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::CircuitConfig;
use crate::lane::Kind;

/// What a request that is about to start is to an open circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// The circuit is closed.
    Free,
    /// The one request that finds out whether the endpoint is back.
    Probe(Ticket),
    /// The circuit is open, and this request is not its probe.
    Refused,
}

/// Tells one probe from every other of its circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        wait: Duration,
        until: Instant,
        probe: Option<Ticket>,
    },
}

/// One webhook's circuit.
#[derive(Debug, Clone, PartialEq)]
pub struct Circuit {
    state: State,
    probes: u64,
}

impl Default for Circuit {
    fn default() -> Self {
        Self {
            state: State::Closed { failures: 0 },
            probes: 0,
        }
    }
}

impl Circuit {
    /// Whether it is open.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Whether it is closed and nothing has failed since the last success.
    #[must_use]
    pub const fn is_pristine(&self) -> bool {
        matches!(self.state, State::Closed { failures: 0 })
    }

    /// Whether a delivery of this kind could be started at `now`.
    #[must_use]
    pub fn admits(&self, kind: Kind, now: Instant) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until, probe, .. } => kind != Kind::Fresh && probe.is_none() && now >= until,
        }
    }

    /// Starts a delivery; at an open circuit it may become the probe.
    pub fn enter(&mut self, kind: Kind, now: Instant) -> Entry {
        if !self.admits(kind, now) {
            return Entry::Refused;
        }
        match &mut self.state {
            State::Closed { .. } => Entry::Free,
            State::Open { probe, .. } => {
                self.probes += 1;
                let ticket = Ticket(self.probes);
                *probe = Some(ticket);
                Entry::Probe(ticket)
            }
        }
    }

    /// Notes a success; tells whether it closed the circuit.
    pub const fn succeed(&mut self) -> bool {
        let closes = self.is_open();
        self.state = State::Closed { failures: 0 };
        closes
    }

    /// Notes a failure; tells whether it opened the circuit. At an open one only the probe's counts: what
    /// else fails was sent before it opened.
    pub fn fail(&mut self, ticket: Option<Ticket>, now: Instant, config: &CircuitConfig) -> bool {
        match &mut self.state {
            State::Closed { failures } => {
                *failures = failures.saturating_add(1);
                if *failures < config.failures {
                    return false;
                }
                self.state = open(config.open, now);
                true
            }
            State::Open { wait, probe, .. } => {
                if ticket.is_some() && *probe == ticket {
                    self.state = open(wait.saturating_mul(2).min(config.max_open), now);
                }
                false
            }
        }
    }

    /// Notes that a request ended without telling anything of its endpoint; another probe may go.
    pub fn forget(&mut self, ticket: Option<Ticket>) {
        if let State::Open { probe, .. } = &mut self.state
            && *probe == ticket
        {
            *probe = None;
        }
    }
}

fn open(wait: Duration, now: Instant) -> State {
    State::Open {
        wait,
        until: now + wait,
        probe: None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONFIG: CircuitConfig = CircuitConfig {
        failures: 3,
        open: Duration::from_secs(30),
        max_open: Duration::from_secs(100),
    };

    fn opened(now: Instant) -> Circuit {
        let mut circuit = Circuit::default();
        let opens = [0; 3].map(|_| circuit.fail(None, now, &CONFIG));
        assert_eq!(opens, [false, false, true]);
        circuit
    }

    fn probe(circuit: &mut Circuit, now: Instant) -> Option<Ticket> {
        match circuit.enter(Kind::Retry, now) {
            Entry::Probe(ticket) => Some(ticket),
            Entry::Free | Entry::Refused => None,
        }
    }

    #[test]
    fn a_success_between_failures_keeps_it_closed() {
        let (mut circuit, now) = (Circuit::default(), Instant::now());
        for _ in 0..10 {
            assert!(!circuit.fail(None, now, &CONFIG) && !circuit.fail(None, now, &CONFIG));
            assert!(!circuit.succeed());
        }
        assert!(circuit.is_pristine());
    }

    #[test]
    fn each_failed_probe_doubles_the_wait_up_to_the_longest() {
        let mut now = Instant::now();
        let mut circuit = opened(now);
        for secs in [30, 60, 100, 100] {
            assert_eq!(probe(&mut circuit, now + Duration::from_secs(secs - 1)), None);
            now += Duration::from_secs(secs);
            let ticket = probe(&mut circuit, now);
            assert!(ticket.is_some(), "{secs}");
            assert!(!circuit.fail(ticket, now, &CONFIG));
        }
        let after = now + CONFIG.max_open;
        assert!(probe(&mut circuit, after).is_some() && circuit.succeed());
        assert_eq!(circuit.enter(Kind::Fresh, after), Entry::Free);
    }

    #[test]
    fn what_was_sent_before_it_opened_is_no_probe_but_its_success_counts() {
        let now = Instant::now();
        let mut circuit = opened(now);
        let later = now + CONFIG.open;
        let ticket = probe(&mut circuit, later);
        assert!(!circuit.fail(None, later, &CONFIG));
        assert!(
            !circuit.admits(Kind::Retry, later + CONFIG.max_open),
            "the probe is still out"
        );
        assert!(circuit.succeed());
        assert!(!circuit.fail(ticket, later, &CONFIG) && !circuit.is_open());
    }

    #[test]
    fn a_probe_that_told_nothing_makes_room_for_another() {
        let now = Instant::now();
        let mut circuit = opened(now);
        let later = now + CONFIG.open;
        let ticket = probe(&mut circuit, later);
        circuit.forget(None);
        assert_eq!(probe(&mut circuit, later), None);
        circuit.forget(ticket);
        assert!(probe(&mut circuit, later).is_some());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Enter { retry: bool },
        End { which: usize, succeeds: bool },
        Forget { which: usize },
        Wait { secs: u64 },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => any::<bool>().prop_map(|retry| Step::Enter { retry }),
            4 => (any::<usize>(), prop::bool::weighted(0.2)).prop_map(|(which, succeeds)| Step::End { which, succeeds }),
            1 => any::<usize>().prop_map(|which| Step::Forget { which }),
            2 => (0..120_u64).prop_map(|secs| Step::Wait { secs }),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn one_probe_at_a_time_never_a_fresh_one_and_only_a_success_closes(steps in steps()) {
            let (mut circuit, mut now) = (Circuit::default(), Instant::now());
            let mut out: Vec<Option<Ticket>> = Vec::new();
            for step in steps {
                let was_open = circuit.is_open();
                let mut succeeded = false;
                match step {
                    Step::Enter { retry } => {
                        let kind = if retry { Kind::Retry } else { Kind::Fresh };
                        match circuit.enter(kind, now) {
                            Entry::Free => { prop_assert!(!was_open); out.push(None); }
                            Entry::Probe(ticket) => { prop_assert!(was_open && retry); out.push(Some(ticket)); }
                            Entry::Refused => prop_assert!(was_open),
                        }
                    }
                    Step::End { which, succeeds } if !out.is_empty() => {
                        let ticket = out.swap_remove(which % out.len());
                        if succeeds {
                            succeeded = true;
                            prop_assert_eq!(circuit.succeed(), was_open);
                        } else {
                            let opened = circuit.fail(ticket, now, &CONFIG);
                            prop_assert_eq!(opened, !was_open && circuit.is_open());
                        }
                    }
                    Step::Forget { which } if !out.is_empty() => {
                        let ticket = out.swap_remove(which % out.len());
                        circuit.forget(ticket);
                    }
                    Step::Wait { secs } => now += Duration::from_secs(secs),
                    Step::End { .. } | Step::Forget { .. } => {}
                }
                prop_assert!(!was_open || circuit.is_open() || succeeded);
                if let State::Open { probe: Some(current), .. } = circuit.state {
                    prop_assert_eq!(out.iter().filter(|ticket| **ticket == Some(current)).count(), 1);
                }
            }
        }
    }
}
