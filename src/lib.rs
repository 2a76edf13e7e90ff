//! Latchkey: a reverse-proxy authentication gateway for HTTP APIs and the `IsProxy` line protocol.
//!
//! This file is the table of contents. Each layer may name only the ones above it in this list;
//! `tests/layers.rs` keeps it so, and `ARCHITECTURE.md` says why.

pub mod figures;
pub mod model;

pub mod clock;
pub mod config;
pub mod crypto;
pub mod telemetry;

pub mod net;
pub mod store;

pub mod auth;

pub mod gateway;
pub mod ops;

pub mod console;

pub mod installation;

pub mod app;
pub mod demo;
pub mod probe;

pub mod cli;
