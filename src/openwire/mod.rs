//! OpenWire on bytes: commands, their field table, and the two encodings.
//!
//! * [`commands`] is the protocol: one row a field. Start here.
//! * [`fields`] names the vocabulary of a row (`int`, `string`, `cached(..)`) and its two sides,
//!   [`fields::FieldWriter`] and [`fields::FieldReader`].
//! * [`text`] is a string as OpenWire spells it; [`throwable`] an exception as Java prints it.
//!
//! **Invariant:** nothing here knows of sockets, sessions or destinations' contents. The commands
//! are the broker's own domain types: there is no second `Message`.

pub mod commands;
pub mod destination;
pub mod fields;
pub mod text;
pub mod throwable;

pub use commands::*;
pub use fields::WireError;
pub use text::Text;
pub use throwable::{StackFrame, Throwable};
