//! How many connections a connector lets in, and how many of them may be strangers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Connections of a connector that may be without an accepted ConnectionInfo before the slow ones
/// among them are closed. Java clients connect long before they log in, so time alone closes none.
const PENDING_CROWD: u32 = 256;
/// Connections of a connector that may be without an accepted ConnectionInfo at all.
const PENDING_MAX: u32 = 512;

/// Why a connection was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(
        "Exceeded the maximum number of allowed client connections. See the 'maximumConnections' \
         property on the TCP transport configuration URI in the ActiveMQ configuration file (e.g., \
         activemq.xml)"
    )]
    MaximumConnections,
    #[error("{PENDING_MAX} connections have not yet said who they are")]
    Pending,
}

/// Counts the connections of a connector.
#[derive(Debug)]
pub(super) struct Admission {
    maximum: u32,
    connections: AtomicU32,
    pending: AtomicU32,
}

/// The place of one connection; dropping it makes room for another.
#[derive(Debug)]
pub struct Slot {
    admission: Arc<Admission>,
    pending: bool,
}

impl Admission {
    pub(super) fn new(maximum: u32) -> Arc<Self> {
        let (connections, pending) = Default::default();
        Arc::new(Self { maximum, connections, pending })
    }

    pub(super) fn admit(self: &Arc<Self>) -> Result<Slot, Refused> {
        // Only the accept loop adds, so no other can step in between check and count.
        if self.connections.load(Ordering::Relaxed) >= self.maximum {
            return Err(Refused::MaximumConnections);
        }
        if self.pending.load(Ordering::Relaxed) >= PENDING_MAX {
            return Err(Refused::Pending);
        }
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.pending.fetch_add(1, Ordering::Relaxed);
        Ok(Slot { admission: Arc::clone(self), pending: true })
    }
}

impl Slot {
    /// A place that no connector counts, for connections inside the process.
    pub fn uncounted() -> Self {
        let admission = Admission::new(u32::MAX);
        admission.connections.fetch_add(1, Ordering::Relaxed);
        admission.pending.fetch_add(1, Ordering::Relaxed);
        Self { admission, pending: true }
    }

    /// The peer said who it is and may stay.
    pub fn known(&mut self) {
        if std::mem::take(&mut self.pending) {
            self.admission.pending.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether so many strangers are connected that the slow ones have to go.
    pub fn is_crowded(&self) -> bool {
        self.admission.pending.load(Ordering::Relaxed) > PENDING_CROWD
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.known();
        self.admission.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_ends_makes_room_for_another() {
        let admission = Admission::new(2);
        let first = admission.admit().unwrap();
        let mut second = admission.admit().unwrap();
        second.known();
        assert_eq!(admission.admit().unwrap_err(), Refused::MaximumConnections);
        drop(first);
        drop(admission.admit().unwrap());
        drop(second);
        assert_eq!(admission.connections.load(Ordering::Relaxed), 0);
        assert_eq!(admission.pending.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn strangers_are_bounded_and_those_who_said_who_they_are_do_not_count() {
        let admission = Admission::new(u32::MAX);
        let mut slots: Vec<_> = (0..PENDING_MAX).map(|_| admission.admit().unwrap()).collect();
        assert!(slots[0].is_crowded());
        assert_eq!(admission.admit().unwrap_err(), Refused::Pending);
        slots.iter_mut().for_each(Slot::known);
        assert!(!admission.admit().unwrap().is_crowded());
    }
}
