//! Bytes between sockets and frames.
//!
//! * [`options`] is what a configuration can ask of a connector.
//! * [`listener`] opens a port and accepts; [`admission`] says how many are let in; [`connector`] is
//!   the open port as its connections know it.
//! * [`frame_reader`] cuts bytes into frames, of any stream.
//! * [`tcp_path`] tells a network that carries nothing from a peer that is slow.
//!
//! **Invariant:** nothing here decodes a command.

pub mod admission;
pub mod connector;
pub mod frame_reader;
pub mod listener;
pub mod options;
mod socket;
pub mod tcp_path;

pub use admission::Slot;
pub use connector::Connector;
pub use frame_reader::FrameReader;
pub use listener::{Accepted, BindError, Listener};
pub use tcp_path::TcpPath;
