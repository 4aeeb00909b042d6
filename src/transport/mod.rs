//! Bytes between sockets and frames.
//!
//! * [`options`] is what a configuration can ask of a connector.

pub mod options;
