//! One door under attack: how it is reached, what opens it, and the list of what came of the attacks so far.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;

use super::finding::{Finding, Outcome};
use super::keys::Keys;
use super::origins::{Origin, Origins};
use super::wire::{Heard, Wire};
use crate::config::{Limits, PlaintextCredentials};

/// Where a door is, and what it demands.
#[derive(Debug)]
pub(super) struct Door {
    /// The listener's name.
    pub(super) name: String,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Trusts its certificate, and offers HTTP/1.1 where it is an API's; `None`: it has no TLS.
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// The same, offering HTTP/2.
    pub(super) tls_of_http2: Option<Arc<ClientConfig>>,
    /// Are credentials taken where there is no TLS?
    pub(super) in_clear: PlaintextCredentials,
    /// From where it is attacked.
    pub(super) origins: Origins,
    /// What opens it.
    pub(super) keys: Keys,
    /// What is in force there.
    pub(super) limits: Limits,
}

/// Told of each finding as it comes.
pub(super) type OnFinding<'a> = &'a dyn Fn(&Finding);

/// The findings of one door.
pub(super) struct Notebook<'a> {
    listener: &'a str,
    told: OnFinding<'a>,
    findings: RefCell<Vec<Finding>>,
}

impl Door {
    /// Why nobody is let in here; `None`: somebody may be.
    pub(super) fn lets_nobody_in(&self) -> Option<&'static str> {
        let refuses = self.tls.is_none() && self.in_clear == PlaintextCredentials::Refuse;
        refuses.then_some("no credential is taken here: there is no TLS, and plaintext_credentials is refuse")
    }

    /// A connection from `origin`, without TLS; `None`: it did not come about.
    pub(super) async fn connect(&self, origin: Origin) -> Option<Wire> {
        Wire::connect(self.address, origin).await.ok()
    }

    /// A connection from `origin` inside TLS by `config`, where there is some. `preamble` is sent before TLS.
    pub(super) async fn connect_secured(
        &self,
        origin: Origin,
        preamble: &[u8],
        config: Option<&Arc<ClientConfig>>,
    ) -> Option<Wire> {
        let mut wire = self.connect(origin).await?;
        if !preamble.is_empty() {
            wire.send(preamble).await;
        }
        match config {
            Some(config) => wire.into_tls(config).await.ok(),
            None => Some(wire),
        }
    }

    /// What `bytes` from `origin` are answered with.
    pub(super) async fn exchange(&self, origin: Origin, preamble: &[u8], bytes: &[u8]) -> Heard {
        match self.connect_secured(origin, preamble, self.tls.as_ref()).await {
            Some(wire) => say(wire, bytes).await,
            None => Heard::closed(),
        }
    }

    /// The same without TLS, whether or not the door wants it.
    pub(super) async fn exchange_in_clear(&self, origin: Origin, bytes: &[u8]) -> Heard {
        match self.connect(origin).await {
            Some(wire) => say(wire, bytes).await,
            None => Heard::closed(),
        }
    }
}

async fn say(mut wire: Wire, bytes: &[u8]) -> Heard {
    wire.send(bytes).await;
    wire.hear().await
}

impl<'a> Notebook<'a> {
    /// An empty one.
    pub(super) const fn new(listener: &'a str, told: OnFinding<'a>) -> Self {
        Self { listener, told, findings: RefCell::new(Vec::new()) }
    }

    /// Writes down what came of an attack.
    pub(super) fn note(&self, attack: impl Into<String>, outcome: Outcome) {
        let finding = Finding { listener: self.listener.to_owned(), attack: attack.into(), outcome };
        (self.told)(&finding);
        self.findings.borrow_mut().push(finding);
    }

    /// All of them.
    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.findings.into_inner()
    }
}
