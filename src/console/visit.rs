//! One request for a page: who makes it, and what handlers need to answer it. Made by `guard`.

use std::sync::{Arc, OnceLock};

use axum::extract::FromRequestParts;
use bytes::Bytes;
use http::request::Parts;

use super::ConsoleState;
use super::failure::Failure;
use super::frame::{Frame, Notice, Place, Viewer};
use super::parts::Shown;
use super::unsent::Unsent;
use crate::auth::{
    Action, Asker, ConsoleAccess, ConsoleSession, ControlPlane, Forbidden, Via, Visitor, allow,
};
use crate::model::{ClientIp, Permission};

/// A request for a page.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    state: ConsoleState,
    visitor: Visitor,
    session: Option<Box<ConsoleSession>>,
    /// Path and query, as they were asked for.
    target: String,
    request_id: String,
    /// The form that was sent, once it was read and found to be of this session.
    form: Arc<OnceLock<Bytes>>,
}

/// A request of somebody who has a session, of whatever step the address demands.
#[derive(Clone, Debug)]
pub(super) struct Person {
    visit: Visit,
    session: Box<ConsoleSession>,
}

impl Visit {
    pub(super) fn new(
        state: ConsoleState,
        visitor: Visitor,
        session: Option<ConsoleSession>,
        (target, request_id): (String, String),
    ) -> Self {
        let session = session.map(Box::new);
        Self { state, visitor, session, target, request_id, form: Arc::default() }
    }

    /// The request is a form with this body.
    pub(super) fn sends(&self, body: &Bytes) {
        self.form.get_or_init(|| body.clone());
    }

    /// Keeps what was typed, for when the user has confirmed who it is.
    pub(super) fn keep_unsent(&self) {
        let unsent = self.form.get().and_then(|body| Unsent::of(&self.target, body));
        if let (Some(session), Some(unsent)) = (&self.session, unsent) {
            self.state.put_unsent(session.user.id, unsent);
        }
    }

    /// The number of the request, by which the log has it.
    pub(super) fn request_id(&self) -> &str {
        &self.request_id
    }

    pub(super) const fn state(&self) -> &ConsoleState {
        &self.state
    }

    /// What people come in by.
    pub(super) fn access(&self) -> &ConsoleAccess {
        self.state.access()
    }

    /// From where, and with what.
    pub(super) const fn visitor(&self) -> &Visitor {
        &self.visitor
    }

    pub(super) const fn client_ip(&self) -> ClientIp {
        self.visitor.client_ip
    }

    /// The session, whatever its step.
    pub(super) fn session(&self) -> Option<&ConsoleSession> {
        self.session.as_deref()
    }

    /// Path and query, as they were asked for.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    /// The frame of a page for whoever this is.
    pub(super) fn frame(&self, title: &str, place: Place) -> Frame {
        let Some(session) = self.session() else { return Frame::new(title, "") };
        let frame = Frame::new(title, self.access().form_proof(session).expose());
        frame.seen_by(viewer(session), place)
    }

    /// The frame of a page that shows no menu: before anybody is signed in.
    pub(super) fn bare_frame(&self, title: &str) -> Frame {
        let proof = self.session().map(|session| self.access().form_proof(session));
        Frame::new(title, proof.as_ref().map_or("", |proof| proof.expose()))
    }
}

impl Person {
    pub(super) fn session(&self) -> &ConsoleSession {
        &self.session
    }

    pub(super) fn state(&self) -> &ConsoleState {
        self.visit.state()
    }

    /// What people come in by.
    pub(super) fn access(&self) -> &ConsoleAccess {
        self.visit.access()
    }

    pub(super) const fn client_ip(&self) -> ClientIp {
        self.visit.client_ip()
    }

    /// The use cases, acting for this person.
    pub(super) fn plane(&self) -> ControlPlane {
        self.access().plane_in(&self.session)
    }

    /// May this person do `action`, once it has confirmed who it is? For what a page shows; the use cases judge anew.
    pub(super) fn may(&self, action: Action<'_>) -> bool {
        self.require(action).is_ok()
    }

    /// Why this person may not do `action`, for pages that are of no use without.
    pub(super) fn require(&self, action: Action<'_>) -> Result<(), Forbidden> {
        allow(Asker { user: &self.session.user, via: Via::FreshSession }, action)
    }

    /// Is the control for `action` on the page?
    pub(super) fn shows(&self, action: Action<'_>) -> Shown {
        if self.may(action) { Shown::Yes } else { Shown::No }
    }

    /// The frame of a page, with what is to be told at the next page.
    pub(super) fn frame(&self, title: &str, place: Place) -> Frame {
        let mut frame = self.visit.frame(title, place);
        frame.notices = self.state().take_notices(self.session.user.id);
        frame
    }

    /// The frame of a page that shows no menu: before the sign-in is done.
    pub(super) fn bare_frame(&self, title: &str) -> Frame {
        self.visit.bare_frame(title)
    }

    /// The frame without what is to be told, which waits for a page that is shown.
    pub(super) fn peek_frame(&self) -> Frame {
        self.visit.frame("", Place::Profile)
    }

    /// Tells this person something at the next page that is shown.
    pub(super) fn tell(&self, notice: Notice) {
        self.state().put_notice(self.session.user.id, notice);
    }
}

fn viewer(session: &ConsoleSession) -> Viewer {
    let user = &session.user;
    let holds = |permission| user.administrator || user.permissions.holds(permission);
    Viewer {
        customer: user.name.customer.to_string(),
        login: user.name.login.to_string(),
        full_name: user.full_name.clone(),
        may_see_users: holds(Permission::ManageUser) || holds(Permission::ManageIpWhitelist),
        may_see_activity: holds(Permission::ViewAudit),
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visit {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let visit = parts.extensions.get::<Self>().cloned();
        visit.ok_or_else(|| Failure::defect("an address that no guard stands before"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Person {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let visit = Visit::from_request_parts(parts, state).await?;
        let session = visit.session.clone();
        let session = session.ok_or_else(|| Failure::defect("an address that demands no session"))?;
        Ok(Self { visit, session })
    }
}
