//! Who gets in with what: the table of PROTOCOL section 3 as one pure function.
//!
//! No I/O, no clock, no look-up: the doors, `key test` and `user access` all hand it the same facts and get the same
//! verdict. Whether a password or a key is *right* is decided before; this decides whether a right one is let in.

use std::ops::ControlFlow;

use super::decision::{DenialReason, Refusal};
use crate::config::Policy;
use crate::model::{
    AccessPoint, AccessPoints, AllowList, ClientIp, MfaState, Service, ServiceScope, Timestamp,
};

/// Where somebody wants in, and with what: one variant per column of the table.
#[derive(Clone, Copy, Debug)]
pub enum Entrance<'a> {
    /// `Basic` at the API, and what opens a new API session.
    ApiPassword,
    /// A request with an API session that is open.
    ApiSession,
    /// `LOGIN <customer/user> <password>`.
    IsProxyPassword,
    /// An API key at a door.
    Key(Service, &'a KeyFacts<'a>),
    /// The password at the console's sign-in page.
    Console,
    /// `/api/v1` with a console session.
    ManagementSession,
    /// `/api/v1` with a key of scope `manage`.
    ManagementKey(&'a KeyFacts<'a>),
}

/// What the rules need to know of a user and the customer.
#[derive(Clone, Copy, Debug)]
pub struct UserFacts<'a> {
    /// `false` once deactivated.
    pub active: bool,
    /// The entrances open to the user.
    pub access_points: AccessPoints,
    /// Where the user stands with MFA.
    pub mfa: MfaState,
    /// The user has, or ever had, an API key (and an administrator did not allow the password again).
    pub password_off_by_key: bool,
    /// The customer's list.
    pub customer_list: &'a AllowList,
    /// The user's list.
    pub user_list: &'a AllowList,
}

/// What the rules need to know of a key.
#[derive(Clone, Copy, Debug)]
pub struct KeyFacts<'a> {
    /// `false` while disabled.
    pub enabled: bool,
    /// From this moment on it is refused.
    pub expires_at: Option<Timestamp>,
    /// What it opens.
    pub scope: ServiceScope,
    /// The key's own list.
    pub list: &'a AllowList,
}

/// Where and when: what changes from one request to the next.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// The client's address; `None` asks regardless of addresses, for tables.
    pub client_ip: Option<ClientIp>,
    /// The present moment.
    pub now: Timestamp,
}

/// The verdict on a right credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// In.
    Allowed,
    /// In, once a second factor is shown.
    AllowedWithFactor,
    /// To the MFA set-up page, and nowhere else.
    SetUpPageOnly,
    /// Out.
    Refused(DenialReason),
}

/// One rule, for those who tell people which one decided. Their order stands in `walk`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The key is not disabled.
    KeyEnabled,
    /// The key's time is not over.
    KeyNotExpired,
    /// The user is not deactivated.
    UserActive,
    /// Neither MFA nor a key has ended what passwords open.
    PasswordOn,
    /// The key opens this door.
    Scope,
    /// Who manages others has set MFA up where it is required.
    ManagementMfa,
    /// This entrance is open for the user.
    AccessPoint,
    /// The customer's list admits the address.
    CustomerList,
    /// The user's list does.
    UserList,
    /// The key's own list does.
    KeyList,
}

/// What one rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    /// It does not concern this entrance.
    NotAsked,
    /// Nothing against it.
    Kept,
    /// The caller stays out.
    Broken(DenialReason),
}

/// Judges a right credential (PROTOCOL section 3).
pub fn judge(entrance: Entrance<'_>, user: &UserFacts<'_>, at: Circumstances, policy: &Policy) -> Verdict {
    let walked = walk(entrance, user, at, policy, |_, finding| match finding {
        Finding::Broken(reason) => ControlFlow::Break(reason),
        Finding::NotAsked | Finding::Kept => ControlFlow::Continue(()),
    });
    match walked {
        ControlFlow::Break(reason) => Verdict::Refused(reason),
        ControlFlow::Continue(()) => match (entrance, user.mfa) {
            (Entrance::Console, MfaState::On) => Verdict::AllowedWithFactor,
            (Entrance::Console, MfaState::RequiredNotSetUp) => Verdict::SetUpPageOnly,
            _ => Verdict::Allowed,
        },
    }
}

