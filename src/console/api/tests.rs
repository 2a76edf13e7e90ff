//! The management API, asked like a client asks it: every answer is held against the document.

mod callers;
mod document;
mod fixture;
mod matrix;
