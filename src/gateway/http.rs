//! The API door.
mod authorization;
mod denial;
mod headers;
mod routes;
mod target;
