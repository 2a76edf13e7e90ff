//! `/account/users/{login}`: how a user gets in, what that depends on, and what the viewer can do about it.

use axum::Router;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::get;

use super::super::ConsoleState;
use super::super::chart::{Bucket, Chart};
use super::super::failure::Failure;
use super::super::frame::{Moment, Place};
use super::super::page::{page, with_query};
use super::super::pages::user::{
    AccessAnswer, AccessLine, AllowListCard, KeysCard, MfaCard, MfaOffer, PermissionsCard, RecentCard,
    RecentLine, UserActions, UserPage,
};
use super::super::pages::user_form::permission_effect;
use super::super::parts::LastUse;
use super::super::visit::Person;
use super::account_user::{called, find, is_own, methods_text, path, required_by, standing, state};
use super::networks::shown;
use crate::auth::{
    AccessCell, AccessTable, Action, ActivityRow, ControlError, DenialReason, KeysEvidence, ListChange,
    MfaOverview, Obstacle, Usage, UserRecord,
};
use crate::model::{AccessPoint, MethodKind, Permission};

/// Lines of recent activity.
const RECENT_LINES: u32 = 5;
/// Hours of the chart.
const CHART_HOURS: usize = 24;

pub(super) fn routes() -> Router<ConsoleState> {
    Router::new().route("/account/users/{login}", get(show))
}

async fn show(person: Person, Path(login): Path<String>) -> Result<Response, Failure> {
    let plane = person.plane();
    let user = find(&person, &login).await?;
    let read = async { Ok::<_, Failure>((plane.presence_of(&user).await?, plane.access(&user.name).await?)) };
    let figures =
        async { Ok((plane.mfa_overview(&user.name).await?, plane.usage_of_user(&user.name).await?)) };
    let ((presence, access), (mfa, usage), keys, recent) =
        tokio::try_join!(read, figures, keys(&person, &user), recent(&person, &user))?;
    let actions = actions(&person, &user, keys.count);
    let form_token = match actions.new_link {
        Some(_) => person.access().draw_form_token()?.expose().clone(),
        None => String::new(),
    };
    Ok(page(&UserPage {
        frame: person.frame(called(&user), Place::Users),
        login: user.name.login.to_string(),
        email: user.email.clone(),
        state: state(&user, presence),
        last_seen: presence.last_seen.map(Moment::from),
        actions,
        form_token,
        access: access_lines(&person, &user, access),
        keys,
        mfa: mfa_card(&person, &user, &mfa),
        allow_list: AllowListCard {
            networks: user.allow_list.networks().iter().map(shown).collect(),
            of_customer: user.customer_allow_list.networks().len(),
            link: person
                .may(Action::SetAllowList(&user, ListChange::Widens))
                .then(|| path(&user, "ip-whitelist")),
        },
        permissions: permissions_card(&user),
        usage: Some(chart(&usage)),
        recent,
    }))
}

fn actions(person: &Person, user: &UserRecord, keys: usize) -> UserActions {
    let below = |is_there: bool, name: &str| is_there.then(|| path(user, name));
    let edits = [
        Action::EditProfile(user),
        Action::EditAccess(user),
        Action::SetRights(user),
        Action::RequireMfa(user),
        Action::SetAllowList(user, ListChange::Widens),
    ];
    let activates = person.may(Action::SetActivation(user));
    // A link opens the console's page, so that it is of use to whoever may come there.
    let takes_links = user.active && user.access_points.holds(AccessPoint::Console);
    let allows_password = user.password_off_by_key && keys == 0;
    UserActions {
        edit: below(edits.into_iter().any(|action| person.may(action)), "edit"),
        deactivate: below(activates && user.active, "deactivate"),
        reactivate: below(activates && !user.active, "reactivate"),
        delete: below(person.may(Action::DeleteUser(user)), "delete"),
        new_link: below(takes_links && !is_own(person, user) && person.may(Action::IssueLink(user)), "link"),
        allow_password: below(allows_password && person.may(Action::AllowPassword(user)), "allow-password"),
    }
}

/// The page of the user's keys, where the viewer may open it.
fn keys_link(person: &Person, user: &UserRecord) -> Option<String> {
    let own = || String::from("/profile/api-keys");
    let link = || if is_own(person, user) { own() } else { path(user, "api-keys") };
    person.may(Action::ViewKeys(user)).then(link)
}

/// The page of the user's MFA, where the viewer may open it.
fn mfa_link(person: &Person, user: &UserRecord) -> Option<String> {
    if is_own(person, user) {
        return Some(String::from("/profile/mfa"));
    }
    person.may(Action::RequireMfa(user)).then(|| path(user, "mfa"))
}

