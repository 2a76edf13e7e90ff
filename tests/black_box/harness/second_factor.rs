//! Second factors without a browser: an authenticator app, and a security key in software.

use aws_lc_rs::hmac;
use url::Url;
use webauthn_authenticator_rs::WebauthnAuthenticator;
use webauthn_authenticator_rs::softpasskey::SoftPasskey;
use webauthn_rs_proto::{CreationChallengeResponse, RequestChallengeResponse};

use super::{Page, TestGateway};

/// An authenticator app that was given a secret (RFC 6238: SHA-1, 6 digits, 30 s).
pub struct App {
    secret: Vec<u8>,
    /// The last half minute whose code was used; each is good once.
    last: u64,
}

impl App {
    /// The app after its owner has typed what stands beside the QR code.
    #[track_caller]
    pub fn typed_from(page: &Page) -> Self {
        Self { secret: page.app_secret().1, last: 0 }
    }

    /// A code that was not shown before: of half a minute ago, of now, or of the next half minute, in this order.
    pub fn next_code(&mut self) -> String {
        let now = now() / 30;
        self.last = (self.last + 1).max(now - 1);
        assert!(self.last <= now + 1, "more codes are used than the time has");
        self.code(self.last)
    }

    /// The code of so many seconds from now.
    pub fn code_in(&self, seconds: i64) -> String {
        self.code(now().checked_add_signed(seconds).unwrap() / 30)
    }

    fn code(&self, step: u64) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.secret);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        let offset = usize::from(tag[19] & 15);
        let number = u32::from_be_bytes(tag[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
        format!("{:06}", number % 1_000_000)
    }
}

fn now() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "an authenticator app has a clock of its own")]
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// The bytes of RFC 4648 base32 without padding.
pub fn from_base32(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut buffer, mut bits) = (0_u32, 0);
    for letter in text.bytes() {
        let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|other| *other == letter).unwrap();
        buffer = (buffer << 5) | u32::try_from(value).unwrap();
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((buffer >> bits) & 0xff).unwrap());
        }
    }
    bytes
}

/// A security key in software, which confirms whatever it is asked.
pub struct SecurityKey {
    authenticator: SoftPasskey,
    origin: Url,
}

impl SecurityKey {
    /// A new one, in a browser that shows the console of `gateway`.
    pub fn new(gateway: &TestGateway) -> Self {
        let origin = Url::parse(&gateway.console_url()).unwrap();
        Self { authenticator: SoftPasskey::new(true), origin }
    }

    /// What it answers to the page that registers it.
    #[track_caller]
    pub fn register(&mut self, page: &Page) -> String {
        let asked: CreationChallengeResponse = serde_json::from_value(page.options()).unwrap();
        let made = self.authenticator.do_registration(self.origin.clone(), asked).unwrap();
        serde_json::to_string(&made).unwrap()
    }

    /// What it answers to the page that asks for it.
    #[track_caller]
    pub fn confirm(&mut self, page: &Page) -> String {
        let asked: RequestChallengeResponse = serde_json::from_value(page.options()).unwrap();
        let made = self.authenticator.do_authentication(self.origin.clone(), asked).unwrap();
        serde_json::to_string(&made).unwrap()
    }
}
