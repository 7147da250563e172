use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::key::KeyDigest;

/// What every virtual key begins with, so that scanners of leaked secrets know it.
pub const KEY_PREFIX: &str = "sk-llmp-";

/// A virtual key that was just made. The secret is shown once and not kept.
#[derive(Clone)]
pub struct NewKey {
    /// The key itself.
    pub secret: String,
    /// What is kept of it.
    pub digest: KeyDigest,
    /// Its last four characters.
    pub hint: String,
}

impl std::fmt::Debug for NewKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("NewKey").field("hint", &self.hint).finish_non_exhaustive()
    }
}

/// Makes a virtual key out of 256 random bits.
#[must_use]
pub fn generate_key(random: [u8; 32]) -> NewKey {
    let secret = format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let hint = secret.get(secret.len() - 4..).unwrap_or_default().to_owned();
    NewKey { digest: KeyDigest::of(&secret), secret, hint }
}

/// Makes an id of a resource, `key_` and 26 characters say, out of random bits.
#[must_use]
pub fn generate_id(prefix: &str, random: [u8; 32]) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let letters = random.iter().take(26).map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
    format!("{prefix}_{}", letters.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_carry_all_bits_and_are_not_shown() {
        let key = generate_key([7; 32]);
        assert_eq!(key.secret.len(), KEY_PREFIX.len() + 43);
        assert_eq!(key.digest, KeyDigest::of(&key.secret));
        assert!(key.secret.ends_with(&key.hint));
        assert!(!format!("{key:?}").contains(&key.secret));
    }

    #[test]
    fn ids_have_their_prefix() {
        let id = generate_id("key", [255; 32]);
        assert_eq!(id, format!("key_{}", "z".repeat(26)));
    }
}
