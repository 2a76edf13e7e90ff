//! Setting up a method: recovery codes first, then the app or the key, then the good news.
//!
//! A method after the first one skips the recovery codes; its pages say so by `codes_were_shown`.

use askama::Template;

use super::NewMethod;
use crate::console::frame::Frame;
use crate::model::Secret;

/// Recovery codes, shown once. Fields: `then` (`app` or `key`), `saved` (`yes`); after a replacement there is no form.
#[derive(Template)]
#[template(path = "console/mfa/recovery_codes.html")]
pub struct RecoveryCodes {
    /// The frame at Profile.
    pub frame: Frame,
    /// Whose codes: `acme/alex`.
    pub user: String,
    /// The codes as people type them.
    pub codes: Secret<Vec<String>>,
    /// What they are made for.
    pub purpose: CodesFor,
}

/// What recovery codes are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodesFor {
    /// Step 1 of the first method's set-up; they work when that method is on.
    FirstMethod(NewMethod),
    /// Instead of older ones; they work already.
    Replacement,
}

/// `/profile/mfa/app`: pairing an authenticator app. Fields: `code`.
#[derive(Template)]
#[template(path = "console/mfa/app.html")]
pub struct AppSetUp {
    /// The frame at Profile.
    pub frame: Frame,
    /// Whose app: `acme/alex`.
    pub user: String,
    /// The QR code as an `<svg>`, which goes into the page as it is; its quiet zone is 4 modules wide.
    pub qr: Secret<String>,
    /// The shared key in base32.
    pub key: Secret<String>,
    /// The `otpauth:` address.
    pub link: Secret<String>,
    /// Is this the second step, after the recovery codes?
    pub codes_were_shown: bool,
}

/// `/profile/mfa/key`: registering a security key. Fields: `name`, `credential` (JSON).
#[derive(Template)]
#[template(path = "console/mfa/key.html")]
pub struct KeySetUp {
    /// The frame at Profile.
    pub frame: Frame,
    /// What was typed as name.
    pub name: String,
    /// The creation's options as JSON: `{"publicKey": {…}}` (WebAuthn Level 3 §5.4).
    pub options: String,
    /// Is this the second step, after the recovery codes?
    pub codes_were_shown: bool,
}

/// A method is on. It has no form.
#[derive(Template)]
#[template(path = "console/mfa/done.html")]
pub struct MethodDone {
    /// The frame at Profile.
    pub frame: Frame,
    /// App or key.
    pub kind: NewMethod,
    /// The key's name; an app has none yet.
    pub name: String,
    /// May the user make API keys?
    pub may_make_keys: bool,
}

impl AppSetUp {
    /// The shared key in groups of four.
    pub fn grouped_key(&self) -> String {
        let mut grouped = String::with_capacity(self.key.expose().len() * 5 / 4);
        for (place, letter) in self.key.expose().chars().enumerate() {
            if place > 0 && place % 4 == 0 {
                grouped.push(' ');
            }
            grouped.push(letter);
        }
        grouped
    }
}

