//! What every layer may use: time, sizes, names of connections.
//!
//! **Invariant:** nothing here knows OpenWire, files or sockets.

pub mod clock;
pub mod id;
pub mod size;

pub use clock::{Clock, ManualClock, SystemClock};
