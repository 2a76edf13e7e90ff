//! What a client may take for answers, read as strictly as RFC 9112 allows.

/// One final answer.
#[derive(Debug)]
pub struct Seen {
    pub status: u16,
    /// Names in lower case.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Did all of it come?
    pub is_whole: bool,
}

impl Seen {
    /// The only value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// Whether an answer has a body where its head says so.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Head,
    Other,
}

/// Reads the answers that `bytes` are; the last one may be a part. `first` is about the first request.
pub fn read_answers(mut bytes: &[u8], first: Asked) -> Result<Vec<Seen>, String> {
    let mut answers: Vec<Seen> = Vec::new();
    while !bytes.is_empty() {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            answers.push(Seen { status: 0, fields: Vec::new(), body: bytes.to_vec(), is_whole: false });
            break;
        };
        let (status, fields) = read_head(&bytes[..end])?;
        bytes = &bytes[end + 4..];
        if status < 200 {
            continue;
        }
        let asked = if answers.is_empty() { first } else { Asked::Other };
        let mut seen = Seen { status, fields, body: Vec::new(), is_whole: true };
        if asked == Asked::Other && status != 204 && status != 304 {
            bytes = read_body(&mut seen, bytes)?;
        }
        answers.push(seen);
    }
    Ok(answers)
}

fn read_head(head: &[u8]) -> Result<(u16, Vec<(String, String)>), String> {
    let head = String::from_utf8_lossy(head).into_owned();
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default();
    let status =
        line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|text| text.parse().ok());
    let status =
        status.filter(|status| (100..600).contains(status)).ok_or_else(|| format!("no answer: {line:?}"))?;
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("no field: {line:?}"))?;
        if name.is_empty()
            || name.contains([' ', '\t'])
            || line.contains(|letter: char| letter < ' ' && letter != '\t')
        {
            return Err(format!("a malformed field: {line:?}"));
        }
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok((status, fields))
}

fn read_body<'b>(seen: &mut Seen, bytes: &'b [u8]) -> Result<&'b [u8], String> {
    let values = |name: &str| -> Vec<&str> {
        seen.fields.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect()
    };
    match (values("transfer-encoding").as_slice(), values("content-length").as_slice()) {
        (["chunked"], []) => read_chunks(seen, bytes),
        ([], [length]) => {
            let length: usize = length.parse().map_err(|_| format!("content-length: {length:?}"))?;
            let here = length.min(bytes.len());
            seen.body = bytes[..here].to_vec();
            seen.is_whole = here == length;
            Ok(&bytes[here..])
        }
        ([], []) => {
            seen.body = bytes.to_vec();
            Ok(&[])
        }
        (codings, lengths) => Err(format!("transfer-encoding {codings:?} and content-length {lengths:?}")),
    }
}

fn read_chunks<'b>(seen: &mut Seen, mut bytes: &'b [u8]) -> Result<&'b [u8], String> {
    seen.is_whole = false;
    loop {
        let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else { return Ok(&[]) };
        let size = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let size = usize::from_str_radix(&size, 16).map_err(|_| format!("chunk size {size:?}"))?;
        bytes = &bytes[end + 2..];
        if size == 0 {
            break;
        }
        let Some((data, rest)) = bytes.split_at_checked(size + 2) else { return Ok(&[]) };
        if !data.ends_with(b"\r\n") {
            return Err("a chunk is longer than its size".to_owned());
        }
        seen.body.extend_from_slice(&data[..size]);
        bytes = rest;
    }
    // Trailers end in an empty line.
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        bytes = &bytes[end + 2..];
        if end == 0 {
            seen.is_whole = true;
            break;
        }
    }
    Ok(bytes)
}
