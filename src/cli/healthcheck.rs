//! `latchkey healthcheck`: asks the ops listener of a running gateway, once, for containers and scripts.
//!
//! Speaks plain HTTP only, follows no redirection and uses no proxy. A broken configuration is no sick gateway: it may
//! have been edited under one that runs well, so it never decides the answer by itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use clap::Args;
use http::header::{CONNECTION, HOST};
use http::uri::Authority;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::operator::ConfigArgument;
use super::{UsageError, output};
use crate::config::{Config, ListenerProtocol};

/// From the start to the end of the answer.
const DEADLINE: Duration = Duration::from_secs(3);
/// Asked where no configuration says otherwise.
const DEFAULT_ADDRESS: &str = "127.0.0.1:9100";
/// More than `/readyz` ever answers, in bytes.
const ANSWER_MAX_BYTES: usize = 4_096;

/// Ask a running gateway whether it is ready; exit code 0: yes (also degraded), 1: no
///
/// Asks GET /readyz at --ops, else at the ops listener of the configuration, else at 127.0.0.1:9100, and waits 3
/// seconds at most.
#[derive(Args, Debug)]
#[command(after_help = "Example: latchkey healthcheck --ops http://127.0.0.1:9100")]
pub(super) struct HealthcheckArguments {
    /// The ops listener: plain HTTP, a host and a port
    #[arg(long, value_name = "URL")]
    ops: Option<OpsUrl>,
    #[command(flatten)]
    config: ConfigArgument,
}

/// Where an ops listener is: `http://HOST[:PORT]` and nothing behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OpsUrl(Authority);

impl std::str::FromStr for OpsUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no address of an ops listener; write http://127.0.0.1:9100");
        let parts = text.parse::<Uri>().map_err(|_| wrong())?.into_parts();
        let is_bare = parts.path_and_query.as_ref().is_none_or(|path| path == "/");
        match (parts.scheme, parts.authority) {
            (Some(scheme), Some(authority))
                if scheme == http::uri::Scheme::HTTP && is_bare && !authority.as_str().contains('@') =>
            {
                Ok(Self(authority))
            }
            _ => Err(wrong()),
        }
    }
}

pub(super) fn run(arguments: &HealthcheckArguments) -> Result<()> {
    let (address, aside) = match &arguments.ops {
        Some(OpsUrl(authority)) => (authority.clone(), None),
        None => configured(&arguments.config)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async { tokio::time::timeout(DEADLINE, ask(&address)).await });
    // A name that is still being looked up would hold the process.
    runtime.shutdown_background();
    let aside = aside.unwrap_or_default();
    let state = answer
        .unwrap_or_else(|_| Err(anyhow!("no answer within {} s", DEADLINE.as_secs())))
        .with_context(|| format!("http://{address}/readyz{aside}"))?;
    output::note(&format!("http://{address}/readyz: {state}"));
    Ok(())
}

/// The address that the configuration names, or the usual one; with it, what to say where the configuration is of no use.
fn configured(config: &ConfigArgument) -> Result<(Authority, Option<String>)> {
    let usual = Authority::from_static(DEFAULT_ADDRESS);
    let Ok(path) = config.path() else { return Ok((usual, None)) };
    if let Ok(config) = config.load() {
        return Ok((address_of(&config)?, None));
    }
    let aside = format!(" (the usual address: {} has faults, see `latchkey check`)", path.display());
    Ok((usual, Some(aside)))
}

fn address_of(config: &Config) -> Result<Authority> {
    let ops = config.listeners.iter().find(|listener| matches!(listener.protocol, ListenerProtocol::Ops));
    let wrong = |what: &str| UsageError(format!("{what}; give --ops http://HOST:PORT"));
    let ops = ops.ok_or_else(|| wrong("the configuration has no listener of protocol ops"))?;
    if ops.address.port() == 0 {
        return Err(wrong(&format!("the port of listener `{}` is chosen at each start", ops.name)).into());
    }
    Ok(reachable(ops.address).to_string().parse()?)
}

