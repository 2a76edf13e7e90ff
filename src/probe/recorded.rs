//! A request as a recording upstream got it, read from its bytes. Pure, and lenient: whatever reaches it is shown.

/// A request, its bytes as characters so that nothing of them is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RecordedRequest {
    /// The request line and the fields, each with its line end.
    pub(super) head: String,
    /// Fields behind a chunked body.
    pub(super) trailers: String,
}

/// How many bytes a chunk's size may stand for, so that a broken one cannot be waited for.
const CHUNK_MAX_BYTES: usize = 1024 * 1024;

impl RecordedRequest {
    /// The request line.
    pub(super) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// The fields of the head, names in lower case.
    pub(super) fn fields(&self) -> impl Iterator<Item = (String, &str)> {
        fields(&self.head).skip(1)
    }

    /// The values under `name`, which is in lower case.
    pub(super) fn values(&self, name: &str) -> Vec<&str> {
        self.fields().filter(|(found, _)| found == name).map(|(_, value)| value).collect()
    }

    /// Is there a field of `name`, which is in lower case?
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields().any(|(found, _)| found == name)
    }

    /// Is a field's line continued on the next (RFC 9112 §5.2)?
    pub(super) fn is_folded(&self) -> bool {
        self.head.lines().any(|line| line.starts_with([' ', '\t']))
    }
}

fn fields(text: &str) -> impl Iterator<Item = (String, &str)> {
    text.lines().map(|line| {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        (name.trim().to_ascii_lowercase(), value.trim())
    })
}

/// Takes a whole request off the beginning of `buffer`; `None`: it is not complete yet.
///
/// Chunks outrank a length (RFC 9112 §6.3), so that what was meant to be smuggled shows as a request of its own.
pub(super) fn take_request(buffer: &mut Vec<u8>) -> Option<RecordedRequest> {
    let end = find(buffer, b"\r\n\r\n")? + 4;
    let head: String = buffer.get(..end)?.iter().copied().map(char::from).collect();
    let mut request = RecordedRequest { head, trailers: String::new() };
    let chunked = request.values("transfer-encoding").iter().any(|value| value.contains("chunked"));
    let length = request.values("content-length").first().and_then(|value| value.parse().ok()).unwrap_or(0);
    let after = if chunked {
        let (after, trailers) = behind_chunks(buffer, end)?;
        request.trailers = trailers;
        after
    } else {
        end.checked_add(length).filter(|after| *after <= buffer.len())?
    };
    buffer.drain(..after);
    Some(request)
}

/// Where the chunks that begin at `at` end, and the trailers behind them.
fn behind_chunks(buffer: &[u8], mut at: usize) -> Option<(usize, String)> {
    loop {
        let rest = buffer.get(at..)?;
        let line_end = find(rest, b"\r\n")?;
        let line = String::from_utf8_lossy(rest.get(..line_end)?);
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(digits, 16).unwrap_or(0).min(CHUNK_MAX_BYTES);
        at += line_end + 2;
        if size == 0 {
            break;
        }
        at += size + 2;
    }
    let rest = buffer.get(at..)?;
    if rest.starts_with(b"\r\n") {
        return Some((at + 2, String::new()));
    }
    let end = find(rest, b"\r\n\r\n")?;
    Some((at + end + 4, rest.get(..end)?.iter().copied().map(char::from).collect()))
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> (Vec<RecordedRequest>, usize) {
        let mut buffer = text.as_bytes().to_vec();
        let mut requests = Vec::new();
        while let Some(request) = take_request(&mut buffer) {
            requests.push(request);
        }
        (requests, buffer.len())
    }

    #[test]
    fn requests_follow_one_another_whatever_frames_them() {
        let text = "GET /a HTTP/1.1\r\nHost: x\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\
                    POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\nGET /d";
        let (requests, left) = all(text);
        let lines: Vec<&str> = requests.iter().map(RecordedRequest::line).collect();
        assert_eq!(lines, ["GET /a HTTP/1.1", "POST /b HTTP/1.1", "POST /c HTTP/1.1"]);
        assert_eq!((requests[2].trailers.as_str(), left), ("X-T: 1", 6));
        assert_eq!(requests[0].values("host"), ["x"]);
    }

    #[test]
    fn what_stands_behind_ambiguous_framing_shows_as_a_request() {
        let text = "POST /a HTTP/1.1\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
                    GET /smuggled HTTP/1.1\r\nX: a\r\n b\r\n\r\n";
        let (requests, _) = all(text);
        assert_eq!(requests[1].line(), "GET /smuggled HTTP/1.1");
        assert!(requests[1].is_folded() && !requests[0].is_folded());
        assert!(requests[0].has("content-length") && requests[0].has("transfer-encoding"));
    }

    #[test]
    fn what_is_not_complete_waits() {
        for text in [
            "",
            "GET / HTTP/1.1\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: 1\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\nabc",
        ] {
            assert_eq!(all(text), (Vec::new(), text.len()), "{text:?}");
        }
    }
}
