//! Stories of the pages, through the real routes and guards.

mod signing_in;
mod users;
mod users_edited;
