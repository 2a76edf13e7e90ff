//! The pages, by area: a struct each, whose fields are what its template shows.
//!
//! The structs hold texts and choices, not records: whoever answers a request fills them in. Form fields are named in
//! the comment of the page that has the form. Every form also sends `csrf`.

pub mod account_quotas;
pub mod activity;
pub mod allow_list;
pub mod api_keys;
pub mod api_reference;
pub mod connect;
pub mod error;
pub mod key_delete;
pub mod key_made;
pub mod key_replace;
pub mod mfa;
pub mod mfa_admin;
pub mod one_time_link;
pub mod profile;
pub mod quotas;
#[cfg(test)]
mod samples;
pub mod sign_in;
pub mod usage;
pub mod user;
pub mod user_form;
pub mod user_question;
pub mod users;
pub mod welcome;
