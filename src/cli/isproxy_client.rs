//! The small client behind `latchkey isproxy`: connects, upgrades, logs in, asks, prints replies as they come.
//!
//! It reads no argument and no environment, and writes only to the writer it is given. TLS is the default, and a
//! server that does not upgrade is left before the key is sent.

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::gateway::isproxy::line::{Behind, LineReader, NextLine};
use crate::model::Secret;

/// Taken where the address names no port (PROTOCOL section 1).
const DEFAULT_PORT: u16 = 2001;
/// For connecting, for the TLS handshake, and for the answers to `STARTTLS` and `LOGIN`.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// What to ask, of whom.
#[derive(Debug)]
pub struct AskOptions {
    /// `host:port`, `host`, `[IPv6]:port` or an address.
    pub address: String,
    /// Whether to upgrade, and whom to believe.
    pub security: Security,
    /// The API key.
    pub key: Secret<String>,
    /// Names to ask at once.
    pub domains: Vec<String>,
}

/// Does the session go through `STARTTLS`?
#[derive(Clone, Debug)]
pub enum Security {
    /// The key travels in clear.
    Plaintext,
    /// The server must show a certificate for the host of the address, issued by one of these.
    StartTls(Arc<RootCertStore>),
}

/// What was asked and answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Names asked; each was answered.
    pub names: u64,
}

/// Why asking failed.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Not an address.
    #[error("`{0}` is not an address; write HOST:PORT, for example localhost:2001")]
    Address(String),
    /// No connection.
    #[error("cannot connect to {address}: {error}")]
    Connect {
        /// Where to.
        address: String,
        /// What the system says.
        error: io::Error,
    },
    /// The server does not upgrade.
    #[error("the server does not offer TLS (it {0}); --plaintext sends the key in clear")]
    NoTls(String),
    /// The handshake failed.
    #[error("the TLS handshake failed: {0}")]
    Tls(io::Error),
    /// TLS cannot be set up here.
    #[error("TLS cannot be set up: {0}")]
    TlsSetUp(#[from] rustls::Error),
    /// The key cannot be sent.
    #[error("the key is empty or has characters that no key has")]
    Key,
    /// The login was refused.
    #[error("the login was refused: {0}")]
    Login(String),
    /// A name cannot be sent.
    #[error(
        "`{0}` cannot be asked: a name is ASCII without spaces, of at most 900 characters; write others in their xn-- form"
    )]
    Name(String),
    /// The server took too long.
    #[error("the server did not answer within {} seconds", ANSWER_WITHIN.as_secs())]
    Late,
    /// The server closed before everything was answered.
    #[error("the server closed the connection with {unanswered} of {asked} names unanswered")]
    Unanswered {
        /// Names asked.
        asked: u64,
        /// Of them, names without a reply.
        unanswered: u64,
    },
    /// The server closed before it was left.
    #[error("the server closed the session; the key may no longer be let in")]
    Closed,
    /// The server sent something that is no line.
    #[error("the server sent something that is no line of the protocol")]
    Garbled,
    /// The connection, the input or the output broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A file with certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaFileError {
    /// It cannot be read, or holds no PEM.
    #[error("{0}")]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// A certificate in it is none.
    #[error("{0}")]
    Certificate(#[from] rustls::Error),
    /// It holds no certificate.
    #[error("no certificate in it")]
    Empty,
}

/// The certificates of a PEM file, to be believed.
pub fn load_ca_file(path: &Path) -> Result<Arc<RootCertStore>, CaFileError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path)? {
        roots.add(certificate?)?;
    }
    if roots.is_empty() { Err(CaFileError::Empty) } else { Ok(Arc::new(roots)) }
}

/// Asks for all names of `options` at once, then for every line of `more`, and writes each reply to `output` as it
/// comes. Ends when everything is answered.
pub async fn ask(
    options: &AskOptions,
    more: Option<impl AsyncBufRead + Unpin>,
    output: &mut impl io::Write,
) -> Result<Asked, AskError> {
    let key = options.key.expose().trim();
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(AskError::Key);
    }
    if let Some(bad) = options.domains.iter().find(|domain| !can_be_asked(domain)) {
        return Err(AskError::Name(bad.escape_debug().to_string()));
    }
    let (host, port) = split_address(&options.address)?;
    let connecting = TcpStream::connect((host, port));
    let mut stream = timeout(ANSWER_WITHIN, connecting)
        .await
        .map_err(|_| AskError::Late)?
        .map_err(|error| AskError::Connect { address: options.address.clone(), error })?;
    stream.set_nodelay(true)?;
    match &options.security {
        Security::Plaintext => converse(stream, key, &options.domains, more, output).await,
        Security::StartTls(roots) => {
            let name = ServerName::try_from(host.to_owned())
                .map_err(|_| AskError::Address(options.address.clone()))?;
            let connector = tls_connector(roots)?;
            request_upgrade(&mut stream).await?;
            let stream = timeout(ANSWER_WITHIN, connector.connect(name, stream))
                .await
                .map_err(|_| AskError::Late)?
                .map_err(AskError::Tls)?;
            converse(stream, key, &options.domains, more, output).await
        }
    }
}

