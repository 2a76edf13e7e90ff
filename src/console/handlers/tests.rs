//! Stories of the pages, through the real routes and guards.

mod account;
mod allow_list;
mod api_keys;
mod signing_in;