/// Every rule that is asked at `entrance`, in the order of asking, with what it finds: what [`judge`] decides by, in
/// full, for people.
pub fn findings(
    entrance: Entrance<'_>,
    user: &UserFacts<'_>,
    at: Circumstances,
    policy: &Policy,
) -> Vec<(Rule, Option<DenialReason>)> {
    let mut asked = Vec::new();
    let _: ControlFlow<()> = walk(entrance, user, at, policy, |rule, finding| {
        match finding {
            Finding::NotAsked => {}
            Finding::Kept => asked.push((rule, None)),
            Finding::Broken(reason) => asked.push((rule, Some(reason))),
        }
        ControlFlow::Continue(())
    });
    asked
}

/// What the peer is told for `reason` (PROTOCOL section 3, point 6): a password learns nothing, a key that has proved
/// right learns that it is not allowed.
pub const fn refusal_for(entrance: Entrance<'_>, reason: DenialReason) -> Refusal {
    use DenialReason as Reason;
    match entrance {
        Entrance::ApiPassword | Entrance::IsProxyPassword | Entrance::Console => Refusal::Unauthenticated,
        Entrance::ApiSession
        | Entrance::Key(..)
        | Entrance::ManagementSession
        | Entrance::ManagementKey(_) => match reason {
            Reason::ScopeMissing
            | Reason::AccessPointOff
            | Reason::MfaNotSetUp
            | Reason::ManageKeyWithoutList
            | Reason::AddressOutsideListenerList
            | Reason::AddressOutsideCustomerList
            | Reason::AddressOutsideUserList
            | Reason::AddressOutsideKeyList => Refusal::Forbidden,
            _ => Refusal::Unauthenticated,
        },
    }
}

/// Asks the rules one by one until `on` has heard enough. The only place where their order stands: what is answered
/// 401 comes before what is answered 403.
///
/// Straight calls rather than a table of functions, so that `judge` is compiled into one piece for the hot path.
#[inline]
fn walk<B>(
    entrance: Entrance<'_>,
    user: &UserFacts<'_>,
    at: Circumstances,
    policy: &Policy,
    mut on: impl FnMut(Rule, Finding) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let key = match entrance {
        Entrance::Key(_, key) | Entrance::ManagementKey(key) => Some(key),
        _ => None,
    };
    on(Rule::KeyEnabled, Finding::of(key, |key| (!key.enabled).then_some(DenialReason::KeyDisabled)))?;
    on(Rule::KeyNotExpired, Finding::of(key, |key| key_has_expired(key, at.now)))?;
    on(Rule::UserActive, Finding::broken_if(!user.active, DenialReason::UserInactive))?;
    on(Rule::PasswordOn, password_is_on(entrance, user, policy))?;
    on(Rule::Scope, scope_holds(entrance))?;
    on(Rule::ManagementMfa, management_has_mfa(entrance, user))?;
    let closed = !user.access_points.holds(access_point(entrance));
    on(Rule::AccessPoint, Finding::broken_if(closed, DenialReason::AccessPointOff))?;
    let admitted = |list, reason| {
        Finding::of(at.client_ip, |client_ip| (!AllowList::admits(list, client_ip)).then_some(reason))
    };
    on(Rule::CustomerList, admitted(user.customer_list, DenialReason::AddressOutsideCustomerList))?;
    on(Rule::UserList, admitted(user.user_list, DenialReason::AddressOutsideUserList))?;
    on(
        Rule::KeyList,
        key.map_or(Finding::NotAsked, |key| admitted(key.list, DenialReason::AddressOutsideKeyList)),
    )
}

impl Finding {
    /// What `broken_for` says of `subject`; where there is none, nothing is asked.
    fn of<T>(subject: Option<T>, broken_for: impl FnOnce(T) -> Option<DenialReason>) -> Self {
        match subject {
            None => Self::NotAsked,
            Some(subject) => broken_for(subject).map_or(Self::Kept, Self::Broken),
        }
    }

    const fn broken_if(broken: bool, reason: DenialReason) -> Self {
        if broken { Self::Broken(reason) } else { Self::Kept }
    }
}

