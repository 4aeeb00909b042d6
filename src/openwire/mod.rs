//! OpenWire on bytes: commands, their field table, and the two encodings.
//!
//! * [`commands`] is the protocol: one row a field. Start here.
//! * [`fields`] names the vocabulary of a row (`int`, `string`, `cached(..)`) and its two sides,
//!   [`fields::FieldWriter`] and [`fields::FieldReader`].
//! * [`text`] is a string as OpenWire spells it; [`throwable`] an exception as Java prints it.
//! * [`wire_format`] is what both sides agree on; [`codec`] turns frames into commands and back with
//!   it, in the loose or the tight encoding, values that repeat through the [`cache`].
//! * [`ids`] and [`destination`] are names as text; [`map`] and [`body`] look into messages, which
//!   nothing on a message's way does.
//!
//! **Invariant:** nothing here knows of sockets, sessions or destinations' contents. The commands
//! are the broker's own domain types: there is no second `Message`.

pub mod body;
pub mod cache;
pub mod codec;
pub mod commands;
pub mod delivery;
pub mod destination;
pub mod fields;
mod frame;
pub mod ids;
mod input;
mod loose;
pub mod map;
pub mod text;
pub mod throwable;
mod tight;
pub mod wire_format;

pub use codec::{Decoder, Encoder};
pub use commands::*;
pub use delivery::Delivery;
pub use fields::WireError;
pub use ids::MessageKey;
pub use map::{PrimitiveMap, Value};
pub use text::Text;
pub use throwable::{StackFrame, Throwable};
pub use wire_format::{Offer, WireFormat, negotiate};
