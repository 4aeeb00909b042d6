//! Transactions that a client had open at its last broker and says again to this one, and whether
//! something of them is lost.
//!
//! ```text
//!  last broker   BEGIN 20   send 21   send 22   ack 23   X
//!                  |          |         |         `------- not repeated
//!  this broker   BEGIN 20   send 21   send 22            COMMIT 24      23 is missing: roll back
//! ```
//!
//! A `failover:` client repeats BEGIN and the sends, with the command ids that they had, but no
//! acknowledgement (its `ConnectionStateTracker`). If it sent that one and then lost its broker, its COMMIT
//! would do the sends alone: what it received comes again, and is sent on twice. Each command of a client
//! has the next id, so a hole between BEGIN and COMMIT shows it. It may as well be another session's
//! command that is missing; a commit that fails after a failover is nothing that a client does not expect.
//!
//! **Invariant:** plain data; decides, and does nothing.

use std::collections::HashMap;
use std::sync::Arc;

use crate::openwire::{Command, Message, SessionId, TransactionId, transaction_kind};

/// Transactions of one peer that are watched. A client has one for each session at most; of more, nothing
/// is said.
const WATCHED_MAX: usize = 1024;
/// Sessions that are noted of one transaction. A local one is of one session.
const SESSIONS_MAX: usize = 16;

/// What a peer repeats since it came from another broker.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    /// It may still be repeating.
    restoring: bool,
    open: HashMap<Arc<TransactionId>, Span>,
}

/// The commands of a peer behind the BEGIN of a transaction.
#[derive(Debug)]
struct Span {
    begin: i32,
    /// How many have come that were sent behind it.
    come: i32,
    /// Where the transaction sends from.
    sessions: Vec<SessionId>,
}

/// A transaction at its end, of which an acknowledgement may be lost.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Holed {
    pub(super) transaction: Arc<TransactionId>,
    /// The sessions that it sends from; none says nothing about whose it is.
    pub(super) sessions: Vec<SessionId>,
}

impl Replayed {
    /// Takes note of the next command of the peer. Returns the transaction that it ends, if that is not
    /// whole.
    pub(super) fn hear(&mut self, id: i32, command: &Command) -> Option<Holed> {
        if let Command::ConnectionInfo(info) = command {
            self.restoring = info.failover_reconnect;
            return None;
        }
        if !self.restoring && self.open.is_empty() {
            return None;
        }
        self.restoring &= is_repeated(id, command);
        for span in self.open.values_mut() {
            // Of a producer that was closed meanwhile, the client repeats its end under no number.
            let closes = id == 0 && matches!(command, Command::RemoveInfo(_));
            let behind = closes || id.wrapping_sub(span.begin) > 0;
            span.come = span.come.saturating_add(i32::from(behind));
        }
        if let Command::Message(message) = command {
            self.sends(message);
        }
        let Command::TransactionInfo(info) = command else { return None };
        let transaction = info.transaction_id.as_ref()?;
        if info.kind != transaction_kind::BEGIN {
            let (transaction, span) = self.open.remove_entry(transaction)?;
            let holed = span.come < id.wrapping_sub(span.begin);
            return holed.then_some(Holed { transaction, sessions: span.sessions });
        }
        if self.restoring && self.open.len() < WATCHED_MAX {
            let span = Span { begin: id, come: 0, sessions: Vec::new() };
            self.open.insert(Arc::clone(transaction), span);
        }
        None
    }

    /// Notes where a transaction sends from.
    fn sends(&mut self, message: &Message) {
        let Some(transaction) = &message.transaction_id else { return };
        if let (Some(span), Some(producer)) = (self.open.get_mut(transaction), &message.producer_id)
        {
            let session = producer.session_id();
            if span.sessions.len() < SESSIONS_MAX && !span.sessions.contains(&session) {
                span.sessions.push(session);
            }
        }
    }
}

