//! How a connection to a server gets ready for lines: `STARTTLS` and Latchkey's own `LOGIN`, as a client says them
//! (PROTOCOL section 1), within one deadline.
//!
//! What a server answers is compared and never repeated: it may hold the key. The client's credential is not known
//! here. Called by `upstream` and `health_check`.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::line::{Behind, LineReader, NextLine};
use crate::model::Secret;
use crate::net::upstream::{ConnectError, Target, UpstreamStream};

/// Why a connection did not get ready; no line of a client was sent.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no connection, or TLS failed on it: most often, the certificate is not to be trusted (S78).
    #[error("{0}")]
    Connect(#[from] ConnectError),
    /// It broke on the way.
    #[error("the connection broke before it was ready: {0}")]
    Broken(#[from] io::Error),
    /// It was closed, as a server without a certificate does on `STARTTLS`.
    #[error("it closed the connection before it was ready")]
    Closed,
    /// Going on in clear would show the key to whoever listens.
    #[error("it did not answer STARTTLS with `100 OK`")]
    NoStartTls,
    /// Whoever put them there wants them taken for what comes inside TLS (CVE-2011-0411).
    #[error("it sent bytes in clear behind its answer to STARTTLS")]
    BytesBehindStartTls,
    /// The key is not right, or not allowed from here.
    #[error("it refused the login")]
    LoginRefused,
}

/// What a server said to a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// What was hoped for, and whether more was read.
    Expected(Behind),
    Otherwise,
}

/// A connection that takes `IS` and `ENABLE`, with what was read from it already, or why none came about in time.
pub async fn open(
    target: &Target,
    login_key: Option<&Secret<String>>,
    within: Duration,
) -> Result<(UpstreamStream, LineReader), OpenError> {
    let due = Instant::now() + within;
    timeout_at(due, get_ready(target, login_key, due)).await.unwrap_or(Err(ConnectError::TooLate.into()))
}

async fn get_ready(
    target: &Target,
    login_key: Option<&Secret<String>>,
    due: Instant,
) -> Result<(UpstreamStream, LineReader), OpenError> {
    let mut stream = target.connect_socket(due).await?;
    if target.speaks_tls() {
        // A reader of its own: nothing that was read in clear is carried into TLS.
        match ask(&mut stream, &mut LineReader::new(), b"STARTTLS\r\n", b"100 OK").await? {
            Heard::Expected(Behind::Nothing) => {}
            Heard::Expected(Behind::Bytes) => return Err(OpenError::BytesBehindStartTls),
            Heard::Otherwise => return Err(OpenError::NoStartTls),
        }
    }
    let mut stream = target.begin_tls(stream).await?;
    let mut reader = LineReader::new();
    if let Some(key) = login_key {
        let login = Zeroizing::new([b"LOGIN ", key.expose().as_bytes(), b"\r\n"].concat());
        match ask(&mut stream, &mut reader, &login, b"100 Login ok").await? {
            Heard::Expected(_) => {}
            Heard::Otherwise => return Err(OpenError::LoginRefused),
        }
    }
    Ok((stream, reader))
}

/// Sends `line` and waits for the one that answers it; `expected` may come in any case.
async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    reader: &mut LineReader,
    line: &[u8],
    expected: &[u8],
) -> Result<Heard, OpenError> {
    stream.write_all(line).await?;
    stream.flush().await?;
    loop {
        match reader.next_line() {
            NextLine::Complete(line, behind) if line.eq_ignore_ascii_case(expected) => {
                return Ok(Heard::Expected(behind));
            }
            NextLine::Complete(..) | NextLine::TooLong(_) | NextLine::TlsHello => {
                return Ok(Heard::Otherwise);
            }
            NextLine::Incomplete => {}
        }
        let count = stream.read(reader.room()).await?;
        if count == 0 {
            return Err(OpenError::Closed);
        }
        reader.filled(count);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};
    use tokio::net::TcpListener;

    use super::*;

    const STARTTLS: &[u8] = b"STARTTLS\r\n";

    /// What is heard of a server that answers the first line with `answers`, written one after the other.
    async fn hear(answers: &[&[u8]]) -> Result<Heard, OpenError> {
        let (mut here, there) = duplex(4_096);
        let says = async {
            let mut there: DuplexStream = there;
            let mut line = vec![0; STARTTLS.len()];
            there.read_exact(&mut line).await.unwrap();
            assert_eq!(line, STARTTLS);
            for answer in answers {
                there.write_all(answer).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let mut reader = LineReader::new();
        let (heard, ()) = tokio::join!(ask(&mut here, &mut reader, STARTTLS, b"100 OK"), says);
        heard
    }

    #[tokio::test]
    async fn s16_bytes_behind_the_answer_are_noticed() {
        for (answers, expected) in [
            (&[&b"100 OK\r\n"[..]][..], Heard::Expected(Behind::Nothing)),
            (&[b"100 ok\n"], Heard::Expected(Behind::Nothing)),
            (&[b"100", b" OK\r", b"\n"], Heard::Expected(Behind::Nothing)),
            (&[b"100 OK\r\n1"], Heard::Expected(Behind::Bytes)),
            (&[b"100 OK\r\n100 OK\r\n"], Heard::Expected(Behind::Bytes)),
            (&[b"100 OK\r\n100 Login ok\r\n"], Heard::Expected(Behind::Bytes)),
        ] {
            assert_eq!(hear(answers).await.unwrap(), expected, "{answers:?}");
        }
    }

    #[tokio::test]
    async fn whatever_else_is_answered_is_no_leave_to_go_on() {
        for answer in [
            &b"400 Unknown command\r\n"[..],
            b"100 OK then\r\n",
            b"100 Welcome\r\n100 OK\r\n",
            b"\r\n100 OK\r\n",
            b"\x16\x03\x01\x02",
            &[b'x'; 2_000],
        ] {
            assert_eq!(hear(&[answer]).await.unwrap(), Heard::Otherwise, "{answer:?}");
        }
        assert!(matches!(hear(&[]).await, Err(OpenError::Closed)));
        assert!(matches!(hear(&[b"100 OK"]).await, Err(OpenError::Closed)));
    }

    #[tokio::test]
    async fn s40_the_login_is_sent_and_what_refuses_it_is_not_repeated() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = Target::new("127.0.0.1", port, format!("127.0.0.1:{port}"), None);
        let key = Secret::new(String::from("hunter2"));
        for (answer, refusal) in [
            (&b"100 Login ok\r\n"[..], None),
            (b"400 Login failed for hunter2\r\n", Some("it refused the login")),
            (b"", Some("it closed the connection before it was ready")),
        ] {
            let serving = async {
                let (mut there, _) = listener.accept().await.unwrap();
                let mut line = [0; 15];
                there.read_exact(&mut line).await.unwrap();
                assert_eq!(&line, b"LOGIN hunter2\r\n");
                there.write_all(answer).await.unwrap();
            };
            let opening = open(&target, Some(&key), Duration::from_secs(5));
            let (opened, ()) = tokio::join!(opening, serving);
            assert_eq!(opened.err().map(|error| error.to_string()).as_deref(), refusal);
        }
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_too_late() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = Target::new("127.0.0.1", port, format!("127.0.0.1:{port}"), None);
        let key = Secret::new(String::from("hunter2"));
        let opened = open(&target, Some(&key), Duration::from_millis(50)).await;
        assert!(matches!(opened, Err(OpenError::Connect(ConnectError::TooLate))));
        assert!(open(&target, None, Duration::from_secs(5)).await.is_ok(), "there is nothing to wait for");
    }
}
