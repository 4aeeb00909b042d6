//! What integration tests share: real brokers in processes of their own.

#![allow(dead_code, unreachable_pub, reason = "each test uses its own part")]

pub mod activemq;
pub mod daemon;
pub mod process;