impl NewMethod {
    /// What one signs in with, beside the password.
    pub const fn by_means_of(self) -> &'static str {
        match self {
            Self::App => "a code from the app",
            Self::Key => "the security key",
        }
    }

    /// What is advised once a method of the kind is on.
    pub const fn recommendation(self) -> &'static str {
        match self {
            Self::App => {
                "Add a security key as well: it is safer than codes, and a way in when the app is lost."
            }
            Self::Key => "Add a second key and keep it elsewhere: then a lost key does not lock you out.",
        }
    }

    /// The button that follows the advice.
    pub const fn add_second(self) -> &'static str {
        match self {
            Self::App => "Add a security key",
            Self::Key => "Add a second key",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::frame::FieldError;
    use crate::console::testing::{check_page, sample_frame};

    fn titled(title: &str) -> Frame {
        Frame { title: title.to_owned(), ..sample_frame() }
    }

    fn codes(purpose: CodesFor) -> RecoveryCodes {
        let codes = (0..10).map(|number| format!("k7mp-2xqv-9t{number}d-hw4n")).collect::<Vec<_>>();
        let frame = titled("Save your recovery codes");
        RecoveryCodes { frame, user: "acme/alex".to_owned(), codes: Secret::new(codes), purpose }
    }

    fn app() -> AppSetUp {
        let link =
            "otpauth://totp/Latchkey:%20acme%2Falex?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Latchkey";
        let qr = qrcode::QrCode::new(link).unwrap();
        let qr = qr.render::<qrcode::render::svg::Color>().min_dimensions(200, 200).build();
        AppSetUp {
            frame: titled("Set up authenticator app"),
            user: "acme/alex".to_owned(),
            qr: Secret::new(qr),
            key: Secret::new("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP".to_owned()),
            link: Secret::new(link.to_owned()),
            codes_were_shown: true,
        }
    }

    #[test]
    fn r33_codes_come_first_and_can_be_downloaded_copied_and_printed() {
        let html = check_page("mfa-codes", &codes(CodesFor::FirstMethod(NewMethod::App)));
        assert_eq!(html.matches("<li>k7mp-").count(), 10, "{html}");
        for part in [
            r##"data-source="#codes""##,
            r##"data-copy="#codes""##,
            "data-print",
            "data-secret",
            r#"name="then" value="app""#,
            r#"name="saved" value="yes""#,
            "Next</button>",
        ] {
            assert!(html.contains(part), "{part} is missing in {html}");
        }
    }

    #[test]
    fn forgetting_the_tick_box_shows_the_codes_again_with_the_fault() {
        let mut page = codes(CodesFor::FirstMethod(NewMethod::Key));
        page.frame.errors = vec![FieldError::new("saved", "Save the codes, then tick the box.")];
        let html = check_page("mfa-codes-wrong", &page);
        assert!(html.contains(r#"aria-describedby="saved-error""#), "{html}");
        assert!(html.contains("<li>k7mp-"), "{html}");
    }

    #[test]
    fn r36_replaced_codes_are_shown_once_without_a_form() {
        let html = check_page("mfa-codes-replaced", &codes(CodesFor::Replacement));
        assert!(html.contains("They are shown only now.") && !html.contains(r#"name="saved""#), "{html}");
    }

    #[test]
    fn r37_r38_pairing_shows_a_qr_code_and_the_same_key_for_typing() {
        let html = check_page("mfa-app", &app());
        for part in [
            r#"role="img" aria-label="QR code"#,
            "<svg",
            "JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP",
            "time based, 6 digits, 30 seconds",
            r#"href="otpauth://totp/"#,
            "Turn on authenticator app</button>",
        ] {
            assert!(html.contains(part), "{part} is missing in {html}");
        }
    }

    #[test]
    fn r45_the_name_comes_before_the_registration() {
        let page = KeySetUp {
            frame: titled("Set up security key"),
            name: "<script>alert(1)</script>".to_owned(),
            options: r#"{"publicKey":{"challenge":"AAAA","rp":{"id":"localhost","name":"Latchkey"},"user":{"id":"AAAA","name":"acme/alex","displayName":"Alex"},"pubKeyCredParams":[{"type":"public-key","alg":-7}]}}"#.to_owned(),
            codes_were_shown: false,
        };
        let html = check_page("mfa-key", &page);
        assert!(html.contains(r#"data-webauthn="register""#), "{html}");
        assert!(html.contains(r#"data-button="Register security key""#), "{html}");
        assert!(html.contains(r#"name="name""#) && !html.contains("<script>alert"), "{html}");
    }

    #[test]
    fn r40_r48_a_method_that_is_on_is_told() {
        let done = |kind, name: &str| MethodDone {
            frame: titled("MFA is on"),
            kind,
            name: name.to_owned(),
            may_make_keys: true,
        };
        let html = check_page("mfa-done-key", &done(NewMethod::Key, "Blue key"));
        assert!(html.contains("Security key “<bdi>Blue key</bdi>” is on."), "{html}");
        assert!(html.contains("Add a second key</a>") && html.contains("To API keys</a>"), "{html}");
        let html = check_page("mfa-done-app", &done(NewMethod::App, ""));
        assert!(html.contains("Authenticator app is on."), "{html}");
        assert!(html.contains(r#"href="/profile/mfa/key">Add a security key</a>"#), "{html}");
    }
}
