//! The header fields of W3C Trace Context in a client's request: whose are believed, and which go on. Pure.
//!
//! Where no traces are made, nobody calls this, and the fields pass like any others. Called by `record` and `forward`.

use http::{HeaderMap, HeaderName};

use super::headers::has_field;
use crate::config::TrustIncoming;
use crate::telemetry::TraceContext;

/// Which span asks (W3C Trace Context §3.2).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What else the systems on the way note about a trace (W3C Trace Context §3.3).
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Who sent a request, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// One of the listener's trusted proxies.
    TrustedProxy,
    /// Anybody.
    Stranger,
}

/// The span that a request with these `headers` is part of; `None`: a trace begins with it. A field that is there twice
/// says nothing.
pub fn asking_span(headers: &HeaderMap, sender: Sender, trust: TrustIncoming) -> Option<TraceContext> {
    match (trust, sender) {
        (TrustIncoming::TrustedProxies, Sender::TrustedProxy) => {}
        (TrustIncoming::Never, _) | (_, Sender::Stranger) => return None,
    }
    let mut fields = headers.get_all(TRACEPARENT).iter();
    let (only, further) = (fields.next()?, fields.next());
    TraceContext::parse(only.as_bytes()).filter(|_| further.is_none())
}

/// Makes room for a `traceparent` of our own. What other systems noted stays with their trace, and goes where that does
/// not go on.
pub fn strip_trace(headers: &mut HeaderMap, is_continued: impl FnOnce() -> bool) {
    if has_field(headers, &TRACEPARENT) {
        headers.remove(TRACEPARENT);
    }
    if has_field(headers, &TRACESTATE) && !is_continued() {
        headers.remove(TRACESTATE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn map(fields: &[(&HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_where_that_is_configured() {
        let headers = map(&[(&TRACEPARENT, SOUND)]);
        for (sender, trust, is_believed) in [
            (Sender::TrustedProxy, TrustIncoming::TrustedProxies, true),
            (Sender::Stranger, TrustIncoming::TrustedProxies, false),
            (Sender::TrustedProxy, TrustIncoming::Never, false),
            (Sender::Stranger, TrustIncoming::Never, false),
        ] {
            let expected = TraceContext::parse(SOUND.as_bytes()).filter(|_| is_believed);
            assert_eq!(asking_span(&headers, sender, trust), expected, "{sender:?} {trust:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_or_is_there_twice_begins_a_trace() {
        let other = SOUND.replace("0af7", "1af7");
        for fields in [
            &[][..],
            &[(&TRACEPARENT, "")],
            &[(&TRACEPARENT, "nonsense")],
            &[(&TRACEPARENT, SOUND), (&TRACEPARENT, other.as_str())],
            &[(&TRACESTATE, "a=b")],
        ] {
            let asking = asking_span(&map(fields), Sender::TrustedProxy, TrustIncoming::TrustedProxies);
            assert_eq!(asking, None, "{fields:?}");
        }
    }

    #[test]
    fn a_clients_fields_go_but_for_the_state_of_a_trace_that_goes_on() {
        for (is_continued, left) in [(true, &["accept", "tracestate"][..]), (false, &["accept"])] {
            let accept = http::header::ACCEPT;
            let fields = [(&TRACEPARENT, SOUND), (&TRACEPARENT, "x"), (&TRACESTATE, "a=b"), (&accept, "*/*")];
            let mut headers = map(&fields);
            strip_trace(&mut headers, || is_continued);
            let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
            names.sort_unstable();
            assert_eq!(names, left);
        }
    }
}
