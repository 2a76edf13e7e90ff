//! What an operator sees: configuration, start and stop, logs and metrics.

mod acme;
mod backup;
mod balance;
mod certificates;
mod check;
mod completions;
mod draining;
mod exhausted;
mod explaining;
mod healthcheck;
mod init;
mod listeners;
mod live_page;
mod master_key;
mod newcomer;
mod observing;
mod probing;
mod reloading;
mod serving;
mod store_away;
mod swapping;
mod systemd;
mod traces;
