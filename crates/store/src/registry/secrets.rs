//! Making, hashing and comparing secrets.

use std::sync::LazyLock;

use argon2::{Algorithm, Argon2, Params, Version};
use ring::digest::{Context, SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;

use crate::error::StoreError;

/// The length of a SHA-256 hash.
pub(super) const HASH_BYTES: usize = 32;

/// Random bytes from the operating system.
pub(super) fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    static SOURCE: LazyLock<SystemRandom> = LazyLock::new(SystemRandom::new);
    let mut bytes = [0; N];
    SOURCE.fill(&mut bytes).map_err(|_| StoreError::Random)?;
    Ok(bytes)
}

/// Lower-case hexadecimal.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// SHA-256 of salt and secret: enough for a secret of 128 random bits, which nobody can search,
/// and fast enough to be checked at every request.
pub(super) fn salted_hash(salt: &[u8], secret: &[u8]) -> [u8; HASH_BYTES] {
    let mut context = Context::new(&SHA256);
    context.update(salt);
    context.update(secret);
    to_array(context.finish().as_ref())
}

/// SHA-256 of a token of 128 or more random bits, which is found by its hash.
pub(super) fn token_hash(token: &str) -> [u8; HASH_BYTES] {
    to_array(digest(&SHA256, token.as_bytes()).as_ref())
}

/// The first eight bytes of `SHA-256("lookup" ‖ key)`: finds the rows whose salted hash is then
/// compared. It tells 64 bits about a key of 128 random bits only to one who can invert SHA-256;
/// searching for a key that fits it takes 2^128 attempts as before. A password that a person
/// chose could be searched, so it never gets one.
pub(super) fn api_key_lookup(key: &[u8]) -> [u8; 8] {
    let hash = salted_hash(b"lookup", key);
    let mut lookup = [0; 8];
    lookup.copy_from_slice(&hash[..8]);
    lookup
}

/// Compares in a time that does not depend on where the two differ.
pub(super) fn equal(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

fn to_array(hash: &[u8]) -> [u8; HASH_BYTES] {
    hash.try_into().expect("SHA-256 gives 32 bytes")
}

/// How costly Argon2id is. Stored with each hash, so that it can rise later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PasswordCost {
    /// KiB of memory.
    pub(super) memory: u32,
    /// Passes over it.
    pub(super) passes: u32,
    /// Lanes.
    pub(super) lanes: u32,
}

impl PasswordCost {
    /// OWASP's first choice for Argon2id: 19 MiB and two passes, some tens of milliseconds.
    pub(super) const CURRENT: Self =
        Self { memory: Params::DEFAULT_M_COST, passes: Params::DEFAULT_T_COST, lanes: Params::DEFAULT_P_COST };

    /// Argon2id of a password.
    pub(super) fn hash(self, salt: &[u8], password: &[u8]) -> Result<[u8; HASH_BYTES], StoreError> {
        let failed = |error: argon2::Error| StoreError::PasswordHash { reason: error.to_string() };
        let parameters = Params::new(self.memory, self.passes, self.lanes, Some(HASH_BYTES)).map_err(failed)?;
        let mut hash = [0; HASH_BYTES];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
            .hash_password_into(password, salt, &mut hash)
            .map_err(failed)?;
        Ok(hash)
    }
}
