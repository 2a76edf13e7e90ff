//! What the gateway says to a client on the fast path: in every answer that it passes on, and in its own. Pure.
//!
//! Called by `fast_path` and by `upstream::http1_plain_answer`.

use http::header::{CONTENT_LENGTH, DATE};

use super::fields::{write_field, write_status};
use crate::auth::Quota;
use crate::gateway::http::denial::{Fault, Said, body_of_fault, each_of_fault, each_of_quota};
use crate::gateway::http::headers::X_REQUEST_ID;

/// What the gateway says in every answer.
#[derive(Clone, Copy, Debug)]
pub struct OurWord<'a> {
    /// The request's name.
    pub request_id: [u8; 16],
    /// When it came, for an answer that does not say when it was made (RFC 9110 §6.6.1).
    pub date: &'a str,
    /// What the client's key has left.
    pub quota: Option<Quota>,
    /// The connection closes behind it.
    pub is_last: bool,
}

impl OurWord<'_> {
    /// Appends the fields that every answer has.
    pub fn write(&self, out: &mut Vec<u8>) {
        if let Some(quota) = self.quota {
            each_of_quota(quota, |name, value| write_number(out, name.as_str(), value));
        }
        write_field(out, X_REQUEST_ID.as_str().as_bytes(), &self.request_id);
        if self.is_last {
            out.extend_from_slice(b"connection: close\r\n");
        }
    }

    /// Appends the gateway's own answer for `fault`, with the fields in the order that hyper would write them in: nobody
    /// can tell a refused key from a refused password. Answers how many bytes its body has.
    pub fn write_fault(&self, out: &mut Vec<u8>, fault: Fault) -> usize {
        let body = body_of_fault(fault, &self.request_id);
        let body_bytes = body.iter().map(|part| part.len()).sum();
        let status = fault.status();
        write_status(out, status, status.canonical_reason().unwrap_or_default());
        each_of_fault(fault, |name, said| match said {
            Said::Text(text) => write_field(out, name.as_str().as_bytes(), text.as_bytes()),
            Said::Number(number) => write_number(out, name.as_str(), number),
        });
        Self { quota: fault.quota().or(self.quota), ..*self }.write(out);
        write_number(out, CONTENT_LENGTH.as_str(), body_bytes);
        write_field(out, DATE.as_str().as_bytes(), self.date.as_bytes());
        out.extend_from_slice(b"\r\n");
        for part in body {
            out.extend_from_slice(part);
        }
        body_bytes
    }
}

fn write_number(out: &mut Vec<u8>, name: &str, number: impl itoa::Integer) {
    write_field(out, name.as_bytes(), itoa::Buffer::new().format(number).as_bytes());
}
