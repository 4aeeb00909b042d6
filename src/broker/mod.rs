//! What happens to a message.
//!
//! * [`options`] is what a configuration can ask of the broker.

pub mod options;