fn key_has_expired(key: &KeyFacts<'_>, now: Timestamp) -> Option<DenialReason> {
    key.expires_at.is_some_and(|end| end <= now).then_some(DenialReason::KeyExpired)
}

fn password_is_on(entrance: Entrance<'_>, user: &UserFacts<'_>, policy: &Policy) -> Finding {
    let ended_by_key = match entrance {
        Entrance::ApiPassword | Entrance::ApiSession => true,
        Entrance::IsProxyPassword => policy.key_ends_password_at_isproxy,
        _ => return Finding::NotAsked,
    };
    match user.mfa {
        MfaState::On => Finding::Broken(DenialReason::PasswordOffByMfa),
        MfaState::RequiredNotSetUp => Finding::Broken(DenialReason::PasswordOffByRequiredMfa),
        MfaState::Off => {
            Finding::broken_if(ended_by_key && user.password_off_by_key, DenialReason::PasswordOffByKey)
        }
    }
}

fn scope_holds(entrance: Entrance<'_>) -> Finding {
    match entrance {
        Entrance::Key(service, key) => {
            Finding::broken_if(!key.scope.holds(service), DenialReason::ScopeMissing)
        }
        Entrance::ManagementKey(key) if !key.scope.manages() => Finding::Broken(DenialReason::ScopeMissing),
        Entrance::ManagementKey(key) => {
            Finding::broken_if(key.list.is_empty(), DenialReason::ManageKeyWithoutList)
        }
        _ => Finding::NotAsked,
    }
}

fn management_has_mfa(entrance: Entrance<'_>, user: &UserFacts<'_>) -> Finding {
    match entrance {
        Entrance::ManagementSession | Entrance::ManagementKey(_) => {
            Finding::broken_if(user.mfa == MfaState::RequiredNotSetUp, DenialReason::MfaNotSetUp)
        }
        _ => Finding::NotAsked,
    }
}

