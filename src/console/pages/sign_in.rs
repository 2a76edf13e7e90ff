//! Signing in: account and password, the second step, and the same once more before a change.
//!
//! Why a sign-in fails is decided elsewhere and told with one text; the frame brings it as an error or a notice.

use askama::Template;

use crate::console::frame::{Frame, Link, Moment, Notice};
use crate::console::page::with_query;

/// The first step, `POST /sign-in`. Fields: `account`, `user`, `password`, `next`.
#[derive(Template)]
#[template(path = "console/sign_in.html")]
pub struct SignIn {
    /// Its notices tell why the page is shown, such as [`session_over`]; its errors why the last try failed.
    pub frame: Frame,
    /// What was typed as account.
    pub account: String,
    /// What was typed as user name.
    pub user: String,
    /// The path to go on to; empty for the start page.
    pub next: String,
}

/// The second step with an authenticator app, `POST /sign-in/verify`. Fields: `code`, `next`.
#[derive(Template)]
#[template(path = "console/second_step/app.html")]
pub struct SecondStepApp {
    /// The frame of nobody: no session yet.
    pub frame: Frame,
    /// Who signs in: `acme/alex`.
    pub user: String,
    /// The path to go on to.
    pub next: String,
    /// The other ways, as [`other_way`] names them.
    pub others: Vec<Link>,
    /// Is it time to speak of clocks? After two wrong codes.
    pub shows_clock_hint: bool,
}

/// The second step with a security key, `POST /sign-in/verify/key`. Fields: `credential` (JSON), `next`.
#[derive(Template)]
#[template(path = "console/second_step/key.html")]
pub struct SecondStepKey {
    /// The frame of nobody: no session yet.
    pub frame: Frame,
    /// Who signs in: `acme/alex`.
    pub user: String,
    /// The path to go on to.
    pub next: String,
    /// The other ways.
    pub others: Vec<Link>,
    /// The request's options as JSON: `{"publicKey": {…}}` (WebAuthn Level 3 §5.5).
    pub options: String,
}

/// The second step with a recovery code, `POST /sign-in/verify/recovery`. Fields: `code`, `next`.
#[derive(Template)]
#[template(path = "console/second_step/recovery.html")]
pub struct SecondStepRecovery {
    /// The frame of nobody: no session yet.
    pub frame: Frame,
    /// The path to go on to.
    pub next: String,
    /// The other ways.
    pub others: Vec<Link>,
}

/// A fresh authentication before a change, `POST /confirm`.
///
/// Fields: `password`, `next`, `with` (see [`ConfirmWith::as_str`]), and `code` or `credential` as that says; `user` is
/// there for password safes and says nothing.
#[derive(Template)]
#[template(path = "console/confirm.html")]
pub struct Confirm {
    /// The frame of the user who is signed in.
    pub frame: Frame,
    /// Who that is: `acme/alex`.
    pub user: String,
    /// The path of the change.
    pub next: String,
    /// Where Cancel leads.
    pub cancel: String,
    /// What is asked beside the password.
    pub with: ConfirmWith,
    /// The other ways, such as `/confirm?with=app&next=…`.
    pub others: Vec<Link>,
}

/// What a fresh authentication asks beside the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfirmWith {
    /// Nothing: MFA is off.
    Password,
    /// A code from the authenticator app, field `code`.
    App,
    /// A security key, field `credential`.
    Key {
        /// The request's options as JSON.
        options: String,
    },
    /// A recovery code, field `code`.
    RecoveryCode,
}

/// What was typed before it was confirmed who the user is, `GET /confirm/go-on`: its form is that of `path`.
#[derive(Template)]
#[template(path = "console/confirm_go_on.html")]
pub struct GoOn {
    /// The frame of the user who is signed in.
    pub frame: Frame,
    /// The address that the form is sent to; its page is where Cancel leads.
    pub path: String,
    /// Its fields, names and values.
    pub fields: Vec<(String, String)>,
}

/// What concerned the user's security since the last sign-in, `POST /signed-in`. Fields: `next`, `shown`.
#[derive(Template)]
#[template(path = "console/signed_in.html")]
pub struct SecurityEvents {
    /// The frame of the user who has signed in.
    pub frame: Frame,
    /// What happened, oldest first.
    pub events: Vec<SecurityEventShown>,
    /// The path to go on to.
    pub next: String,
    /// When the last of the events happened, in milliseconds since 1970.
    pub shown: i64,
}

