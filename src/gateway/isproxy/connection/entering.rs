//! How a connection gets in: its credentials are judged, and its TLS is begun.

use std::sync::Arc;

use tokio::time::{Duration, Instant, timeout};
use tokio_rustls::TlsAcceptor;

use super::Connection;
use crate::auth::{Attempt, Decision, LiveSession, Refusal};
use crate::gateway::isproxy::presented::{credential_of, verb_of};
use crate::gateway::isproxy::session::{Presented, Verdict};
use crate::gateway::isproxy::stream::{ClientStream, Duplex};
use crate::model::Service;

impl Connection<'_> {
    /// Has a credential judged; a `LOGIN` that succeeds is registered, so that it ends with its credential.
    pub(super) async fn authenticate(&mut self, presented: Presented) -> Option<LiveSession> {
        self.reader.wipe_taken();
        // What was refused before it stands before it in the log.
        self.tell_journal();
        let parts = self.door;
        let began = Instant::now();
        let (verb, credential) = (verb_of(&presented), credential_of(&presented));
        let attempt = Attempt { credential, service: Service::IsProxy, client_ip: self.client_ip };
        match parts.authenticator.authenticate(attempt).await {
            Decision::Allow(permit) => {
                self.journal.judged(parts, verb, Ok(&permit), began);
                let live = presented.one_shot.is_none().then(|| parts.authenticator.open_session(&permit));
                self.session.on_quotas(parts.authenticator.quotas_in_force(&permit));
                self.permit = Some(permit);
                self.session.on_decision(Verdict::Admitted, Instant::now());
                live
            }
            Decision::Deny(denial) => {
                self.journal.judged(parts, verb, Err(denial), began);
                let verdict = if denial.refusal == Refusal::Busy { Verdict::Busy } else { Verdict::Refused };
                self.session.on_decision(verdict, Instant::now());
                None
            }
        }
    }

    /// Writes down which credential was sent in clear, and refuses it.
    pub(super) fn refuse_exposed(&mut self, presented: &Presented) {
        self.reader.wipe_taken();
        self.tell_journal();
        let began = Instant::now();
        let denial = self.door.authenticator.refuse_exposed(&credential_of(presented));
        self.journal.judged(self.door, verb_of(presented), Err(denial), began);
        self.session.on_decision(Verdict::Refused, Instant::now());
    }

    /// The handshake, within its deadline. The reader is empty: the session ends what sends bytes behind `STARTTLS`.
    pub(super) async fn upgrade(&mut self, client: Duplex<ClientStream>) -> Option<Duplex<ClientStream>> {
        let parts = self.door;
        let ClientStream::Plain(stream) = client.into_inner() else { return None };
        let acceptor = TlsAcceptor::from(Arc::clone(parts.tls.as_ref()?));
        let within = Duration::from_secs(parts.limits.tls_handshake_seconds.into());
        match timeout(within, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => {
                self.reader.clear();
                self.session.on_tls_established(Instant::now());
                Some(Duplex::new(ClientStream::Tls(Box::new(stream))))
            }
            Ok(Err(error)) => {
                tracing::debug!(session = %self.journal.id(), %error, "a TLS handshake behind STARTTLS failed");
                None
            }
            Err(_) => None,
        }
    }
}
