//! Console, admin API and metrics.
//!
//! * [`options`] is what a configuration can ask of them.

pub mod options;
