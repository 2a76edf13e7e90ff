//! Time-based codes of authenticator apps (RFC 6238): SHA-1, 6 digits, steps of 30 seconds.
//!
//! The seed, how an app is told of it, and which step a code belongs to. No I/O, no clock and no memory: the caller
//! keeps the last step that was accepted, so that a code works once (S29). Callers: `auth`.

use qrcode::QrCode;
use qrcode::render::svg;
use subtle::ConstantTimeEq;
use totp_rs::{Builder, Totp};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::random::{self, RandomError};
use crate::model::{Secret, Timestamp};

/// 160 bits, as RFC 4226 §4 R6 recommends.
const SECRET_BYTES: usize = 20;
const CODE_DIGITS: usize = 6;
const STEP_SECONDS: u64 = 30;
/// How far the clocks of app and gateway may stand apart (RFC 6238 §5.2).
const WINDOW_STEPS: u64 = 1;
/// Least width and height of the picture, in pixels.
const QR_PIXELS: u32 = 240;

/// What an authenticator app and the gateway share.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct TotpSecret([u8; SECRET_BYTES]);

/// An app cannot be told of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TotpError {
    /// The stored bytes are no secret of ours.
    #[error("a secret of an authenticator app has 20 bytes")]
    NotASecret,
    /// The name of the account or of the issuer is empty or holds a colon.
    #[error("an authenticator app cannot show the name of this account")]
    Name,
    /// More than a QR code holds.
    #[error("the text is too long for a QR code")]
    TooLong,
}

impl TotpSecret {
    /// Draws the secret of a new app.
    pub fn draw() -> Result<Self, RandomError> {
        Ok(Self(random::bytes()?))
    }

    /// Takes back what [`TotpSecret::as_bytes`] gave.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TotpError> {
        Ok(Self(bytes.try_into().map_err(|_| TotpError::NotASecret)?))
    }

    /// The bytes to seal; never store them as they are.
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The secret to type into an app: base32 in groups of four.
    pub fn to_base32_groups(&self) -> Secret<String> {
        let text = Secret::new(self.totp(Builder::new()).secret().to_base32());
        let mut groups = String::with_capacity(text.expose().len() * 5 / 4);
        for (place, letter) in text.expose().chars().enumerate() {
            if place > 0 && place % 4 == 0 {
                groups.push(' ');
            }
            groups.push(letter);
        }
        Secret::new(groups)
    }

    /// The address that sets an app up, shown there as `issuer: account`.
    ///
    /// Algorithm, digits and period are those that every app takes for granted, so the address does not name them.
    pub fn otpauth_url(&self, account: &str, issuer: &str) -> Result<Secret<String>, TotpError> {
        if issuer.is_empty() || issuer.contains(':') {
            return Err(TotpError::Name);
        }
        let totp = self.totp(Builder::new().with_account_name(account).with_issuer(Some(issuer)));
        totp.to_url().map(Secret::new).map_err(|_| TotpError::Name)
    }

    /// The step whose code `code` is, within one step of `now`; blanks in it do not count.
    ///
    /// Only steps later than `after_step` count: a caller that hands in the last step it accepted, and keeps the one
    /// answered in the same transaction, takes no code twice. The time taken does not tell how wrong a code is.
    pub fn matching_step(&self, code: &str, now: Timestamp, after_step: Option<u64>) -> Option<u64> {
        let code = Secret::new(code.chars().filter(|letter| !letter.is_whitespace()).collect::<String>());
        if code.expose().len() != CODE_DIGITS || !code.expose().bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let present = u64::try_from(now.unix_seconds()).ok()? / STEP_SECONDS;
        let totp = self.totp(Builder::new());
        let mut matching = None;
        for step in present.saturating_sub(WINDOW_STEPS)..=present.saturating_add(WINDOW_STEPS) {
            let right = Secret::new(totp.generate(step.saturating_mul(STEP_SECONDS)).to_string());
            let same = bool::from(right.expose().as_bytes().ct_eq(code.expose().as_bytes()));
            // The latest: if two steps had the same code, it would work again in the later one.
            if same && after_step.is_none_or(|after| step > after) {
                matching = Some(step);
            }
        }
        matching
    }

    /// The builder's other values are RFC 6238's: SHA-1, 6 digits, 30 seconds.
    fn totp(&self, builder: Builder) -> Totp {
        builder.with_secret(self.0).build_noncompliant()
    }
}

impl std::fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TotpSecret(…)")
    }
}