const fn access_point(entrance: Entrance<'_>) -> AccessPoint {
    match entrance {
        Entrance::ApiPassword | Entrance::ApiSession | Entrance::Key(Service::Api, _) => AccessPoint::Api,
        Entrance::IsProxyPassword | Entrance::Key(Service::IsProxy, _) => AccessPoint::IsProxy,
        Entrance::Console | Entrance::ManagementSession | Entrance::ManagementKey(_) => AccessPoint::Console,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::auth::DenialReason as Reason;

    const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);

    static ANYWHERE: LazyLock<AllowList> = LazyLock::new(AllowList::default);

    fn list(networks: &str) -> &'static AllowList {
        Box::leak(Box::new(networks.parse().unwrap()))
    }

    fn user() -> UserFacts<'static> {
        UserFacts {
            active: true,
            access_points: AccessPoints::ALL,
            mfa: MfaState::Off,
            password_off_by_key: false,
            customer_list: &ANYWHERE,
            user_list: &ANYWHERE,
        }
    }

    fn key(scope: &str) -> KeyFacts<'static> {
        KeyFacts { enabled: true, expires_at: None, scope: scope.parse().unwrap(), list: &ANYWHERE }
    }

    fn at(address: &str) -> Circumstances {
        Circumstances { client_ip: Some(ClientIp::new(address.parse().unwrap())), now: NOW }
    }

    /// What a peer sees, in the table's own signs.
    fn cell(entrance: Entrance<'_>, user: &UserFacts<'_>, at: Circumstances, policy: &Policy) -> String {
        match judge(entrance, user, at, policy) {
            Verdict::Allowed => "in".into(),
            Verdict::AllowedWithFactor => "factor".into(),
            Verdict::SetUpPageOnly => "set-up".into(),
            Verdict::Refused(reason) => match refusal_for(entrance, reason) {
                Refusal::Unauthenticated => "401".into(),
                Refusal::Forbidden => "403".into(),
                other => format!("{other:?}"),
            },
        }
    }

    /// The columns: API password, API session, `IsProxy` password, API key, `IsProxy` key, console, session and `manage` key at `/api/v1`.
    fn row(user: &UserFacts<'_>, client: Circumstances) -> [String; 8] {
        let policy = Policy::default();
        let door_key = key("api,isproxy");
        let manage_key = KeyFacts { list: list("192.0.2.0/24"), ..key("manage") };
        [
            Entrance::ApiPassword,
            Entrance::ApiSession,
            Entrance::IsProxyPassword,
            Entrance::Key(Service::Api, &door_key),
            Entrance::Key(Service::IsProxy, &door_key),
            Entrance::Console,
            Entrance::ManagementSession,
            Entrance::ManagementKey(&manage_key),
        ]
        .map(|entrance| cell(entrance, user, client, &policy))
    }

    #[test]
    fn the_whole_table_of_who_gets_in_with_what() {
        let here = at("192.0.2.1");
        let closed = |points: &str| UserFacts { access_points: points.parse().unwrap(), ..user() };
        let narrow = list("198.51.100.0/24");
        let table: [(&str, UserFacts<'_>, [&str; 8]); 9] = [
            ("nothing special", user(), ["in", "in", "in", "in", "in", "in", "in", "in"]),
            (
                "has or had a key",
                UserFacts { password_off_by_key: true, ..user() },
                ["401", "401", "in", "in", "in", "in", "in", "in"],
            ),
            (
                "MFA on",
                UserFacts { mfa: MfaState::On, ..user() },
                ["401", "401", "401", "in", "in", "factor", "in", "in"],
            ),
            (
                "MFA required and not set up",
                UserFacts { mfa: MfaState::RequiredNotSetUp, ..user() },
                ["401", "401", "401", "in", "in", "set-up", "403", "403"],
            ),
            (
                "deactivated",
                UserFacts { active: false, ..user() },
                ["401", "401", "401", "401", "401", "401", "401", "401"],
            ),
            ("API closed", closed("console,isproxy"), ["401", "403", "in", "403", "in", "in", "in", "in"]),
            ("IsProxy closed", closed("console,api"), ["in", "in", "401", "in", "403", "in", "in", "in"]),
            ("console closed", closed("api,isproxy"), ["in", "in", "in", "in", "in", "401", "403", "403"]),
            (
                "outside the user's list",
                UserFacts { user_list: narrow, ..user() },
                ["401", "403", "401", "403", "403", "401", "403", "403"],
            ),
        ];
        for (state, facts, expected) in table {
            assert_eq!(row(&facts, here), expected, "{state}");
        }
        let outside_customer = UserFacts { customer_list: narrow, ..user() };
        assert_eq!(row(&outside_customer, here), ["401", "403", "401", "403", "403", "401", "403", "403"]);
    }

    #[test]
    fn r8_the_setting_extends_the_end_of_passwords_to_isproxy() {
        let policy = Policy { key_ends_password_at_isproxy: true, ..Policy::default() };
        let facts = UserFacts { password_off_by_key: true, ..user() };
        assert_eq!(
            judge(Entrance::IsProxyPassword, &facts, at("192.0.2.1"), &policy),
            Verdict::Refused(Reason::PasswordOffByKey)
        );
    }

    #[test]
    fn r27_mfa_outranks_the_mark_of_a_key() {
        let facts = UserFacts { mfa: MfaState::On, password_off_by_key: true, ..user() };
        assert_eq!(
            judge(Entrance::ApiPassword, &facts, at("192.0.2.1"), &Policy::default()),
            Verdict::Refused(Reason::PasswordOffByMfa)
        );
    }

    #[test]
    fn r13_and_s24_a_key_opens_only_what_its_scope_holds() {
        let judged = |scope: &str, service| {
            judge(Entrance::Key(service, &key(scope)), &user(), at("192.0.2.1"), &Policy::default())
        };
        assert_eq!(judged("api", Service::Api), Verdict::Allowed);
        assert_eq!(judged("api", Service::IsProxy), Verdict::Refused(Reason::ScopeMissing));
        assert_eq!(judged("isproxy", Service::Api), Verdict::Refused(Reason::ScopeMissing));
        assert_eq!(judged("isproxy", Service::IsProxy), Verdict::Allowed);
        assert_eq!(judged("manage", Service::Api), Verdict::Refused(Reason::ScopeMissing));
    }

    #[test]
    fn a_key_ends_at_its_moment_and_sleeps_while_disabled() {
        let expiring = |milliseconds| KeyFacts {
            expires_at: Some(Timestamp::from_unix_milliseconds(NOW.unix_milliseconds() + milliseconds)),
            ..key("api")
        };
        let judged = |key: &KeyFacts<'_>| {
            judge(Entrance::Key(Service::Api, key), &user(), at("192.0.2.1"), &Policy::default())
        };
        assert_eq!(judged(&expiring(1)), Verdict::Allowed);
        assert_eq!(judged(&expiring(0)), Verdict::Refused(Reason::KeyExpired));
        let disabled = KeyFacts { enabled: false, ..key("api") };
        assert_eq!(judged(&disabled), Verdict::Refused(Reason::KeyDisabled));
        assert_eq!(
            refusal_for(Entrance::Key(Service::Api, &disabled), Reason::KeyDisabled),
            Refusal::Unauthenticated
        );
    }

    #[test]
    fn r61_each_list_must_admit_and_a_table_asks_regardless_of_addresses() {
        let listed = KeyFacts { list: list("203.0.113.0/24"), ..key("api") };
        let facts = UserFacts { user_list: list("203.0.113.0/25"), ..user() };
        let judged = |at| judge(Entrance::Key(Service::Api, &listed), &facts, at, &Policy::default());
        assert_eq!(judged(at("203.0.113.5")), Verdict::Allowed);
        assert_eq!(judged(at("203.0.113.200")), Verdict::Refused(Reason::AddressOutsideUserList));
        assert_eq!(judged(at("192.0.2.1")), Verdict::Refused(Reason::AddressOutsideUserList));
        assert_eq!(judged(Circumstances { client_ip: None, now: NOW }), Verdict::Allowed);
        assert_eq!(
            judge(Entrance::Key(Service::Api, &listed), &user(), at("192.0.2.1"), &Policy::default()),
            Verdict::Refused(Reason::AddressOutsideKeyList)
        );
    }

    #[test]
    fn what_is_told_in_full_is_what_judges_and_in_the_same_order() {
        let list = list("203.0.113.0/24");
        let key = KeyFacts { enabled: false, expires_at: Some(NOW), list, ..key("isproxy") };
        let nobody = UserFacts {
            active: false,
            access_points: "none".parse().unwrap(),
            mfa: MfaState::RequiredNotSetUp,
            password_off_by_key: true,
            customer_list: list,
            user_list: list,
        };
        let policy = Policy::default();
        let told = |entrance| findings(entrance, &nobody, at("192.0.2.1"), &policy);
        let by_key = told(Entrance::Key(Service::Api, &key));
        assert_eq!(
            by_key,
            [
                (Rule::KeyEnabled, Some(Reason::KeyDisabled)),
                (Rule::KeyNotExpired, Some(Reason::KeyExpired)),
                (Rule::UserActive, Some(Reason::UserInactive)),
                (Rule::Scope, Some(Reason::ScopeMissing)),
                (Rule::AccessPoint, Some(Reason::AccessPointOff)),
                (Rule::CustomerList, Some(Reason::AddressOutsideCustomerList)),
                (Rule::UserList, Some(Reason::AddressOutsideUserList)),
                (Rule::KeyList, Some(Reason::AddressOutsideKeyList)),
            ]
        );
        for entrance in [
            Entrance::ApiPassword,
            Entrance::ApiSession,
            Entrance::IsProxyPassword,
            Entrance::Key(Service::Api, &key),
            Entrance::Console,
            Entrance::ManagementSession,
            Entrance::ManagementKey(&key),
        ] {
            let first = told(entrance).into_iter().find_map(|(_, broken)| broken).unwrap();
            assert_eq!(judge(entrance, &nobody, at("192.0.2.1"), &policy), Verdict::Refused(first));
            let sound = findings(entrance, &user(), at("192.0.2.1"), &policy);
            assert!(sound.len() >= 4, "{entrance:?}");
            let rules = |told: Vec<(Rule, _)>| told.into_iter().map(|(rule, _)| rule).collect::<Vec<_>>();
            assert_eq!(
                rules(told(entrance)),
                rules(sound),
                "which rules are asked is the entrance's matter alone"
            );
        }
    }

    #[test]
    fn a_manage_key_needs_a_list_of_its_own() {
        let manage = key("manage");
        assert_eq!(
            judge(Entrance::ManagementKey(&manage), &user(), at("192.0.2.1"), &Policy::default()),
            Verdict::Refused(Reason::ManageKeyWithoutList)
        );
    }
}
