//! Opens `ENC(…)` values as `activemq encrypt` writes them: Jasypt's PBEWithMD5AndDES.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit};
use md5::{Digest, Md5};

/// Jasypt's.
const ITERATIONS: usize = 1000;
const SALT_BYTES: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SealError {
    #[error("is encrypted; set ACTIVEMQ_ENCRYPTION_PASSWORD to the password it was encrypted with")]
    NoPassword,
    #[error(
        "cannot be decrypted: wrong ACTIVEMQ_ENCRYPTION_PASSWORD, or not made with \
         PBEWithMD5AndDES, which alone is read"
    )]
    Broken,
}

/// The text inside `sealed`, which is what stands between `ENC(` and `)`.
pub(super) fn open(sealed: &str, password: Option<&str>) -> Result<String, SealError> {
    let password = password.ok_or(SealError::NoPassword)?;
    let bytes = STANDARD.decode(sealed.trim()).map_err(|_bad| SealError::Broken)?;
    let (salt, body) = bytes.split_at_checked(SALT_BYTES).ok_or(SealError::Broken)?;
    let derived = derive(password, salt);
    let (key, iv) = derived.split_at(derived.len() / 2);
    let cipher = cbc::Decryptor::<des::Des>::new_from_slices(key, iv);
    let cipher = cipher.map_err(|_length| SealError::Broken)?;
    let plain = cipher.decrypt_padded_vec::<Pkcs7>(body).map_err(|_pad| SealError::Broken)?;
    String::from_utf8(plain).map_err(|_bad| SealError::Broken)
}

/// PKCS #5 version 1: 8 bytes of key, 8 of initial vector.
fn derive(password: &str, salt: &[u8]) -> [u8; 16] {
    let mut digest = Md5::new();
    digest.update(password.as_bytes());
    digest.update(salt);
    let first: [u8; 16] = digest.finalize().into();
    (1..ITERATIONS).fold(first, |last, _| Md5::digest(last).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From ActiveMQ's own example, whose password is documented.
    #[test]
    fn what_activemq_encrypted_is_opened() {
        assert_eq!(open("mYRkg+4Q4hua1kvpCCI2hg==", Some("activemq")).as_deref(), Ok("manager"));
        let guest = open("Cf3Jf3tM+UrSOoaKU50od5CuBa8rxjoL", Some("activemq"));
        assert_eq!(guest.as_deref(), Ok("password"));
    }

    #[test]
    fn without_the_right_password_nothing_is_opened() {
        assert_eq!(open("mYRkg+4Q4hua1kvpCCI2hg==", None), Err(SealError::NoPassword));
        assert_eq!(open("mYRkg+4Q4hua1kvpCCI2hg==", Some("wrong")), Err(SealError::Broken));
        assert_eq!(open("!", Some("activemq")), Err(SealError::Broken));
        assert_eq!(open("", Some("activemq")), Err(SealError::Broken));
    }
}
