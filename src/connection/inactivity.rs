//! Whether the peer still lives, and whether it should hear from us.
//!
//! Plain arithmetic on times that are handed in. The connection asks [`Inactivity::next`] when to look
//! again, so traffic itself costs no timer.

use std::time::Duration;

use tokio::time::Instant;

/// Shortest time between two looks at the writing side, whatever a peer asks for.
const WRITE_CHECK_MIN: Duration = Duration::from_millis(10);

/// Watches both directions of a connection, with ActiveMQ's times: a peer that sent no byte for
/// `limit` is dead, and hears from us at least every third of it. Neither begins before the initial
/// delay.
#[derive(Debug)]
pub struct Inactivity {
    limit: Duration,
    /// When the peer counts as dead if nothing more comes.
    read_by: Instant,
    /// When the peer has to hear something again.
    write_check: Instant,
    received_at: Instant,
    sent: bool,
    /// A keep-alive is on its way, which does not count as something sent.
    keeping_alive: bool,
}

/// What a look says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    Quiet,
    /// Nothing was sent since the look before.
    KeepAlive,
    /// Nothing came for so long.
    Dead(Duration),
}

impl Inactivity {
    /// Starts to watch; `None` when nothing is to be watched, which a peer may ask for.
    pub fn start(now: Instant, limit: Duration, initial_delay: Duration) -> Option<Self> {
        let first = now.checked_add(initial_delay)?;
        let read_by = first.checked_add(limit)?;
        let watched = Self {
            limit,
            read_by,
            write_check: first,
            received_at: now,
            sent: false,
            keeping_alive: false,
        };
        (!limit.is_zero()).then_some(watched)
    }

    /// Some bytes came, be they part of a frame.
    pub fn received(&mut self, now: Instant) {
        self.received_at = now;
    }

    /// Some bytes went out.
    pub fn sent(&mut self) {
        self.sent |= !std::mem::take(&mut self.keeping_alive);
    }

    /// When to look again.
    pub fn next(&self) -> Instant {
        self.read_by.min(self.write_check)
    }

    /// Looks. While `reading` is false the broker itself does not take what the peer sends, so the
    /// peer's silence says nothing.
    pub fn look(&mut self, now: Instant, reading: bool) -> Look {
        if now >= self.read_by {
            let silent_since = if reading { self.received_at } else { now };
            let read_by = silent_since + self.limit;
            if now >= read_by {
                return Look::Dead(self.limit);
            }
            self.read_by = read_by;
        }
        if now < self.write_check {
            return Look::Quiet;
        }
        self.write_check = now + (self.limit / 3).max(WRITE_CHECK_MIN);
        self.keeping_alive = !std::mem::take(&mut self.sent);
        if self.keeping_alive { Look::KeepAlive } else { Look::Quiet }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Looks whenever asked to until `until` seconds passed; the peer sends at the given seconds, we at
    /// none. Says what was seen, with its second.
    fn watch(limit: u32, delay: u32, peer_sends: &[u32], until: u32) -> Vec<(u64, Look)> {
        let start = Instant::now();
        let mut watched = Inactivity::start(start, SECOND * limit, SECOND * delay).unwrap();
        let mut sends = peer_sends.iter().map(|second| start + SECOND * *second).peekable();
        let mut seen = Vec::new();
        loop {
            let now = watched.next();
            while let Some(at) = sends.next_if(|at| *at <= now) {
                watched.received(at);
            }
            if now > start + SECOND * until {
                return seen;
            }
            let look = watched.look(now, true);
            if look != Look::Quiet {
                seen.push(((now - start).as_secs(), look));
            }
            if matches!(look, Look::Dead(_)) {
                return seen;
            }
        }
    }

    #[test]
    fn a_peer_hears_from_us_every_third_and_is_dead_after_the_limit() {
        let seen = watch(30, 10, &[20], 100);
        let alive = |second| (second, Look::KeepAlive);
        let dead = (50, Look::Dead(SECOND * 30));
        assert_eq!(seen, [alive(10), alive(20), alive(30), alive(40), dead]);
    }

    #[test]
    fn the_first_silence_counts_from_the_initial_delay() {
        assert_eq!(watch(3, 10, &[], 100).last(), Some(&(13, Look::Dead(SECOND * 3))));
    }

    #[test]
    fn a_peer_that_sends_now_and_then_lives() {
        let seen = watch(30, 10, &[25, 50, 75, 100, 125], 150);
        assert!(seen.iter().all(|(_, look)| *look == Look::KeepAlive), "{seen:?}");
    }

    #[test]
    fn what_was_sent_takes_the_place_of_a_keep_alive() {
        let start = Instant::now();
        let mut watched = Inactivity::start(start, SECOND * 30, SECOND * 10).unwrap();
        watched.sent();
        assert_eq!(watched.look(start + SECOND * 10, true), Look::Quiet);
        assert_eq!(watched.look(start + SECOND * 20, true), Look::KeepAlive);
        watched.sent();
        assert_eq!(watched.look(start + SECOND * 29, true), Look::Quiet, "not yet time");
        watched.received(start + SECOND * 29);
        assert_eq!(watched.look(start + SECOND * 30, true), Look::KeepAlive);
    }

    #[test]
    fn silence_does_not_count_while_we_do_not_read() {
        let start = Instant::now();
        let mut watched = Inactivity::start(start, SECOND * 30, SECOND * 10).unwrap();
        let at = |second: u32| start + SECOND * second;
        assert_ne!(watched.look(at(40), false), Look::Dead(SECOND * 30));
        assert_ne!(watched.look(at(69), false), Look::Dead(SECOND * 30));
        watched.received(at(69));
        assert_ne!(watched.look(at(70), true), Look::Dead(SECOND * 30));
        assert_eq!(watched.look(at(99), true), Look::Dead(SECOND * 30));
    }

    #[test]
    fn a_limit_of_zero_watches_nothing() {
        assert!(Inactivity::start(Instant::now(), Duration::ZERO, SECOND).is_none());
    }
}
