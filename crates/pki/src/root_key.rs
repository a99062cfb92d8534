//! The root key at rest: PKCS #8 encrypted with a passphrase (RFC 8018, PBES2).
//!
//! scrypt with N = 2^14, r = 8, p = 5 and AES-256-CBC: of the settings that OWASP holds equal, the
//! one whose memory (16 MiB) `openssl pkey` accepts, which is what a person will open it with.

use pkcs8::pkcs5::pbes2::Parameters;
use pkcs8::pkcs5::scrypt;
use pkcs8::{LineEnding, PrivateKeyInfoRef};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::error::CreateError;
use crate::key::SecretKey;

const SCRYPT_LOG_N: u8 = 14;
const SCRYPT_R: u32 = 8;
const SCRYPT_P: u32 = 5;

pub(crate) fn encrypted_pem(key: &SecretKey, passphrase: &str) -> Result<Zeroizing<String>, CreateError> {
    let random = SystemRandom::new();
    let (mut salt, mut iv) = ([0; 16], [0; 16]);
    random.fill(&mut salt).map_err(|_| CreateError::Random)?;
    random.fill(&mut iv).map_err(|_| CreateError::Random)?;
    encrypt(key, passphrase, &salt, iv).map_err(CreateError::EncryptRootKey)
}

fn encrypt(key: &SecretKey, passphrase: &str, salt: &[u8], iv: [u8; 16]) -> Result<Zeroizing<String>, pkcs8::Error> {
    let cost =
        scrypt::Params::new(SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P).expect("N, r and p are constants within scrypt's limits");
    let parameters = Parameters::generate_scrypt_aes256cbc(cost, salt, iv)?;
    let document = PrivateKeyInfoRef::try_from(key.der())?.encrypt_with_params(parameters, passphrase)?;
    Ok(document.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF)?)
}
