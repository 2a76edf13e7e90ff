//! What the product talks about, as pure data: no I/O, no clock, no randomness.
//!
//! Everything else may use these types; they use nothing of the crate.

mod allow_list;
mod api_key;
mod api_session;
mod client_ip;
mod console;
mod cookies;
mod hexadecimal;
mod ids;
mod mfa;
mod name;
mod quota;
mod sample_ratio;
mod secret;
mod service;
mod time_span;
mod timestamp;
mod trusted_proxies;

pub use allow_list::{AllowList, AllowListError};
pub use api_key::{ApiKeyRecord, KeyDigest};
pub use api_session::{ApiSessionRecord, SessionBounds, SessionDigest, SessionLifetime};
pub use client_ip::ClientIp;
pub use console::{
    ConsoleSessionRecord, FactorFailures, LinkPurpose, MethodId, MethodKind, MethodRecord, SignInStage,
    TokenDigest,
};
pub use cookies::{COOKIE_PREFIX, is_own_cookie};
pub use hexadecimal::parse_hex;
pub use ids::{CustomerId, InvalidKeyId, KeyId, Membership, Recognised, Revision, UserId};
pub use mfa::{MfaRequirement, MfaState};
pub use name::{CustomerHandle, InvalidName, Login, UserName};
pub use quota::{InvalidQuota, QUOTA_MAX, QuotaMoment, QuotaOwner, QuotaPeriod, QuotaTerms};
pub use sample_ratio::SampleRatio;
pub use secret::Secret;
pub use service::{
    AccessPoint, AccessPoints, InvalidServiceScope, Permission, Permissions, Service, ServiceScope,
};
pub use time_span::{TimeSpan, TimeSpanError};
pub use timestamp::{InvalidTimestamp, Timestamp};
pub use trusted_proxies::TrustedProxies;
