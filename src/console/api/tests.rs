//! The management API, asked like a client asks it: every answer is held against the document.

mod callers;
mod document;
mod fixture;
mod matrix;

/// The document, as programs get it.
pub(super) async fn document_of_the_api() -> serde_json::Value {
    fixture::Api::new().await.document
}
