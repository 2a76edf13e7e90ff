//! Secrets: random bytes, digests and tags of API keys, hashes of passwords, sealing of data keys, second factors, tokens.
//!
//! No I/O and no policy. Callers: `auth` and `store`; protocol modules never name this module.

mod checksum;
mod digest;
mod event_signature;
mod key_text;
mod master_key;
mod password;
pub mod random;
mod recovery;
mod sealing;
mod session_key;
mod token;
mod totp;

pub use checksum::Checksum;
pub use digest::{DigestKey, KeyPurpose, KeyRing, TagKey};
pub use event_signature::sign_event;
pub use key_text::{KeyForm, KeyText, MalformedKey, PREFIX as KEY_PREFIX, recognise_key};
pub use master_key::{MasterKey, MasterKeyError, WrapError};
pub use password::{HashingMemory, PasswordHash, PasswordHashError, hash_password, normalise_password};
pub use recovery::{NotRecoveryCodes, RecoveryCode, RecoveryCodes, RecoveryHash};
pub use sealing::{SealError, SealingKey};
pub use session_key::{CHARACTERS as SESSION_KEY_CHARACTERS, draw_session_key, is_session_key};
pub use token::{TokenPurpose, draw_token, is_token};
pub use totp::{TotpError, TotpSecret, qr_svg};
