//! What integration tests share: real brokers in processes of their own.

#![allow(dead_code, unreachable_pub, reason = "each test uses its own part")]
#![allow(clippy::indexing_slicing, reason = "a failure fails the test")]

pub mod activemq;
pub mod cluster;
pub mod containers;
pub mod daemon;
pub mod group;
pub mod network;
pub mod process;
pub mod proxy;
pub mod sides;
