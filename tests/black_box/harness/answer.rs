//! HTTP/1.1 as the tests write and read it: a request's exact text, an answer taken apart.

use serde_json::Value;

use super::Wire;

/// A request being written; what a test does not say is `GET / HTTP/1.1` with a `Host`.
#[derive(Clone)]
pub struct Request {
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    /// A GET of `target`.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// Any method.
    pub fn new(method: &str, target: &str) -> Self {
        Self::of("api.example", method, target)
    }

    /// Any method, of another host.
    pub fn of(host: &str, method: &str, target: &str) -> Self {
        let host = ("Host".to_owned(), host.to_owned());
        Self { method: method.to_owned(), target: target.to_owned(), fields: vec![host], body: None }
    }

    /// Adds a field, also one that is there already.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds `Authorization`.
    pub fn authorization(self, value: &str) -> Self {
        self.field("Authorization", value)
    }

    /// Gives it a body, with its length.
    pub fn body(mut self, body: &[u8]) -> Self {
        self.body = Some(body.to_vec());
        self.field("Content-Length", &body.len().to_string())
    }

    /// The bytes on the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.fields {
            text.extend([name, ": ", value, "\r\n"]);
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

/// An answer, taken apart.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Fields in the order they came.
    pub fields: Vec<(String, String)>,
    /// The body, without the framing of chunks.
    pub body: Vec<u8>,
    /// Fields behind a chunked body.
    pub trailers: Vec<(String, String)>,
    /// Did the body end as its framing promised?
    pub complete: bool,
}

impl Answer {
    /// The only value of a field; none where it is missing.
    pub fn field(&self, name: &str) -> Option<&str> {
        only_value(&self.fields, name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    /// An answer that the gateway made itself (PROTOCOL section 2): status, type, and a name that head and body share.
    #[track_caller]
    pub fn assert_refusal(&self, status: u16, kind: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.field("content-type"), Some("application/json"), "{self:?}");
        let body = self.json();
        let members: Vec<&String> = body.as_object().unwrap().keys().collect();
        assert_eq!(members, ["type", "message", "requestId"], "{self:?}");
        assert_eq!(body["type"], kind, "{self:?}");
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{self:?}");
        assert!(self.field("x-request-id").is_some_and(|id| id.len() >= 8), "{self:?}");
        assert_eq!(self.field("x-request-id"), body["requestId"].as_str(), "{self:?}");
        let challenge = (status == 401).then_some("ApiKey realm=\"latchkey\"");
        assert_eq!(self.field("www-authenticate"), challenge, "{self:?}");
        assert_eq!(self.field("location"), None, "{self:?}");
    }
}

/// The only field called `name` in any case.
pub fn only_value<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut values = fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
    let value = values.next().map(|(_, value)| value.as_str());
    assert!(values.next().is_none(), "{name} is there more than once: {fields:?}");
    value
}

/// The lines of a head behind the first one.
pub fn parse_fields(head: &str) -> Vec<(String, String)> {
    let lines = head.split("\r\n").filter(|line| !line.is_empty());
    let fields = lines.map(|line| {
        let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no colon in {line:?}"));
        (name.to_owned(), value.trim().to_owned())
    });
    fields.collect()
}

impl Wire {
    /// Sends a request and reads its answer.
    pub fn exchange(&mut self, request: &Request) -> Answer {
        self.send(request.to_bytes());
        if request.method == "HEAD" { self.read_answer_head() } else { self.read_answer() }
    }

    /// Reads the head of an answer, leaving its body on the wire.
    pub fn read_answer_head(&mut self) -> Answer {
        let head = String::from_utf8(self.read_until(b"\r\n\r\n")).unwrap();
        let (line, fields) = head.split_once("\r\n").unwrap();
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status in {line:?}"));
        let fields = parse_fields(fields);
        Answer { status, fields, body: Vec::new(), trailers: Vec::new(), complete: true }
    }

    /// Reads a whole answer; one of 1xx is an answer by itself.
    pub fn read_answer(&mut self) -> Answer {
        let mut answer = self.read_answer_head();
        if answer.status < 200 || answer.status == 204 || answer.status == 304 {
            return answer;
        }
        if answer.field("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            answer.complete = false;
            while let Some(chunk) = self.read_chunk() {
                if chunk.is_empty() {
                    answer.complete = true;
                    answer.trailers = self.read_trailers();
                    break;
                }
                answer.body.extend_from_slice(&chunk);
            }
        } else if let Some(length) = answer.field("content-length").map(|length| length.parse().unwrap()) {
            answer.body = self.read_up_to(length);
            answer.complete = answer.body.len() == length;
        } else {
            answer.body = self.read_to_end();
        }
        answer
    }

    /// Reads a chunk; an empty one is the last, `None` the end of the connection.
    pub fn read_chunk(&mut self) -> Option<Vec<u8>> {
        let line = String::from_utf8(self.try_read_until(b"\r\n")?).unwrap();
        let size =
            usize::from_str_radix(line.trim_end(), 16).unwrap_or_else(|_| panic!("chunk size {line:?}"));
        if size == 0 {
            return Some(Vec::new());
        }
        let mut chunk = self.read_up_to(size + 2);
        if chunk.len() < size + 2 {
            return None;
        }
        chunk.truncate(size);
        Some(chunk)
    }

    fn read_trailers(&mut self) -> Vec<(String, String)> {
        let mut text = String::new();
        loop {
            let line = String::from_utf8(self.read_until(b"\r\n")).unwrap();
            if line == "\r\n" {
                return parse_fields(&text);
            }
            text.push_str(&line);
        }
    }
}