/// A security event of the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityEventShown {
    /// When.
    pub at: Moment,
    /// What, as a sentence.
    pub text: String,
    /// From which address; empty: from none.
    pub address: String,
}

/// A way to take the second step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondStep {
    /// A code from the authenticator app.
    App,
    /// A security key.
    Key,
    /// A recovery code.
    RecoveryCode,
}

impl ConfirmWith {
    /// The value of the field `with`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::App => "app",
            Self::Key { .. } => "key",
            Self::RecoveryCode => "recovery-code",
        }
    }
}

/// The link to another second step of the sign-in; `next` is the path to go on to.
pub fn other_way(step: SecondStep, next: &str) -> Link {
    let (text, path, with) = match step {
        // Without it the address leads to the way that was used last.
        SecondStep::App => ("Use authenticator app", "/sign-in/verify", "app"),
        SecondStep::Key => ("Use security key", "/sign-in/verify/key", ""),
        SecondStep::RecoveryCode => ("Use a recovery code", "/sign-in/verify/recovery", ""),
    };
    let href = with_query(path, &[("with", with), ("next", next)]);
    Link::new(text, href)
}

/// Sign-in is shown because the session ended by itself.
pub fn session_over(idle_minutes: u32) -> Notice {
    Notice::info(format!("You were signed out after {idle_minutes} minutes without activity."))
}

/// Sign-in is shown after sign-out.
pub fn signed_out() -> Notice {
    Notice::success("You are signed out.")
}

/// The browser sent no cookie back.
pub fn cookies_needed() -> Notice {
    Notice::warning("The console needs cookies. Allow them for this address, then sign in.")
}

