//! The root key at rest: PKCS #8 encrypted with a passphrase (RFC 8018, PBES2).
//!
//! scrypt and AES-256-CBC. For a passphrase that a person chose N = 2^14, r = 8, p = 5: of the settings
//! that OWASP holds equal, the one whose memory (16 MiB) `openssl pkey` accepts, which is what a person
//! will open it with. A passphrase of 100 random bits cannot be guessed at any speed: N = 2^10, p = 1.

use pkcs8::pkcs5::pbes2::Parameters;
use pkcs8::pkcs5::scrypt;
use pkcs8::{LineEnding, PrivateKeyInfoRef};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::error::CreateError;
use crate::key::SecretKey;

/// What deriving a key from a passphrase costs.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    log_n: u8,
    p: u32,
}

/// For a passphrase that a person chose.
pub(crate) const CHOSEN: Cost = Cost { log_n: 14, p: 5 };
/// For a passphrase made up from at least 100 random bits.
pub(crate) const RANDOM: Cost = Cost { log_n: 10, p: 1 };

const SCRYPT_R: u32 = 8;

pub(crate) fn encrypted_pem(key: &SecretKey, passphrase: &str, cost: Cost) -> Result<Zeroizing<String>, CreateError> {
    let random = SystemRandom::new();
    let (mut salt, mut iv) = ([0; 16], [0; 16]);
    random.fill(&mut salt).map_err(|_| CreateError::Random)?;
    random.fill(&mut iv).map_err(|_| CreateError::Random)?;
    encrypt(key, passphrase, cost, &salt, iv).map_err(CreateError::EncryptRootKey)
}

fn encrypt(
    key: &SecretKey,
    passphrase: &str,
    cost: Cost,
    salt: &[u8],
    iv: [u8; 16],
) -> Result<Zeroizing<String>, pkcs8::Error> {
    let cost =
        scrypt::Params::new(cost.log_n, SCRYPT_R, cost.p).expect("N, r and p are constants within scrypt's limits");
    let parameters = Parameters::generate_scrypt_aes256cbc(cost, salt, iv)?;
    let document = PrivateKeyInfoRef::try_from(key.der())?.encrypt_with_params(parameters, passphrase)?;
    Ok(document.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF)?)
}
