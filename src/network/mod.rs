//! Bridges to other brokers.
//!
//! * [`options`] is what a configuration can ask of a bridge.

pub mod options;