/// A QR code of `url` as an `svg` element for a page: black on white, with a quiet zone of 4 modules.
///
/// It holds neither a style nor a script, so a page with `default-src 'none'` shows it.
pub fn qr_svg(url: &Secret<String>) -> Result<Secret<String>, TotpError> {
    let code = QrCode::new(url.expose().as_bytes()).map_err(|_| TotpError::TooLong)?;
    let picture = Secret::new(
        code.render::<svg::Color<'_>>()
            .min_dimensions(QR_PIXELS, QR_PIXELS)
            .dark_color(svg::Color("#000"))
            .light_color(svg::Color("#fff"))
            .build(),
    );
    // What comes first is an XML declaration, which has no place within a page.
    let element = picture.expose().split_once("?>").map_or(picture.expose().as_str(), |(_, element)| element);
    Ok(Secret::new(element.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// The seed of RFC 6238 appendix B.
    fn rfc_secret() -> TotpSecret {
        TotpSecret::from_bytes(b"12345678901234567890").unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_milliseconds(seconds * 1_000)
    }

    #[test]
    fn s30_r39_the_vectors_of_rfc_6238_match_their_steps() {
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            let step = u64::try_from(seconds).unwrap() / 30;
            assert_eq!(rfc_secret().matching_step(code, at(seconds), None), Some(step), "{code}");
        }
    }

    #[test]
    fn s30_a_code_counts_within_one_step_of_its_own_and_no_further() {
        // The code of step 41152263, which begins at 1234567890.
        let begin = 1_234_567_890;
        for (seconds, matches) in [
            (begin - 31, false),
            (begin - 30, true),
            (begin - 1, true),
            (begin, true),
            (begin + 59, true),
            (begin + 60, false),
        ] {
            let step = rfc_secret().matching_step("005924", at(seconds), None);
            assert_eq!(step, matches.then_some(41_152_263), "{seconds}");
        }
        assert_eq!(rfc_secret().matching_step("755224", at(0), None), Some(0), "the first step (RFC 4226)");
        assert_eq!(rfc_secret().matching_step("755224", at(-1), None), None);
        let last = Timestamp::from_unix_milliseconds(i64::MAX);
        assert_eq!(rfc_secret().matching_step("000000", last, None), None);
    }

    #[test]
    fn s29_a_code_does_not_count_again_once_its_step_or_a_later_one_was_accepted() {
        let now = at(1_234_567_890);
        for (after, matches) in [(41_152_262, true), (41_152_263, false), (41_152_264, false)] {
            let step = rfc_secret().matching_step("005924", now, Some(after));
            assert_eq!(step, matches.then_some(41_152_263), "after {after}");
        }
    }

    #[test]
    fn s30_a_code_is_6_digits_and_blanks_do_not_count() {
        let now = at(1_234_567_890);
        for code in ["005924", "005 924", " 00 59 24\t"] {
            assert!(rfc_secret().matching_step(code, now, None).is_some(), "{code}");
        }
        for code in ["", "5924", "00592", "0059240", "005925", "+05924", "٠٠٥٩٢٤", "00592x", "005-924"]
        {
            assert_eq!(rfc_secret().matching_step(code, now, None), None, "{code}");
        }
    }

    #[test]
    fn s30_secrets_have_160_random_bits_and_print_only_their_name() {
        let secrets: HashSet<Vec<u8>> =
            (0..100).map(|_| TotpSecret::draw().unwrap().as_bytes().to_vec()).collect();
        assert_eq!(secrets.len(), 100);
        assert!(secrets.iter().all(|secret| secret.len() * 8 == 160));
        assert_eq!(format!("{:?}", rfc_secret()), "TotpSecret(…)");
        assert_eq!(TotpSecret::from_bytes(b"short").unwrap_err(), TotpError::NotASecret);
    }

    #[test]
    fn an_app_is_told_the_secret_by_groups_and_by_address() {
        let groups = rfc_secret().to_base32_groups();
        assert_eq!(groups.expose(), "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ");
        let url = rfc_secret().otpauth_url("acme/alex", "Latchkey").unwrap();
        assert_eq!(
            url.expose(),
            "otpauth://totp/Latchkey:acme%2Falex?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Latchkey"
        );
        let read = Totp::from_url(url.expose()).unwrap();
        assert_eq!((read.issuer(), read.account_name()), (Some("Latchkey"), "acme/alex"));
        assert_eq!((read.digits(), read.step(), read.algorithm().to_string().as_str()), (6, 30, "SHA1"));
        for (account, issuer) in
            [("a:b", "Latchkey"), ("", "Latchkey"), ("acme/alex", "a:b"), ("acme/alex", "")]
        {
            assert_eq!(rfc_secret().otpauth_url(account, issuer), Err(TotpError::Name), "{account} {issuer}");
        }
    }

    #[test]
    fn the_picture_is_large_enough_has_a_quiet_zone_and_needs_no_style() {
        let account = format!("{0}/{0}", "n".repeat(64));
        let url = rfc_secret().otpauth_url(&account, "Latchkey").unwrap();
        let picture = qr_svg(&url).unwrap();
        let svg = picture.expose();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>"));
        assert!(!svg.contains("style") && !svg.contains("script"));
        let width: u32 = svg.split_once("width=\"").unwrap().1.split_once('"').unwrap().0.parse().unwrap();
        let modules = u32::try_from(QrCode::new(url.expose()).unwrap().width()).unwrap() + 8;
        assert!(width >= 200 && width.is_multiple_of(modules), "{width} pixels for {modules} modules");
        // The first dark module is the corner of a finder pattern, four modules from both edges.
        let corner = 4 * width / modules;
        assert!(svg.contains(&format!("d=\"M{corner} {corner}h")));
        assert_eq!(qr_svg(&Secret::new("x".repeat(3_000))), Err(TotpError::TooLong));
    }
}
