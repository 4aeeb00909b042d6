//! OpenWire on bytes: commands, their field table, and the two encodings.
//!
//! * [`commands`] is the protocol: one row a field. Start here.
//! * [`fields`] names the vocabulary of a row (`int`, `string`, `cached(..)`) and its two sides,
//!   [`fields::FieldWriter`] and [`fields::FieldReader`].
//! * [`text`] is a string as OpenWire spells it; [`throwable`] an exception as Java prints it.
//! * [`wire_format`] is what both sides of a connection agree on.
//! * [`ids`] and [`destination`] are names as text; [`map`] looks into messages, which nothing on
//!   a message's way does.
//!
//! **Invariant:** nothing here knows of sockets, sessions or destinations' contents. The commands
//! are the broker's own domain types: there is no second `Message`.

pub mod commands;
pub mod destination;
pub mod fields;
pub mod ids;
mod input;
pub mod map;
pub mod text;
pub mod throwable;
pub mod wire_format;

pub use commands::*;
pub use fields::WireError;
pub use ids::MessageKey;
pub use map::{PrimitiveMap, Value};
pub use text::Text;
pub use throwable::{StackFrame, Throwable};
pub use wire_format::{Offer, WireFormat, negotiate};
