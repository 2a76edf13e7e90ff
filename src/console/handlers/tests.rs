//! Stories of the pages, through the real routes and guards.

mod account;
mod allow_list;
mod api_keys;
mod own_account;
mod quotas;
mod second_factor;
mod signing_in;
mod users;
mod users_edited;
