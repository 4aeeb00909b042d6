//! What a client asked for and may not have, with the Java exception it sees.

use crate::openwire::{Destination, Throwable};

/// A request that the broker refuses. Becomes an ExceptionResponse, or a ConnectionError where the
/// command asked for no response. Class names and texts are those of ActiveMQ 5.17.2, because
/// clients and their operators match on them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("No clientID specified for connection request")]
    NoClientId,
    #[error("Broker: {broker} - Client: {client_id} already connected from {remote_address}")]
    ClientIdInUse { broker: String, client_id: String, remote_address: String },
    /// With the exception that says why, whose text is the selector.
    #[error("{}", .0.message.as_ref().map(ToString::to_string).unwrap_or_default())]
    InvalidSelector(Throwable),
    #[error("Durable consumer is in use for client: {client_id} and subscriptionName: {name}")]
    DurableInUse { client_id: String, name: String },
    #[error("Durable consumer is in use")]
    DurableActive,
    #[error(
        "No durable subscription exists for clientID: {client_id} and subscriptionName: {name}"
    )]
    NoDurableSubscription { client_id: String, name: String },
    #[error("{destination}")]
    DestinationDoesNotExist { destination: Destination },
    #[error("{0}")]
    InvalidDestination(String),
    #[error("Transaction '{transaction}' has not been started.")]
    NoSuchTransaction { transaction: String, xa: bool },
    /// A two-phase commit of a branch that is not prepared.
    #[error("Cannot commit 2 phase if the transaction has not been prepared: {transaction}")]
    XaProtocol { transaction: String },
    /// A transaction of which a part failed or came to nothing; it is rolled back instead.
    #[error("COMMIT FAILED: Transaction marked rollback only")]
    RolledBack { cause: Throwable },
    /// A local transaction that a client had open at the broker before this one, which may have had an
    /// acknowledgement of it that this one does not know.
    #[error(
        "Transaction in doubt due to failover, an acknowledgement may be lost. Forcing rollback of \
         {transaction}"
    )]
    LostPart { transaction: String },
    #[error("{0}")]
    ResourceAllocation(String),
    /// A `javax.jms.JMSException` without a class of its own.
    #[error("{0}")]
    Jms(String),
    /// A `javax.jms.MessageFormatException`: a property is not what it should be.
    #[error("{0}")]
    MessageFormat(String),
    /// A `java.lang.IllegalStateException`: the client broke the order of commands or a limit.
    #[error("{0}")]
    IllegalState(String),
    /// A `javax.jms.IllegalStateException`.
    #[error("{0}")]
    JmsIllegalState(String),
    /// A `java.lang.SecurityException`.
    #[error("{0}")]
    Security(String),
}

impl Refusal {
    /// The Java class that a client raises. Always `javax.jms`: newer clients map it to `jakarta.jms`,
    /// older ones know no other.
    pub fn class_name(&self) -> &'static str {
        match self {
            Self::NoClientId | Self::ClientIdInUse { .. } => "javax.jms.InvalidClientIDException",
            Self::InvalidSelector(_) => "javax.jms.InvalidSelectorException",
            Self::NoDurableSubscription { .. } | Self::InvalidDestination(_) => {
                "javax.jms.InvalidDestinationException"
            }
            Self::DestinationDoesNotExist { .. } => {
                "org.apache.activemq.DestinationDoesNotExistException"
            }
            Self::NoSuchTransaction { xa: true, .. }
            | Self::XaProtocol { .. }
            | Self::RolledBack { .. } => "javax.transaction.xa.XAException",
            Self::LostPart { .. } => "javax.jms.TransactionRolledBackException",
            Self::MessageFormat(_) => "javax.jms.MessageFormatException",
            Self::ResourceAllocation(_) => "javax.jms.ResourceAllocationException",
            Self::DurableInUse { .. }
            | Self::DurableActive
            | Self::NoSuchTransaction { xa: false, .. }
            | Self::Jms(_) => "javax.jms.JMSException",
            Self::IllegalState(_) => "java.lang.IllegalStateException",
            Self::JmsIllegalState(_) => "javax.jms.IllegalStateException",
            Self::Security(_) => "java.lang.SecurityException",
        }
    }

    /// The code of an XAException. It has none on the wire; clients read it off the end of the text.
    fn xa_code(&self) -> Option<i32> {
        if matches!(self, Self::NoSuchTransaction { xa: true, .. }) {
            return Some(XAER_NOTA);
        }
        if matches!(self, Self::RolledBack { .. }) {
            return Some(XA_RBROLLBACK);
        }
        matches!(self, Self::XaProtocol { .. }).then_some(XAER_PROTO)
    }

    /// The exception as it travels.
    pub fn to_throwable(&self) -> Throwable {
        if let Some(code) = self.xa_code() {
            let text = format!("{self} xaErrorCode:{code}");
            let exception = Throwable::new(self.class_name(), &text);
            let Self::RolledBack { cause } = self else { return exception };
            // What a client without a transaction manager takes out of it.
            let rolled_back = Throwable::new("javax.jms.TransactionRolledBackException", &text);
            return exception.caused_by(rolled_back.caused_by(cause.clone()));
        }
        if let Self::InvalidSelector(exception) = self {
            return exception.clone();
        }
        Throwable::new(self.class_name(), &self.to_string())
    }
}

/// `XAException.XAER_NOTA`: there is no such branch.
const XAER_NOTA: i32 = -4;
/// `XAException.XA_RBROLLBACK`: rolled back for a reason that has no code of its own.
const XA_RBROLLBACK: i32 = 100;
/// `XAException.XAER_PROTO`: not in this state of the branch.
const XAER_PROTO: i32 = -6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_finds_the_code_of_an_xa_error_at_the_end_of_its_text() {
        let refusal = Refusal::NoSuchTransaction { transaction: "XID:[1]".to_owned(), xa: true };
        let throwable = refusal.to_throwable();
        assert_eq!(
            throwable.to_string(),
            "javax.transaction.xa.XAException: Transaction 'XID:[1]' has not been started. \
             xaErrorCode:-4"
        );
    }

    #[test]
    fn a_bad_selector_is_its_own_text_and_says_why_in_the_cause() {
        let error = crate::selector::Selector::parse("foo = = 1").unwrap_err();
        let refusal = Refusal::InvalidSelector(error.throwable("foo = = 1"));
        assert_eq!(refusal.to_string(), "foo = = 1");
        let throwable = refusal.to_throwable();
        assert_eq!(throwable.to_string(), "javax.jms.InvalidSelectorException: foo = = 1");
        let cause = throwable.cause.unwrap().to_string();
        assert!(cause.starts_with("org.apache.activemq.selector.ParseException: "), "{cause}");
    }
}