/// A listener on every address is asked on this machine's own.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// What the gateway says of itself; an error where that is anything but `ready` or `degraded: …`.
async fn ask(address: &Authority) -> Result<String> {
    let host = address.host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, address.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the sender; whatever goes wrong on it, the answer tells too.
    tokio::spawn(connection);
    let request = Request::get("/readyz")
        .header(HOST, address.as_str())
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, ANSWER_MAX_BYTES).collect().await;
    let body = body.map_err(|error| anyhow!("the answer cannot be read: {error}"))?.to_bytes();
    let text = String::from_utf8_lossy(&body);
    // Somebody else's server may answer: nothing of it may disturb a terminal.
    let line: String = text.lines().next().unwrap_or_default().escape_debug().to_string();
    if head.status != StatusCode::OK {
        bail!("not ready: {} {line}", head.status.as_u16());
    }
    if line != "ready" && !line.starts_with("degraded") {
        bail!("this is not Latchkey's ops listener: it answers neither `ready` nor `degraded`");
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn an_ops_address_is_plain_http_and_nothing_behind_it() {
        for (text, address) in [
            ("http://127.0.0.1:9100", "127.0.0.1:9100"),
            ("http://[::1]:9100/", "[::1]:9100"),
            ("http://gateway", "gateway"),
        ] {
            assert_eq!(text.parse::<OpsUrl>().unwrap().0.as_str(), address);
        }
        for text in [
            "",
            "127.0.0.1:9100",
            "https://127.0.0.1:9100",
            "http://127.0.0.1:9100/readyz",
            "http://user:secret@127.0.0.1:9100",
            "http://",
            "http://127.0.0.1:9100?x",
        ] {
            assert!(text.parse::<OpsUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_listener_on_every_address_is_asked_on_this_machine() {
        for (listens, asked) in [
            ("0.0.0.0:9100", "127.0.0.1:9100"),
            ("[::]:9100", "[::1]:9100"),
            ("192.0.2.7:9100", "192.0.2.7:9100"),
        ] {
            assert_eq!(reachable(listens.parse().unwrap()).to_string(), asked);
        }
    }

    /// Asks a server that answers with `answer`, whatever it is asked.
    async fn asked_of(answer: String) -> Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            let read = stream.read(&mut head).await.unwrap();
            // Whoever asked may have had enough of it.
            let _ = stream.write_all(answer.as_bytes()).await;
            String::from_utf8_lossy(&head[..read]).into_owned()
        });
        let answer = ask(&address).await;
        let head = serving.await.unwrap();
        assert!(head.starts_with("GET /readyz HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("host: {address}\r\n")), "{head}");
        answer
    }

    fn http(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn ready_and_degraded_are_good_and_all_else_is_bad() {
        assert_eq!(asked_of(http("200 OK", "ready\n")).await.unwrap(), "ready");
        assert_eq!(
            asked_of(http("200 OK", "degraded: the store is away\nmore\n")).await.unwrap(),
            "degraded: the store is away"
        );
        for (answer, told) in [
            (http("503 Service Unavailable", "draining\n"), "not ready: 503 draining"),
            (http("302 Found", ""), "not ready: 302"),
            (http("200 OK", "<html>"), "not Latchkey's"),
            (http("200 OK", &"x".repeat(ANSWER_MAX_BYTES + 1)), "cannot be read"),
            (http("404 Not Found", "\u{1b}[2J"), "404 \\u{1b}[2J"),
            ("SSH-2.0-OpenSSH_9\r\n".to_owned(), "invalid HTTP version"),
            (String::new(), "connection closed"),
        ] {
            let error = format!("{:#}", asked_of(answer.clone()).await.unwrap_err());
            assert!(error.contains(told), "{answer}: {error}");
        }
    }
}
