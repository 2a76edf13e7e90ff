//! The Pingora peer of `benches/peers`: the same checks as Latchkey, as a user of Pingora would write them.
//!
//! One thread. A request is let through when its address is in the list of networks and its key is known; the upstream
//! gets the key's user in `X-Auth-User` and no `Authorization`. `benches/peers/candidates.py` starts it.

mod networks;

use std::collections::HashMap;
use std::error::Error as StdError;

use async_trait::async_trait;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::listeners::tls::TlsSettings;
use pingora::prelude::{HttpPeer, Result, Server};
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::configuration::ServerConf;

use networks::Networks;

const USAGE: &str =
    "usage: pingora-peer KEYS NETWORKS UPSTREAM HTTP_ADDRESS TLS_ADDRESS CERTIFICATE PRIVATE_KEY";

/// What decides about a request, and where it goes.
struct Gateway {
    users_by_key: HashMap<String, String>,
    networks: Networks,
    upstream: String,
}

/// Whose request it is, once its key was found.
#[derive(Default)]
struct Caller {
    user: Option<String>,
}

impl Gateway {
    fn user_of(&self, session: &Session) -> Option<&String> {
        let value = session.req_header().headers.get("authorization")?.to_str().ok()?;
        self.users_by_key.get(value.strip_prefix("ApiKey ")?)
    }

    fn is_from_allowed_network(&self, session: &Session) -> bool {
        let address = session.client_addr().and_then(|address| address.as_inet());
        address.is_some_and(|address| self.networks.contains(address.ip()))
    }
}

/// Answers without a body and keeps the connection: Pingora's own error answers close it, which no other peer does.
async fn refuse(session: &mut Session, status: u16) -> Result<bool> {
    let mut answer = ResponseHeader::build(status, Some(1))?;
    answer.set_content_length(0)?;
    session.write_response_header(Box::new(answer), false).await?;
    session.write_response_body(None, true).await?;
    Ok(true)
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Caller;

    fn new_ctx(&self) -> Caller {
        Caller::default()
    }

    async fn request_filter(&self, session: &mut Session, caller: &mut Caller) -> Result<bool> {
        if !self.is_from_allowed_network(session) {
            return refuse(session, 403).await;
        }
        caller.user = self.user_of(session).cloned();
        if caller.user.is_none() {
            return refuse(session, 401).await;
        }
        Ok(false)
    }

    async fn upstream_peer(&self, _session: &mut Session, _caller: &mut Caller) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream.as_str(), false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        request: &mut RequestHeader,
        caller: &mut Caller,
    ) -> Result<()> {
        request.remove_header("authorization");
        if let Some(user) = caller.user.take() {
            request.insert_header("X-Auth-User", user)?;
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn StdError>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [keys, networks, upstream, http_address, tls_address, certificate, private_key] =
        arguments.as_slice()
    else {
        return Err(USAGE.into());
    };
    let gateway = Gateway {
        users_by_key: read_keys(keys)?,
        networks: Networks::parse(&std::fs::read_to_string(networks)?)?,
        upstream: upstream.clone(),
    };
    let settings = ServerConf {
        threads: 1,
        work_stealing: false,
        upstream_keepalive_pool_size: 256,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, settings);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, gateway);
    service.add_tcp(http_address);
    let mut tls = TlsSettings::intermediate(certificate, private_key)?;
    tls.enable_h2();
    service.add_tls_with_settings(tls_address, None, tls);
    server.add_service(service);
    server.run_forever()
}

/// A line `KEY USER` each.
fn read_keys(file: &str) -> Result<HashMap<String, String>, Box<dyn StdError>> {
    let text = std::fs::read_to_string(file)?;
    let pairs = text.lines().map(|line| {
        let (key, user) = line.split_once(' ').ok_or_else(|| format!("{file}: not `KEY USER`: {line}"))?;
        Ok((key.to_owned(), user.to_owned()))
    });
    pairs.collect()
}
