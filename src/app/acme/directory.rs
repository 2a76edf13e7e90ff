//! The HTTP client by which an authority is asked.
//!
//! HTTP/1.1 over a connection of its own for each request, https alone, its certificate always verified; no redirects;
//! answers bounded in size and time. Beside `instant_acme`, which knows what to ask.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::time::timeout;

use crate::config::{AcmeSettings, UpstreamTls};
use crate::net::upstream::{ConnectError, Target};
use crate::net::{TlsError, client_config};

/// How long a connection, and a whole exchange, may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The largest answer: a chain is some thousands of bytes.
const ANSWER_MAX_BYTES: usize = 256 * 1024;
const HTTPS_PORT: u16 = 443;

/// Asks authorities that `ca`, or the system, vouches for.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    tls: Arc<ClientConfig>,
}

/// Why an authority gave no answer.
#[derive(Debug, thiserror::Error)]
enum ExchangeError {
    #[error("the authority's URL is no https URL with a host")]
    Url,
    #[error("the authority cannot be reached: {0}")]
    Unreachable(#[from] ConnectError),
    #[error("the authority broke off: {0}")]
    Broke(#[from] hyper::Error),
    #[error("the authority's answer is broken or larger than {ANSWER_MAX_BYTES} bytes")]
    Answer,
    #[error("the authority did not answer in time")]
    TooLate,
}

impl Directory {
    /// What `settings` trust.
    ///
    /// # Errors
    /// The authorities that vouch for it cannot be read.
    pub(super) fn new(settings: &AcmeSettings) -> Result<Self, TlsError> {
        let trusted = UpstreamTls { ca: settings.ca.clone(), client: None, server_name: None };
        Ok(Self { tls: client_config(&trusted, &[b"http/1.1"])? })
    }

    async fn exchange(self, request: Request<BodyWrapper<Bytes>>) -> Result<Response<Bytes>, ExchangeError> {
        let (target, request) = self.aimed(request)?;
        let stream = target.connect(CONNECT_WITHIN).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let answer = async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body =
                Limited::new(body, ANSWER_MAX_BYTES).collect().await.map_err(|_| ExchangeError::Answer)?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        let (mut answer, mut connection) = (pin!(answer), pin!(connection));
        tokio::select! {
            answer = &mut answer => answer,
            // Then the answer is there, or will never be.
            _ = &mut connection => answer.await,
        }
    }

    /// Where `request` goes, and how it reads there (RFC 9112 §3.2.1).
    fn aimed(
        &self,
        mut request: Request<BodyWrapper<Bytes>>,
    ) -> Result<(Target, Request<BodyWrapper<Bytes>>), ExchangeError> {
        let uri = request.uri();
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("https"));
        let authority = authority.ok_or(ExchangeError::Url)?.clone();
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| ExchangeError::Url)?;
        let port = authority.port_u16().unwrap_or(HTTPS_PORT);
        let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let path: Uri = path.parse().map_err(|_| ExchangeError::Url)?;
        let named = HeaderValue::from_str(authority.as_str()).map_err(|_| ExchangeError::Url)?;
        *request.uri_mut() = path;
        request.headers_mut().insert(HOST, named);
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        let label = format!("https://{authority}");
        Ok((Target::new(&host, port, label, Some((&self.tls, name))), request))
    }
}

impl HttpClient for Directory {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let exchange = self.clone().exchange(request);
        Box::pin(async move {
            let answer = timeout(ANSWER_WITHIN, exchange).await.unwrap_or(Err(ExchangeError::TooLate));
            let (parts, body) = answer.map_err(|error| Error::Other(Box::new(error)))?.into_parts();
            Ok(BytesResponse { parts, body: Box::new(body) })
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::AcmeChallenge;
    use crate::net::shake_hands;
    use crate::net::tls_testing::{Folder, server_config_of};

    fn directory(ca: std::path::PathBuf) -> Directory {
        let settings = AcmeSettings {
            directory: String::from("https://localhost/dir"),
            contact: Vec::new(),
            challenge: AcmeChallenge::TlsAlpn01,
            cache: std::path::PathBuf::from("acme"),
            ca: Some(ca),
            external_account: None,
        };
        Directory::new(&settings).unwrap()
    }

    fn get(url: &str) -> Request<BodyWrapper<Bytes>> {
        Request::get(url).body(BodyWrapper::default()).unwrap()
    }

    /// Asks a server of one connection that answers with `answer`; what it was asked, and what came of it.
    async fn ask(answer: Vec<u8>) -> (String, Result<Bytes, String>) {
        let folder = Folder::new();
        let files = folder.pair("ca", &["localhost"]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/dir?x=1", listener.local_addr().unwrap().port());
        let serving = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = shake_hands(server_config_of(&files, &[]).unwrap(), stream).await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut asked).await.unwrap(), 0);
            }
            // A client that has seen enough may be gone.
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
            String::from_utf8(asked).unwrap()
        };
        let client = directory(files.certificate.clone());
        let asking = async {
            match client.request(get(&url)).await {
                Ok(mut answer) => answer.body.into_bytes().await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            }
        };
        tokio::join!(serving, asking)
    }

    #[tokio::test]
    async fn an_answer_is_read_whole() {
        let (asked, answer) = ask(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_vec()).await;
        assert!(asked.starts_with("GET /dir?x=1 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.to_lowercase().contains("host: localhost:"), "{asked}");
        assert_eq!(answer.unwrap(), "{}");
    }

    #[tokio::test]
    async fn an_endless_answer_is_given_up() {
        let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        endless.resize(ANSWER_MAX_BYTES + 1_000, b'x');
        let (_, answer) = ask(endless).await;
        assert_eq!(answer.unwrap_err(), "the authority's answer is broken or larger than 262144 bytes");
    }

    #[tokio::test]
    async fn nobody_is_asked_in_clear_and_who_is_away_is_told() {
        let folder = Folder::new();
        let client = directory(folder.pair("ca", &["localhost"]).certificate);
        let asked = |url: String| {
            let asking = client.request(get(&url));
            async move { asking.await.err().unwrap().to_string() }
        };
        let told = asked(String::from("http://localhost/dir")).await;
        assert_eq!(told, "the authority's URL is no https URL with a host");
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let told = asked(format!("https://localhost:{}/dir", free.port())).await;
        assert!(told.starts_with("the authority cannot be reached: "), "{told}");
    }
}
