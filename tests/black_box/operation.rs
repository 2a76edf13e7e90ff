//! What an operator sees: configuration, start and stop, logs and metrics.

mod check;
mod completions;
mod explaining;
mod healthcheck;
mod init;
mod observing;
mod serving;