/// Whether a client that comes to its next broker may be repeating this.
fn is_repeated(id: i32, command: &Command) -> bool {
    use transaction_kind::{BEGIN, END, PREPARE};
    if let Command::Message(message) = command {
        return message.transaction_id.is_some();
    }
    if let Command::TransactionInfo(info) = command {
        return [BEGIN, END, PREPARE].contains(&info.kind);
    }
    let is_new = id != 0 && matches!(command, Command::RemoveInfo(_));
    !is_new && !matches!(command, Command::MessageAck(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openwire::{
        ConnectionId, ConnectionInfo, LocalTransactionId, MessageAck, ProducerId, RemoveInfo,
        TransactionInfo,
    };

    /// A peer that repeats, and what is found missing at each commit.
    struct Peer {
        replayed: Replayed,
    }

    impl Peer {
        fn new(failover_reconnect: bool) -> Self {
            let mut peer = Self { replayed: Replayed::default() };
            let info = ConnectionInfo { failover_reconnect, ..ConnectionInfo::default() };
            assert_eq!(peer.replayed.hear(1, &info.into()), None);
            peer
        }

        fn transaction(value: i64) -> Arc<TransactionId> {
            let connection_id = Some(Arc::new(ConnectionId { value: Some("c".into()) }));
            Arc::new(TransactionId::Local(LocalTransactionId { value, connection_id }))
        }

        fn step(&mut self, id: i32, kind: i8, value: i64) -> Option<usize> {
            let transaction_id = Some(Self::transaction(value));
            let info = TransactionInfo { kind, transaction_id, ..TransactionInfo::default() };
            let holed = self.replayed.hear(id, &info.into())?;
            assert_eq!(holed.transaction, Self::transaction(value));
            Some(holed.sessions.len())
        }

        fn begin(&mut self, id: i32, value: i64) {
            assert_eq!(self.step(id, transaction_kind::BEGIN, value), None);
        }

        /// In how many sessions the transaction sends, if something is missing in it.
        fn commit(&mut self, id: i32, value: i64) -> Option<usize> {
            self.step(id, transaction_kind::COMMIT_ONE_PHASE, value)
        }

        fn send(&mut self, id: i32, value: i64, session: i64) {
            let producer = ProducerId { session_id: session, ..ProducerId::default() };
            let message = Message {
                transaction_id: Some(Self::transaction(value)),
                producer_id: Some(Arc::new(producer)),
                ..Message::default()
            };
            assert_eq!(self.replayed.hear(id, &message.into()), None);
        }

        fn ack(&mut self, id: i32) {
            assert_eq!(self.replayed.hear(id, &MessageAck::default().into()), None);
        }
    }

    #[test]
    fn a_transaction_without_a_hole_is_whole() {
        let mut peer = Peer::new(true);
        peer.begin(20, 1);
        peer.send(21, 1, 1);
        peer.send(22, 1, 1);
        peer.ack(23);
        assert_eq!(peer.commit(24, 1), None);
        assert!(peer.replayed.open.is_empty());
    }

    #[test]
    fn what_was_lost_between_begin_and_commit_shows() {
        let mut peer = Peer::new(true);
        peer.begin(20, 1);
        peer.send(21, 1, 1);
        peer.send(22, 1, 2);
        assert_eq!(peer.commit(24, 1), Some(2));
        peer.begin(30, 2);
        assert_eq!(peer.commit(32, 2), None, "not one that it repeats");
    }

    #[test]
    fn a_transaction_of_lost_acknowledgements_alone_shows() {
        let mut peer = Peer::new(true);
        peer.begin(20, 1);
        peer.begin(25, 2);
        assert_eq!(peer.commit(30, 1), Some(0));
        assert_eq!(peer.step(31, transaction_kind::ROLLBACK, 2), Some(0), "to roll back is right");
    }

    #[test]
    fn a_producer_that_was_closed_leaves_no_hole() {
        let mut peer = Peer::new(true);
        peer.begin(20, 1);
        peer.send(21, 1, 1);
        // The RemoveInfo was number 22.
        assert_eq!(peer.replayed.hear(0, &RemoveInfo::default().into()), None);
        assert_eq!(peer.commit(23, 1), None);
    }

    #[test]
    fn only_a_client_from_another_broker_is_watched_and_only_while_it_repeats() {
        let mut peer = Peer::new(false);
        peer.begin(20, 1);
        assert_eq!(peer.commit(30, 1), None);
        let mut peer = Peer::new(true);
        peer.ack(10);
        peer.begin(20, 1);
        assert_eq!(peer.commit(30, 1), None);
    }

    #[test]
    fn a_peer_cannot_have_more_watched_than_there_may_be() {
        let mut peer = Peer::new(true);
        for value in 0..5000 {
            peer.begin(20, value);
        }
        assert_eq!(peer.replayed.open.len(), WATCHED_MAX);
    }
}
