#![doc = include_str!("ARCHITECTURE.md")]

pub mod base;
pub mod broker;
pub mod cli;
pub mod client;
pub mod config;
pub mod connection;
pub mod network;
pub mod openwire;
pub mod security;
pub mod selector;
pub mod server;
pub mod store;
pub mod transport;
pub mod web;