fn tls_connector(roots: &Arc<RootCertStore>) -> Result<TlsConnector, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(Arc::clone(roots))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Host without brackets, and port.
fn split_address(address: &str) -> Result<(&str, u16), AskError> {
    let invalid = || AskError::Address(address.to_owned());
    let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None if address.matches(':').count() > 1 => (address, None),
        None => address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Ok(DEFAULT_PORT), |port| port.parse().map_err(|_| invalid()))?;
    if host.is_empty() { Err(invalid()) } else { Ok((host, port)) }
}

/// Would the line reach the server as one question? What the name means is not judged.
fn can_be_asked(domain: &str) -> bool {
    (1..=900).contains(&domain.len()) && domain.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Nothing but a lone `100 OK` lets the session go on: what stands behind it in clear may be anybody's.
async fn request_upgrade(stream: &mut TcpStream) -> Result<(), AskError> {
    stream.write_all(b"STARTTLS\r\n").await?;
    let mut reader = LineReader::new();
    match answer(stream, &mut reader).await {
        Ok((line, Behind::Nothing)) if line == "100 OK" => Ok(()),
        Ok((_, Behind::Bytes)) => Err(AskError::Garbled),
        Ok((line, Behind::Nothing)) => Err(AskError::NoTls(format!("answered `{line}`"))),
        Err(AskError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(AskError::NoTls("closed the connection".to_owned()))
        }
        Err(error) => Err(error),
    }
}

/// One line, within the time for answers.
async fn answer(
    stream: &mut (impl AsyncRead + Unpin),
    reader: &mut LineReader,
) -> Result<(String, Behind), AskError> {
    timeout(ANSWER_WITHIN, next_line(stream, reader))
        .await
        .map_err(|_| AskError::Late)??
        .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof).into())
}

/// The next line; `None`: the server has closed.
async fn next_line(
    stream: &mut (impl AsyncRead + Unpin),
    reader: &mut LineReader,
) -> Result<Option<(String, Behind)>, AskError> {
    loop {
        match reader.next_line() {
            NextLine::Complete(line, behind) => {
                return Ok(Some((String::from_utf8_lossy(line).into_owned(), behind)));
            }
            NextLine::TooLong(_) | NextLine::TlsHello => return Err(AskError::Garbled),
            NextLine::Incomplete => {}
        }
        let count = stream.read(reader.room()).await?;
        if count == 0 {
            return Ok(None);
        }
        reader.filled(count);
    }
}

/// Logs in, then asks and listens at the same time, so that neither side waits for the other to read.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    key: &str,
    domains: &[String],
    more: Option<impl AsyncBufRead + Unpin>,
    output: &mut impl io::Write,
) -> Result<Asked, AskError> {
    let (mut incoming, mut outgoing) = tokio::io::split(stream);
    let mut reader = LineReader::new();
    let login = Secret::new(format!("LOGIN {key}\r\n"));
    outgoing.write_all(login.expose().as_bytes()).await?;
    outgoing.flush().await?;
    let (said, _) = answer(&mut incoming, &mut reader).await?;
    if said != "100 Login ok" {
        return Err(AskError::Login(said));
    }
    let asked = Cell::new(0_u64);
    let said_goodbye = Cell::new(false);
    let mut answered = 0;
    let asking = async {
        send_questions(&mut outgoing, domains, more, &asked).await?;
        said_goodbye.set(true);
        // What is left to do is to listen until the server closes.
        std::future::pending::<Result<(), AskError>>().await
    };
    let listening = async {
        while let Some((reply, _)) = next_line(&mut incoming, &mut reader).await? {
            writeln!(output, "{reply}")?;
            output.flush()?;
            answered += 1;
        }
        Ok::<(), AskError>(())
    };
    tokio::select! {
        biased;
        ended = listening => ended?,
        ended = asking => ended?,
    }
    match asked.get() {
        asked if asked > answered => Err(AskError::Unanswered { asked, unanswered: asked - answered }),
        _ if !said_goodbye.get() => Err(AskError::Closed),
        names => Ok(Asked { names }),
    }
}

