//! The only source of random bytes: the operating system's.

/// The operating system has no random bytes to give; nothing safe can be made.
#[derive(Debug, thiserror::Error)]
#[error("the operating system's random source failed: {0}")]
pub struct RandomError(#[from] getrandom::Error);

/// `N` random bytes.
pub fn bytes<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// 64 random bits.
pub fn bits() -> Result<u64, RandomError> {
    Ok(u64::from_ne_bytes(bytes()?))
}
