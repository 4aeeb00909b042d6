//! Who may connect, and what they may do.
//!
//! * [`options`] is what a configuration can ask of it.

pub mod options;
