//! What every layer may use: time, sizes, names of connections, what threads do, long sorted maps.
//!
//! **Invariant:** nothing here knows OpenWire, files or sockets.

pub mod activity;
pub(crate) mod bug;
pub mod chunk_map;
pub mod clock;
pub mod fail_point;
pub mod id;
pub mod machine;
pub mod options;
pub mod secret;
pub mod size;
pub mod uri;

pub use activity::Activity;
pub use chunk_map::ChunkMap;
pub use clock::{Clock, ManualClock, SystemClock};
