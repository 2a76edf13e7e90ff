//! What is told about a session: metrics for every answer, log lines for logins, refusals and the session's end, and
//! spans for the session and its logins.
//!
//! No line per `IS`: a session may ask a million names. Names asked and credentials are never written.

use tokio::time::Instant;

use super::server::DoorParts;
use super::session::EndReason;
use super::tally::{CommandFault, Tally};
use crate::auth::{Denial, DenialReason, Permit};
use crate::model::{AccessPoint, ClientIp, Recognised, Timestamp};
use crate::telemetry::{AccessRecord, RefusalDetails, RequestId, SessionFacts, Trace, Tracer};

/// The journal of one session.
#[derive(Debug)]
pub struct Journal {
    id: RequestId,
    client_ip: ClientIp,
    /// Who holds the other end: the client, or the balancer that told of it.
    peer: ClientIp,
    began_at: Timestamp,
    began: Instant,
    written_bytes: u64,
    facts: SessionFacts,
    /// `None`: no traces are made.
    trace: Option<Trace>,
}

/// One line of the access log, as far as it differs from the others of the session.
struct Line<'a> {
    at: Timestamp,
    verb: &'a str,
    status: u16,
    reason: Option<&'static str>,
    permit: Option<&'a Permit>,
    took: std::time::Duration,
    bytes: u64,
}

impl Journal {
    /// Begins with the connection of `peer`, which is the client or told of it.
    pub fn begin(door: &DoorParts, client_ip: ClientIp, peer: ClientIp) -> Self {
        door.metrics.connection_opened();
        Self {
            id: door.request_ids.next_id(),
            client_ip,
            peer,
            began_at: door.clock.now(),
            began: Instant::now(),
            written_bytes: 0,
            facts: SessionFacts::default(),
            // The protocol has no place where a client could tell of a trace.
            trace: door.tracer.as_ref().map(|tracer| tracer.begin(None)),
        }
    }

    /// The session's name in the logs.
    pub const fn id(&self) -> RequestId {
        self.id
    }

    /// So many bytes reached the client.
    pub const fn wrote(&mut self, count: usize) {
        self.written_bytes = self.written_bytes.saturating_add(count as u64);
    }

    /// A credential was judged, from `began` on; `verb` is `LOGIN`, or `IS` for the one-shot form.
    pub fn judged(&self, door: &DoorParts, verb: &str, judged: Result<&Permit, Denial>, began: Instant) {
        let reason = judged.err().map(|denial| denial.reason.as_str());
        if let Some(reason) = reason {
            door.metrics.denied(reason);
        }
        let took = began.elapsed();
        door.metrics.decided(took);
        let line = Line {
            at: door.clock.now(),
            verb,
            status: if judged.is_ok() { 100 } else { 400 },
            reason,
            permit: judged.ok(),
            took,
            bytes: 0,
        };
        match judged {
            Ok(_) => door.access_log.write_allowed(&self.record(door, &line)),
            Err(denial) => self.write_refusal(door, &line, denial.recognised),
        }
        if let Some((tracer, trace)) = self.traced(door) {
            tracer.credential_judged(trace, &self.record(door, &line));
        }
    }

    /// What the session answered since the last call. `session` is the permit of its login, `asking` that of whoever asked
    /// last, by a login or in the one-shot form.
    pub fn answered(
        &mut self,
        door: &DoorParts,
        tally: &Tally,
        session: Option<&Permit>,
        asking: Option<&Permit>,
    ) {
        self.facts.asked += u64::from(tally.asked);
        self.facts.refused += u64::from(tally.refused);
        door.metrics.answered_times(100, tally.succeeded);
        door.metrics.answered_times(400, tally.refused);
        for (waited, requests) in tally.waits.each() {
            door.upstream.count_times(waited, requests);
        }
        for refused in &tally.refusals {
            let permit = match refused.fault {
                CommandFault::Denied(DenialReason::QuotaExhausted(_)) => asking,
                CommandFault::Denied(_) | CommandFault::Malformed(_) => session,
            };
            let line = Line {
                at: door.clock.now(),
                verb: refused.verb,
                status: 400,
                reason: Some(refused.fault.as_str()),
                permit,
                took: std::time::Duration::ZERO,
                bytes: 0,
            };
            match refused.fault {
                CommandFault::Denied(reason) => {
                    door.metrics.denied(reason.as_str());
                    self.write_refusal(door, &line, permit.map(Permit::recognised));
                }
                // The client was told what is wrong with its line.
                CommandFault::Malformed(_) => self.write(door, &line),
            }
        }
    }

    /// The session's own line: status 100 if it ever logged in, the reason of its end, its whole time and bytes.
    pub fn end(self, door: &DoorParts, reason: EndReason, permit: Option<&Permit>) {
        let line = Line {
            at: self.began_at,
            verb: "SESSION",
            status: if permit.is_some() { 100 } else { 0 },
            reason: Some(reason.as_str()),
            permit,
            took: self.began.elapsed(),
            bytes: self.written_bytes,
        };
        if reason.is_unexplained() {
            // Told apart from a session that was never let in by its status, 100.
            self.write_refusal(door, &line, permit.map(Permit::recognised));
        } else if permit.is_some() && reason.is_ordinary() {
            door.access_log.write_allowed(&self.record(door, &line));
        } else {
            self.write(door, &line);
        }
        if let Some((tracer, trace)) = self.traced(door) {
            tracer.session_ended(trace, &self.record(door, &line), self.facts);
        }
        door.metrics.connection_closed();
    }

    /// Who makes traces, and that of this session; a session stays with the door that it began at.
    fn traced<'a>(&'a self, door: &'a DoorParts) -> Option<(&'a Tracer, &'a Trace)> {
        door.tracer.as_ref().zip(self.trace.as_ref())
    }

    fn write(&self, door: &DoorParts, line: &Line<'_>) {
        door.access_log.write(&self.record(door, line));
    }

    /// Writes a line, and hands it on for `explain`.
    fn write_refusal(&self, door: &DoorParts, line: &Line<'_>, recognised: Option<Recognised>) {
        let record = self.record(door, line);
        door.access_log.write(&record);
        let via = Some(self.peer).filter(|peer| *peer != self.client_ip);
        door.refusals.record(&record, RefusalDetails { via, recognised });
    }

    fn record<'a>(&self, door: &'a DoorParts, line: &Line<'a>) -> AccessRecord<'a> {
        let permit = line.permit;
        AccessRecord {
            at: line.at,
            service: AccessPoint::IsProxy,
            listener: &door.listener_name,
            request_id: self.id,
            client_ip: self.client_ip,
            method: line.verb,
            target: "",
            status: line.status,
            reason: line.reason,
            customer: permit.map(Permit::customer),
            user: permit.map(Permit::login),
            key_id: permit.and_then(Permit::key_id),
            auth_method: permit.map(|permit| permit.method().as_str()),
            upstream: permit.map(|_| door.listener.upstream.as_str()),
            duration_microseconds: u64::try_from(line.took.as_micros()).unwrap_or(u64::MAX),
            response_bytes: line.bytes,
            trace_id: self.trace.as_ref().map(Trace::id),
        }
    }
}