async fn send_questions(
    outgoing: &mut (impl AsyncWrite + Unpin),
    domains: &[String],
    more: Option<impl AsyncBufRead + Unpin>,
    asked: &Cell<u64>,
) -> Result<(), AskError> {
    let mut questions = String::new();
    for domain in domains {
        questions.push_str("IS ");
        questions.push_str(domain);
        questions.push_str("\r\n");
        asked.set(asked.get() + 1);
    }
    outgoing.write_all(questions.as_bytes()).await?;
    outgoing.flush().await?;
    if let Some(input) = more {
        let mut lines = input.lines();
        while let Some(line) = lines.next_line().await? {
            let domain = line.trim();
            if domain.is_empty() {
                continue;
            }
            if !can_be_asked(domain) {
                return Err(AskError::Name(domain.escape_debug().to_string()));
            }
            asked.set(asked.get() + 1);
            outgoing.write_all(format!("IS {domain}\r\n").as_bytes()).await?;
            outgoing.flush().await?;
        }
    }
    outgoing.write_all(b"QUIT\r\n").await?;
    outgoing.flush().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::{BufReader, Empty};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that says `script`'s answers, each when the client has sent the line before it; what it got.
    async fn scripted(
        script: &'static [(&'static str, &'static str)],
    ) -> (String, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for (expected, answer) in script {
                let mut got = vec![0; expected.len()];
                stream.read_exact(&mut got).await.unwrap();
                assert_eq!(String::from_utf8(got).unwrap(), *expected);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        (address, server)
    }

    fn options(address: &str, security: Security, domains: &[&str]) -> AskOptions {
        AskOptions {
            address: address.to_owned(),
            security,
            key: Secret::new("the-key\n".to_owned()),
            domains: domains.iter().map(ToString::to_string).collect(),
        }
    }

    async fn asked(options: &AskOptions, input: Option<&str>) -> (Result<Asked, AskError>, String) {
        let mut output = Vec::new();
        let more = input.map(|text| BufReader::new(text.as_bytes()));
        let result = ask(options, more, &mut output).await;
        (result, String::from_utf8(output).unwrap())
    }

    #[tokio::test]
    async fn names_of_the_arguments_and_of_the_input_are_asked_and_answered() {
        let (address, server) = scripted(&[
            ("LOGIN the-key\r\n", "100 Login ok\r\n"),
            (
                "IS a.com\r\nIS b.com\r\nIS c.com\r\nQUIT\r\n",
                "b.com error\r\na.com available\r\nc.com available\r\n",
            ),
        ])
        .await;
        let options = options(&address, Security::Plaintext, &["a.com", "b.com"]);
        let (result, output) = asked(&options, Some("\n c.com \n")).await;
        assert_eq!(result.unwrap(), Asked { names: 3 });
        assert_eq!(output, "b.com error\na.com available\nc.com available\n");
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a_refused_login_is_told_and_nothing_is_asked() {
        let (address, server) = scripted(&[("LOGIN the-key\r\n", "400 Login failed\r\n")]).await;
        let (result, output) = asked(&options(&address, Security::Plaintext, &["a.com"]), None).await;
        assert_eq!(result.unwrap_err().to_string(), "the login was refused: 400 Login failed");
        assert_eq!(output, "");
        server.await.unwrap();
    }

    #[tokio::test]
    async fn the_key_is_never_sent_to_a_server_that_does_not_upgrade() {
        let roots = Arc::new(RootCertStore::empty());
        for answer in [
            &[("STARTTLS\r\n", "400 Unknown command\r\n")],
            &[("STARTTLS\r\n", "")],
            &[("STARTTLS\r\n", "100 OK\r\n100 Login ok\r\n")],
            &[("STARTTLS\r\n", "100 ok\r\n")],
        ] {
            let (address, server) = scripted(answer).await;
            let options = options(&address, Security::StartTls(Arc::clone(&roots)), &["a.com"]);
            let (result, _) = asked(&options, None).await;
            assert!(matches!(result, Err(AskError::NoTls(_) | AskError::Garbled)), "{result:?}");
            server.await.unwrap();
        }
    }

    #[tokio::test]
    async fn names_without_a_reply_are_told() {
        let (address, server) = scripted(&[
            ("LOGIN the-key\r\n", "100 Login ok\r\n"),
            ("IS a.com\r\nIS b.com\r\nQUIT\r\n", "a.com available\r\n"),
        ])
        .await;
        let (result, _) = asked(&options(&address, Security::Plaintext, &["a.com", "b.com"]), None).await;
        assert!(matches!(result, Err(AskError::Unanswered { asked: 2, unanswered: 1 })), "{result:?}");
        server.await.unwrap();
    }

    #[tokio::test]
    async fn what_would_be_another_line_is_not_sent() {
        for (key, domain) in
            [("", "a.com"), ("two words", "a.com"), ("key", "a b"), ("key", "ä.com"), ("key", "")]
        {
            let mut options = options("127.0.0.1:1", Security::Plaintext, &[domain]);
            options.key = Secret::new(key.to_owned());
            let result = ask(&options, None::<Empty>.map(BufReader::new), &mut Vec::new()).await;
            assert!(matches!(result, Err(AskError::Key | AskError::Name(_))), "{key} {domain} {result:?}");
        }
    }

    #[test]
    fn addresses_have_a_host_and_perhaps_a_port() {
        for (address, host, port) in [
            ("localhost:8702", "localhost", 8702),
            ("is.example.net", "is.example.net", 2001),
            ("[::1]:8702", "::1", 8702),
            ("[::1]", "::1", 2001),
            ("::1", "::1", 2001),
            ("127.0.0.1:1", "127.0.0.1", 1),
        ] {
            assert_eq!(split_address(address).unwrap(), (host, port));
        }
        for address in ["", ":2001", "host:", "host:70000", "host:port"] {
            assert!(split_address(address).is_err(), "{address}");
        }
    }
}
