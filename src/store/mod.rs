//! What keeps messages across a restart.
//!
//! * [`options`] is what a configuration can ask of it.

pub mod options;
