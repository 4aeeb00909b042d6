//! In which order the brokers of a list are tried, and how long between two rounds.

use std::time::Duration;

use super::url::{BrokerUrl, Endpoint, Failover};

/// The search for one connection: rounds through all brokers, a pause between them.
#[derive(Debug)]
pub(super) struct Search<'a> {
    failover: &'a Failover,
    /// Still to try in this round, the next one last.
    round: Vec<usize>,
    brokers: usize,
    /// Whether this is the very first connection.
    startup: bool,
    rounds: u32,
    delay: Duration,
    /// The broker that was just lost is tried last in the first round.
    avoid: Option<usize>,
    random: &'a mut fastrand::Rng,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Try(usize),
    /// All were tried in vain; wait, then ask again.
    Wait(Duration),
    GiveUp {
        attempts: u32,
    },
}

impl<'a> Search<'a> {
    pub(super) fn new(
        failover: &'a Failover,
        brokers: usize,
        startup: bool,
        avoid: Option<usize>,
        random: &'a mut fastrand::Rng,
    ) -> Self {
        let delay = failover.initial_reconnect_delay;
        let mut search =
            Self { failover, round: Vec::new(), brokers, startup, rounds: 0, delay, avoid, random };
        search.begin_round();
        search
    }

    fn begin_round(&mut self) {
        self.round = (0..self.brokers).rev().collect();
        if self.failover.randomize && !self.failover.priority_backup {
            self.random.shuffle(&mut self.round);
        }
        if let Some(lost) = self.avoid.take()
            && self.brokers > 1
        {
            self.round.retain(|broker| *broker != lost);
            self.round.insert(0, lost);
        }
    }

    /// As ActiveMQ counts: one attempt is one round.
    pub(super) fn next(&mut self) -> Step {
        if let Some(broker) = self.round.pop() {
            return Step::Try(broker);
        }
        self.rounds += 1;
        let at_most = match (self.startup, self.failover.startup_max_reconnect_attempts) {
            (true, Some(attempts)) => Some(attempts),
            _ => self.failover.max_reconnect_attempts,
        };
        if at_most.is_some_and(|attempts| self.rounds >= attempts.max(1)) {
            return Step::GiveUp { attempts: self.rounds };
        }
        self.begin_round();
        let pause = self.delay;
        if self.failover.use_exponential_back_off {
            let longer = self.delay.as_secs_f64() * self.failover.back_off_multiplier.max(1.0);
            let longer = Duration::try_from_secs_f64(longer).unwrap_or(Duration::MAX);
            self.delay = longer.min(self.failover.max_reconnect_delay);
        }
        Step::Wait(pause)
    }

    /// Whether it has taken so long that someone should hear of it.
    pub(super) fn is_worth_a_warning(&self) -> bool {
        let every = self.failover.warn_after_reconnect_attempts;
        every > 0 && self.rounds > 0 && self.rounds.is_multiple_of(every)
    }
}

/// Whether `broker` is one that a client with `priorityBackup` wants to come back to.
pub(super) fn is_preferred(url: &BrokerUrl, broker: usize) -> bool {
    let Some(failover) = &url.failover else { return true };
    if !failover.priority_backup {
        return true;
    }
    if failover.priority_uris.is_empty() {
        return broker == 0;
    }
    let address = url.brokers.get(broker).map(Endpoint::address).unwrap_or_default();
    failover.priority_uris.iter().any(|preferred| preferred.starts_with(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(failover: &Failover, startup: bool, avoid: Option<usize>, count: usize) -> String {
        let mut random = fastrand::Rng::with_seed(7);
        let mut search = Search::new(failover, 2, startup, avoid, &mut random);
        let shown = (0..count).map(|_| match search.next() {
            Step::Try(broker) => broker.to_string(),
            Step::Wait(pause) => format!("{}ms", pause.as_millis()),
            Step::GiveUp { attempts } => format!("end:{attempts}"),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    fn in_order() -> Failover {
        Failover { randomize: false, ..Failover::default() }
    }

    #[test]
    fn pauses_between_rounds_double_up_to_the_longest() {
        let failover = Failover { max_reconnect_delay: Duration::from_millis(30), ..in_order() };
        assert_eq!(steps(&failover, false, None, 12), "0 1 10ms 0 1 20ms 0 1 30ms 0 1 30ms");
        let steady = Failover { use_exponential_back_off: false, ..failover };
        assert_eq!(steps(&steady, false, None, 6), "0 1 10ms 0 1 10ms");
    }

    #[test]
    fn the_broker_just_lost_comes_last_once() {
        assert_eq!(steps(&in_order(), false, Some(0), 5), "1 0 10ms 0 1");
    }

    #[test]
    fn an_end_of_attempts_is_kept_and_the_first_connection_may_have_its_own() {
        let failover = Failover {
            max_reconnect_attempts: Some(2),
            startup_max_reconnect_attempts: Some(1),
            ..in_order()
        };
        assert_eq!(steps(&failover, false, None, 6), "0 1 10ms 0 1 end:2");
        assert_eq!(steps(&failover, true, None, 3), "0 1 end:1");
    }

    #[test]
    fn brokers_are_tried_in_any_order_unless_told_otherwise() {
        let mut random = fastrand::Rng::with_seed(1);
        let failover = Failover::default();
        let mut first = || match Search::new(&failover, 3, true, None, &mut random).next() {
            Step::Try(broker) => broker,
            step @ (Step::Wait(_) | Step::GiveUp { .. }) => panic!("{step:?}"),
        };
        let seen: std::collections::BTreeSet<_> = (0..200).map(|_| first()).collect();
        assert_eq!(seen.len(), 3);
    }
}
