//! What a handler fails with, and the page that says so.
//!
//! A handler returns it; `guard`, which knows whose page it is, makes the answer. What is ours to mend is logged here,
//! once, and shown as the request's number.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::frame::{Frame, Link, Place};
use super::page::{page_with, see_other, with_query};
use super::pages::error::ErrorPage;
use super::visit::Visit;
use crate::auth::{ControlError, EnrolmentFault, Forbidden};

/// Why a request came to nothing.
#[derive(Clone, Debug)]
pub(super) struct Failure(Arc<Cause>);

#[derive(Debug)]
enum Cause {
    /// A use case refused or failed.
    Control(ControlError),
    /// There is no such page.
    NotFound,
    /// A form that does not come from a page of this session, or is no form.
    Form,
    /// A one-time link that is good for nothing.
    LinkOver,
    /// Something that cannot be, or not any more.
    Conflict(String),
    /// A defect of ours.
    Defect(String),
}

impl Failure {
    /// There is no such page.
    pub(super) fn not_found() -> Self {
        Self(Arc::new(Cause::NotFound))
    }

    /// A form that is not one of this session's.
    pub(super) fn form() -> Self {
        Self(Arc::new(Cause::Form))
    }

    /// A one-time link that is good for nothing.
    pub(super) fn link_over() -> Self {
        Self(Arc::new(Cause::LinkOver))
    }

    /// What was asked for cannot be, as `text` says.
    pub(super) fn conflict(text: &impl ToString) -> Self {
        Self(Arc::new(Cause::Conflict(text.to_string())))
    }

    /// A defect of ours; the text is logged and not shown.
    pub(super) fn defect(text: &str) -> Self {
        Self(Arc::new(Cause::Defect(text.to_owned())))
    }

    /// The answer to whoever made the request.
    pub(super) fn answer(&self, visit: &Visit) -> Response {
        let frame = || visit.frame("", Place::Profile);
        let page = |page: ErrorPage| {
            let status = StatusCode::from_u16(page.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            page_with(status, &page)
        };
        match &*self.0 {
            Cause::Control(error) => of_control(error, visit),
            Cause::NotFound => page(ErrorPage::not_found(frame())),
            Cause::Form => page(ErrorPage::page_expired(frame(), back(visit))),
            Cause::LinkOver => page(ErrorPage::link_over(frame())),
            Cause::Conflict(text) => page(ErrorPage::conflict(frame(), text, back(visit))),
            Cause::Defect(text) => page(defect(text, visit)),
        }
    }
}

/// The answer to what a use case refused or failed with.
fn of_control(error: &ControlError, visit: &Visit) -> Response {
    let frame = || -> Frame { visit.frame("", Place::Profile) };
    let page = |page: ErrorPage| {
        let status = StatusCode::from_u16(page.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        page_with(status, &page)
    };
    let customer =
        || visit.session().map(|session| session.user.name.customer.to_string()).unwrap_or_default();
    match error {
        ControlError::Forbidden(Forbidden::StaleAuthentication) => {
            visit.keep_unsent();
            see_other(&with_query("/confirm", &[("next", visit.target())]))
        }
        ControlError::Forbidden(Forbidden::MfaSetUp) => see_other("/profile/mfa"),
        ControlError::Forbidden(Forbidden::SecondFactor) => see_other("/sign-in/verify"),
        ControlError::Forbidden(Forbidden::NewPassword) => see_other("/profile/password"),
        ControlError::Forbidden(Forbidden::Asker(_)) => see_other("/sign-in"),
        ControlError::Forbidden(Forbidden::Unknown)
        | ControlError::UnknownCustomer(_)
        | ControlError::UnknownUser(_)
        | ControlError::UnknownKey(_) => page(ErrorPage::not_found(frame())),
        ControlError::Forbidden(Forbidden::Permission(permission)) => {
            page(ErrorPage::forbidden(frame(), permission.as_str(), &customer()))
        }
        ControlError::Forbidden(forbidden) => page(ErrorPage::not_allowed(frame(), &forbidden.to_string())),
        ControlError::ChangedMeanwhile => page(ErrorPage::changed_meanwhile(frame(), "user", back(visit))),
        ControlError::Store(error) if error.is_unwritable() => page(ErrorPage::read_only(frame())),
        ControlError::Store(_)
        | ControlError::Copy(_)
        | ControlError::Backup(_)
        | ControlError::Restore(_)
        | ControlError::UntrustedBackup(_)
        | ControlError::Rotation(_)
        | ControlError::Hashing(_)
        | ControlError::Random(_)
        | ControlError::KeyRing(_)
        | ControlError::Seal(_)
        | ControlError::SetUp(_) => page(defect(&error.to_string(), visit)),
        told => page(ErrorPage::conflict(frame(), &told.to_string(), back(visit))),
    }
}

fn defect(text: &str, visit: &Visit) -> ErrorPage {
    let request = visit.request_id();
    tracing::error!(request_id = request, error = text, "a page of the console could not be made");
    ErrorPage::defect(visit.frame("", Place::Profile), request)
}

/// Back to the page that the form stood on.
fn back(visit: &Visit) -> Link {
    Link::new("Back to the page", visit.target())
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        Self(Arc::new(Cause::Control(error)))
    }
}

impl From<EnrolmentFault> for Failure {
    fn from(fault: EnrolmentFault) -> Self {
        match fault {
            EnrolmentFault::Control(error) => error.into(),
            EnrolmentFault::UnknownMethod => Self::not_found(),
            other => Self::conflict(&other),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut answer = StatusCode::INTERNAL_SERVER_ERROR.into_response();
        answer.extensions_mut().insert(self);
        answer
    }
}
