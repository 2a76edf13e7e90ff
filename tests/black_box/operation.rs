//! What an operator sees: configuration, start and stop, logs and metrics.

mod balance;
mod check;
mod completions;
mod draining;
mod exhausted;
mod explaining;
mod healthcheck;
mod init;
mod observing;
mod probing;
mod reloading;
mod serving;
mod store_away;
mod traces;
