//! How servers read requests: strictly, and in the ways in which known servers have been lenient.
//!
//! A forwarded message must read the same under all of them (RFC 9112 §11.2): else one server's body is another one's
//! next request.

/// A way to read; each but the first is lenient in one respect.
#[derive(Clone, Copy, Debug, Default)]
pub struct Model {
    pub name: &'static str,
    lines: Lines,
    names: Names,
    folds: Folds,
    lengths: Lengths,
    codings: Codings,
    chunks: Chunks,
    nul: Nul,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Lines {
    #[default]
    CrLf,
    LfToo,
    CrToo,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Names {
    #[default]
    AsTheyStand,
    Trimmed,
    MarksAsDashes,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Folds {
    #[default]
    Malformed,
    Joined,
    FieldsOfTheirOwn,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Lengths {
    #[default]
    OnlyOne,
    First,
    Last,
    BeforeCodings,
    UpToTheFirstOddity,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Codings {
    #[default]
    OneAlone,
    ChunkedAnywhere,
    TheFirst,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Chunks {
    #[default]
    Strict,
    Lenient,
    In32Bits,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Nul {
    #[default]
    Kept,
    EndsTheValue,
}

/// The strict one, and fourteen others.
pub fn models() -> Vec<Model> {
    let strict = Model { name: "strict", ..Model::default() };
    vec![
        strict,
        Model { name: "LF ends a line", lines: Lines::LfToo, ..strict },
        Model { name: "CR ends a line", lines: Lines::CrToo, ..strict },
        Model { name: "names are trimmed", names: Names::Trimmed, ..strict },
        Model { name: "any mark is a dash", names: Names::MarksAsDashes, ..strict },
        Model { name: "folds are joined", folds: Folds::Joined, ..strict },
        Model { name: "folds are fields", folds: Folds::FieldsOfTheirOwn, ..strict },
        Model { name: "the first length counts", lengths: Lengths::First, ..strict },
        Model { name: "the last length counts", lengths: Lengths::Last, ..strict },
        Model { name: "length before coding", lengths: Lengths::BeforeCodings, ..strict },
        Model { name: "lengths as atoi reads them", lengths: Lengths::UpToTheFirstOddity, ..strict },
        Model { name: "chunked anywhere in the coding", codings: Codings::ChunkedAnywhere, ..strict },
        Model { name: "the first coding counts", codings: Codings::TheFirst, ..strict },
        Model { name: "sizes as strtol reads them", chunks: Chunks::Lenient, ..strict },
        Model { name: "sizes of 32 bits", chunks: Chunks::In32Bits, ..strict },
        Model { name: "NUL ends a value", nul: Nul::EndsTheValue, ..strict },
    ]
}

/// A request as a model reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub method: Vec<u8>,
    pub target: Vec<u8>,
    pub fields: Fields,
    pub body: Vec<u8>,
}

impl Message {
    /// All values of the field `name`.
    pub fn values(&self, name: &str) -> Vec<&[u8]> {
        self.fields.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_slice()).collect()
    }
}

/// Why there is no further message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything was read.
    Clean,
    /// A message has begun; was its head whole?
    Incomplete(Head),
    /// No message can be read from here on.
    Malformed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    Whole,
    Incomplete,
}

type Read<T> = Result<T, End>;
/// Names in lower case, with values without blanks around them.
type Fields = Vec<(String, Vec<u8>)>;

const NO_HEAD: End = End::Incomplete(Head::Incomplete);
const NO_BODY: End = End::Incomplete(Head::Whole);

impl Model {
    /// Reads all of `bytes`.
    pub fn read_all(&self, bytes: &[u8]) -> (Vec<Message>, End) {
        let (mut messages, mut rest) = (Vec::new(), bytes);
        loop {
            if rest.is_empty() {
                return (messages, End::Clean);
            }
            match self.read_one(rest) {
                Ok((message, behind)) => {
                    messages.push(message);
                    rest = behind;
                }
                Err(end) => return (messages, end),
            }
        }
    }

    /// Reads the first message of `bytes`, and answers what stands behind it.
    pub fn read_one<'b>(&self, bytes: &'b [u8]) -> Read<(Message, &'b [u8])> {
        let (line, rest) = self.line(bytes).ok_or(NO_HEAD)?;
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let [method, target, version] = words.as_slice() else { return Err(End::Malformed) };
        if method.is_empty() || target.is_empty() || !version.starts_with(b"HTTP/1.") {
            return Err(End::Malformed);
        }
        let (fields, rest) = self.fields(rest, NO_HEAD)?;
        let mut message =
            Message { method: method.to_vec(), target: target.to_vec(), fields, body: Vec::new() };
        let (body, rest) = self.body(&message, rest)?;
        message.body = body;
        Ok((message, rest))
    }

    fn line<'b>(&self, bytes: &'b [u8]) -> Option<(&'b [u8], &'b [u8])> {
        let ends = |place: &usize| match (self.lines, bytes[*place]) {
            (Lines::CrLf, b'\n') => *place > 0 && bytes[place - 1] == b'\r',
            (Lines::LfToo | Lines::CrToo, b'\n') => true,
            (Lines::CrToo, b'\r') => bytes.get(place + 1) != Some(&b'\n'),
            _ => false,
        };
        let end = (0..bytes.len()).find(ends)?;
        let line = &bytes[..end];
        Some((line.strip_suffix(b"\r").unwrap_or(line), &bytes[end + 1..]))
    }

    fn fields<'b>(&self, mut rest: &'b [u8], early: End) -> Read<(Fields, &'b [u8])> {
        let mut fields = Fields::new();
        loop {
            let (line, behind) = self.line(rest).ok_or(early)?;
            rest = behind;
            if line.is_empty() {
                return Ok((fields, rest));
            }
            if line.starts_with(b" ") || line.starts_with(b"\t") {
                match (self.folds, fields.last_mut()) {
                    (Folds::Joined, Some((_, value))) => {
                        value.push(b' ');
                        value.extend_from_slice(line.trim_ascii());
                        continue;
                    }
                    (Folds::FieldsOfTheirOwn, _) => {}
                    _ => return Err(End::Malformed),
                }
            }
            fields.push(self.field(line.trim_ascii_start()).ok_or(End::Malformed)?);
        }
    }

    fn field(&self, line: &[u8]) -> Option<(String, Vec<u8>)> {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
        let name = match self.names {
            Names::AsTheyStand => name,
            Names::Trimmed => name.trim().to_owned(),
            Names::MarksAsDashes => name.replace(|mark: char| !mark.is_ascii_alphanumeric(), "-"),
        };
        let mut value = line[colon + 1..].trim_ascii();
        if let (Nul::EndsTheValue, Some(nul)) = (self.nul, value.iter().position(|byte| *byte == 0)) {
            value = &value[..nul];
        }
        Some((name, value.to_vec()))
    }

    fn body<'b>(&self, message: &Message, rest: &'b [u8]) -> Read<(Vec<u8>, &'b [u8])> {
        let lengths = message.values("content-length");
        let length = self.length(&lengths);
        let chunked = self.is_chunked(&message.values("transfer-encoding"))?;
        if chunked && !(self.lengths == Lengths::BeforeCodings && length.is_some()) {
            return if lengths.is_empty() || self.name != "strict" {
                self.chunked(rest)
            } else {
                Err(End::Malformed)
            };
        }
        match (lengths.is_empty(), length) {
            (true, _) => Ok((Vec::new(), rest)),
            (false, None) => Err(End::Malformed),
            (false, Some(length)) if rest.len() < length => Err(NO_BODY),
            (false, Some(length)) => Ok((rest[..length].to_vec(), &rest[length..])),
        }
    }