/// A recovery code was used, and this many are left.
pub fn recovery_code_used(left: usize) -> Notice {
    let link = Link::new("Replace recovery codes", "/profile/mfa/recovery-codes/replace");
    match left {
        0 => Notice::warning(
            "You used a recovery code. This was the last one. Replace your recovery codes now.",
        )
        .with_link(link),
        1 => Notice::warning("You used a recovery code. 1 is left.").with_link(link),
        2..=3 => Notice::warning(format!("You used a recovery code. {left} are left.")).with_link(link),
        _ => Notice::info(format!("You used a recovery code. {left} are left.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::frame::FieldError;
    use crate::console::testing::{check_page, sample_frame};
    use crate::model::Timestamp;

    const OPTIONS: &str = r#"{"publicKey":{"challenge":"AAAA","rpId":"localhost","allowCredentials":[],"userVerification":"preferred"}}"#;

    fn sign_in() -> SignIn {
        let mut frame = Frame::new("Sign in", "token-of-the-form");
        frame.notices = vec![session_over(30)];
        SignIn { frame, account: String::new(), user: String::new(), next: "/account/users".to_owned() }
    }

    fn others() -> Vec<Link> {
        vec![other_way(SecondStep::Key, "/profile"), other_way(SecondStep::RecoveryCode, "")]
    }

    fn nobody() -> Frame {
        Frame::new("Confirm it is you", "token-of-the-form")
    }

    #[test]
    fn sign_in_asks_for_account_user_and_password() {
        let html = check_page("sign-in", &sign_in());
        for part in [
            r#"name="account" value="" autocomplete="organization""#,
            r#"autocomplete="username""#,
            r#"autocomplete="current-password""#,
            r#"name="next" value="/account/users""#,
            "You were signed out after 30 minutes without activity.",
        ] {
            assert!(html.contains(part), "{part} is missing in {html}");
        }
    }

    #[test]
    fn s87_what_was_typed_comes_back_as_text_and_the_password_does_not() {
        let mut page = sign_in();
        page.frame.notices = vec![cookies_needed()];
        page.frame.errors =
            vec![FieldError::new("account", "Account, user name or password is not correct.")];
        "\"><script>alert(1)</script>".clone_into(&mut page.account);
        "alex".clone_into(&mut page.user);
        let html = check_page("sign-in-wrong", &page);
        assert!(!html.contains("<script>alert") && html.contains(r#"value="alex""#), "{html}");
        assert!(
            html.contains("<title>Error: Account, user name or password is not correct. – Sign in"),
            "{html}"
        );
    }

    #[test]
    fn the_second_step_leads_to_the_other_ways() {
        let app = SecondStepApp {
            frame: nobody(),
            user: "acme/alex".to_owned(),
            next: String::new(),
            others: others(),
            shows_clock_hint: true,
        };
        let html = check_page("verify-app", &app);
        assert!(html.contains(r#"inputmode="numeric" autocomplete="one-time-code""#), "{html}");
        assert!(html.contains(r#"href="/sign-in/verify/key?next=%2Fprofile">Use security key<"#), "{html}");
        assert!(
            html.contains("latchkey user reset-mfa") && html.contains("Codes depend on the time."),
            "{html}"
        );
        let others = vec![other_way(SecondStep::App, "")];
        let recovery = SecondStepRecovery { frame: nobody(), next: String::new(), others };
        let html = check_page("verify-recovery", &recovery);
        assert!(html.contains(r#"action="/sign-in/verify/recovery""#), "{html}");
    }

    #[test]
    fn a_security_key_waits_for_its_button() {
        let key = SecondStepKey {
            frame: nobody(),
            user: "acme/alex".to_owned(),
            next: String::new(),
            others: others(),
            options: OPTIONS.to_owned(),
        };
        let html = check_page("verify-key", &key);
        assert!(
            html.contains(r#"data-webauthn="authenticate" data-options="{&#34;publicKey&#34;:"#),
            "{html}"
        );
        assert!(!html.contains("<button") && html.contains("Security keys need JavaScript"), "{html}");
    }

    #[test]
    fn s96_a_fresh_authentication_asks_for_the_password_and_a_method() {
        let ways = [
            (ConfirmWith::Password, "Confirm</button>"),
            (ConfirmWith::App, r#"name="code" class="code""#),
            (ConfirmWith::RecoveryCode, r#"name="code" class="code long""#),
            (ConfirmWith::Key { options: OPTIONS.to_owned() }, r#"name="credential""#),
        ];
        for (with, part) in ways {
            let name = format!("confirm-{}", with.as_str());
            let page = Confirm {
                frame: sample_frame(),
                user: "acme/alex".to_owned(),
                next: "/profile/mfa".to_owned(),
                cancel: "/profile".to_owned(),
                with,
                others: vec![Link::new(
                    "Use a recovery code",
                    "/confirm?with=recovery-code&next=%2Fprofile%2Fmfa",
                )],
            };
            let html = check_page(&name, &page);
            assert!(
                html.contains(part) && html.contains(r#"name="password" autocomplete="current-password""#)
            );
            assert!(html.contains(r#"name="next" value="/profile/mfa""#), "{html}");
        }
    }

    #[test]
    fn what_was_typed_is_sent_by_one_press_and_no_markup_in_it_is_markup() {
        let typed = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let page = GoOn {
            frame: sample_frame(),
            path: "/account/users/new".to_owned(),
            fields: vec![typed("login", "kim"), typed("full_name", "\"><script>alert(1)</script>")],
        };
        let html = check_page("confirm_go_on", &page);
        assert!(html.contains(r#"method="post" action="/account/users/new""#), "{html}");
        assert!(html.contains(r#"name="login" value="kim""#) && !html.contains("<script>alert"), "{html}");
    }

    #[test]
    fn few_recovery_codes_left_are_a_warning() {
        use crate::console::frame::NoticeKind::{Info, Warning};
        for (left, kind, text) in [
            (7, Info, "7 are left."),
            (3, Warning, "3 are left."),
            (1, Warning, "1 is left."),
            (0, Warning, "This was the last one."),
        ] {
            let notice = recovery_code_used(left);
            assert!(notice.kind == kind && notice.text.contains(text), "{notice:?}");
        }
    }

    #[test]
    fn security_events_are_told_until_they_are_acknowledged() {
        let at = Moment::from("2026-08-02T10:02:00Z".parse::<Timestamp>().unwrap());
        let event = |text: &str, address: &str| SecurityEventShown {
            at: at.clone(),
            text: text.to_owned(),
            address: address.to_owned(),
        };
        let page = SecurityEvents {
            frame: Frame { title: "Since your last sign-in".to_owned(), ..sample_frame() },
            events: vec![event("The password was changed.", "192.0.2.7"), event("MFA was reset.", "")],
            next: "/account/users".to_owned(),
            shown: 1_785_664_920_000,
        };
        let html = check_page("signed-in-events", &page);
        assert!(
            html.contains("The password was changed.")
                && html.contains(r#"from <span class="mono">192.0.2.7<"#),
            "{html}"
        );
        assert_eq!(html.matches(" from ").count(), 1, "{html}");
        assert!(html.contains(r#"name="next" value="/account/users""#), "{html}");
    }
}
