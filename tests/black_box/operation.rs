//! What an operator sees: configuration, start and stop, logs and metrics.

mod check;
mod observing;
mod serving;