    fn length(&self, values: &[&[u8]]) -> Option<usize> {
        let digits = |value: &[u8]| {
            let all = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            std::str::from_utf8(value).ok().filter(|_| all)?.parse().ok()
        };
        match self.lengths {
            Lengths::OnlyOne | Lengths::BeforeCodings => match values {
                [only] => digits(only),
                _ => None,
            },
            Lengths::First => values.first().and_then(|value| digits(value)),
            Lengths::Last => values.last().and_then(|value| digits(value)),
            Lengths::UpToTheFirstOddity => values.first().map(|value| {
                let value = value.strip_prefix(b"+").unwrap_or(value);
                value.iter().take_while(|byte| byte.is_ascii_digit()).fold(0_usize, |so_far, digit| {
                    so_far.wrapping_mul(10).wrapping_add(usize::from(digit - b'0'))
                })
            }),
        }
    }

    fn is_chunked(&self, codings: &[&[u8]]) -> Read<bool> {
        let all = codings.join(&b','.to_owned()).to_ascii_lowercase();
        let all = String::from_utf8_lossy(&all).into_owned();
        match self.codings {
            _ if codings.is_empty() => Ok(false),
            Codings::ChunkedAnywhere => Ok(all.contains("chunked")),
            Codings::TheFirst => Ok(all.split(',').next().is_some_and(|first| first.trim() == "chunked")),
            Codings::OneAlone if all == "chunked" => Ok(true),
            Codings::OneAlone => Err(End::Malformed),
        }
    }

    fn chunked<'b>(&self, mut rest: &'b [u8]) -> Read<(Vec<u8>, &'b [u8])> {
        let mut body = Vec::new();
        loop {
            let (line, behind) = self.line(rest).ok_or(NO_BODY)?;
            rest = behind;
            let size = self.chunk_size(line).ok_or(End::Malformed)?;
            if size == 0 {
                let (_, rest) = self.fields(rest, NO_BODY)?;
                return Ok((body, rest));
            }
            let (data, behind) = rest.split_at_checked(size).ok_or(NO_BODY)?;
            body.extend_from_slice(data);
            rest = match behind {
                [] | [b'\r'] => return Err(NO_BODY),
                [b'\r', b'\n', behind @ ..] => behind,
                [b'\n', behind @ ..] if self.lines != Lines::CrLf => behind,
                [_, behind @ ..] if self.chunks == Chunks::Lenient => behind,
                _ => return Err(End::Malformed),
            };
        }
    }

    fn chunk_size(&self, line: &[u8]) -> Option<usize> {
        let size = line.split(|byte| *byte == b';').next()?;
        let text = String::from_utf8_lossy(size).into_owned();
        match self.chunks {
            Chunks::Strict => {
                let all = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_hexdigit());
                all.then(|| usize::from_str_radix(&text, 16).ok())?
            }
            Chunks::Lenient | Chunks::In32Bits => {
                let text = text.trim().trim_start_matches('+').to_ascii_lowercase();
                let text = text.strip_prefix("0x").unwrap_or(&text);
                let digits: String = text.chars().take_while(char::is_ascii_hexdigit).collect();
                let size = digits.chars().fold(0_u64, |so_far, digit| {
                    so_far.wrapping_mul(16).wrapping_add(u64::from(digit.to_digit(16).unwrap()))
                });
                let size = if self.chunks == Chunks::In32Bits { size & u64::from(u32::MAX) } else { size };
                usize::try_from(size).ok()
            }
        }
    }
}