async fn keys(person: &Person, user: &UserRecord) -> Result<KeysCard, Failure> {
    let link = keys_link(person, user);
    if link.is_some() {
        let keys = person.plane().list_keys(Some(&user.name)).await?;
        let last = keys.iter().filter_map(|key| key.last_use.as_ref()).max_by_key(|used| used.at);
        return Ok(KeysCard {
            count: keys.len(),
            newest: keys.iter().map(|key| key.key.created_at).max().map(Moment::from),
            last_use: last.map(|used| LastUse { at: Moment::from(used.at), address: used.address.clone() }),
            link,
        });
    }
    let (count, last_used_at) = match person.plane().evidence_for(&user.name).await?.keys {
        KeysEvidence::Each(keys) => (keys.len(), None),
        KeysEvidence::Together { count, last_used_at } => (count, last_used_at),
    };
    let last_use = last_used_at.map(|at| LastUse { at: Moment::from(at), address: String::new() });
    Ok(KeysCard { count, newest: None, last_use, link })
}

fn mfa_card(person: &Person, user: &UserRecord, mfa: &MfaOverview) -> MfaCard {
    let methods = || methods_text(mfa.count(MethodKind::App), mfa.count(MethodKind::SecurityKey));
    let offer = match mfa_link(person, user) {
        Some(_) if is_own(person, user) && !user.mfa_active => MfaOffer::SetUpOwn,
        Some(link) => MfaOffer::Manage(link),
        None => MfaOffer::Nothing,
    };
    MfaCard { standing: standing(user, methods), required_by: required_by(user), offer }
}

fn permissions_card(user: &UserRecord) -> PermissionsCard {
    let held = Permission::ALL.into_iter().filter(|permission| user.permissions.holds(*permission));
    PermissionsCard {
        administrator: user.administrator,
        permissions: held.map(|permission| (permission.as_str(), permission_effect(permission))).collect(),
    }
}

fn access_lines(person: &Person, user: &UserRecord, table: AccessTable) -> Vec<AccessLine> {
    let answer = |cell: AccessCell| match cell {
        AccessCell::In(note) => AccessAnswer::Yes(note),
        AccessCell::Out(obstacle) => AccessAnswer::No {
            reason: obstacle.explanation().to_owned(),
            setting: setting(person, user, obstacle),
        },
    };
    vec![
        AccessLine {
            entrance: "Console",
            password: answer(table.console_password),
            key: AccessAnswer::NoSuchWay,
        },
        AccessLine { entrance: "API", password: answer(table.api_password), key: answer(table.api_key) },
        AccessLine {
            entrance: "IsProxy",
            password: answer(table.isproxy_password),
            key: answer(table.isproxy_key),
        },
    ]
}

/// Where what keeps a credential out is set, if the viewer may open that.
fn setting(person: &Person, user: &UserRecord, obstacle: Obstacle) -> Option<String> {
    use DenialReason as Reason;
    let below = |action, name| person.may(action).then(|| path(user, name));
    match obstacle {
        Obstacle::KeyExists
        | Obstacle::NoKey
        | Obstacle::NoKeyFor(_)
        | Obstacle::Rule(Reason::KeyDisabled | Reason::KeyExpired | Reason::ScopeMissing) => {
            keys_link(person, user)
        }
        Obstacle::KeyExisted => below(Action::AllowPassword(user), "allow-password"),
        Obstacle::SetUpPageOnly
        | Obstacle::Rule(Reason::PasswordOffByMfa | Reason::PasswordOffByRequiredMfa | Reason::MfaNotSetUp) => {
            mfa_link(person, user)
        }
        Obstacle::Rule(Reason::UserInactive) => below(Action::SetActivation(user), "reactivate"),
        Obstacle::Rule(Reason::AccessPointOff) => below(Action::EditAccess(user), "edit#part-access"),
        Obstacle::NoPassword | Obstacle::NewPassword | Obstacle::Link | Obstacle::Rule(_) => None,
    }
}

fn chart(usage: &Usage) -> Chart {
    let skipped = usage.hours.len().saturating_sub(CHART_HOURS);
    let bucket = |hour: &crate::auth::Period| Bucket {
        // `2026-11-28T11:00:00Z`
        label: hour.starts_at.to_string().get(11..16).unwrap_or_default().to_owned(),
        requests: hour.figures.requests,
        refusals: hour.figures.refusals,
    };
    let buckets = usage.hours.iter().skip(skipped).map(bucket).collect();
    Chart::new("usage", "Requests in the last 24 hours, UTC", "Hour", buckets)
}

/// Nothing where the viewer may not see it.
async fn recent(person: &Person, user: &UserRecord) -> Result<Option<RecentCard>, Failure> {
    let rows = match person.plane().recent_activity_of(&user.name, RECENT_LINES).await {
        Ok(rows) => rows,
        Err(ControlError::Forbidden(_)) => return Ok(None),
        Err(other) => return Err(other.into()),
    };
    let own_customer = format!("{}/", user.name.customer);
    let told = |row: ActivityRow| {
        let actor = row.actor.strip_prefix(&own_customer).unwrap_or(&row.actor);
        RecentLine { at: Moment::from(row.at), text: format!("{actor} {}", row.sentence) }
    };
    let link = person
        .may(Action::ViewActivity(user.customer))
        .then(|| with_query("/account/activity", &[("user", user.name.login.as_str())]));
    Ok(Some(RecentCard { lines: rows.into_iter().map(told).collect(), link }))
}
