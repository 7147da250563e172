use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::KeyDigest;

const PREFIX: &str = "sk-llmp-";
/// Characters of 32 bytes in base64url.
const BODY: usize = 43;
/// Characters of the checksum: four bytes in base64url.
const CHECKSUM: usize = 6;

/// A key that was just made. The only place where its secret exists.
pub struct NewKey {
    /// What the application presents: `sk-llmp-`, 256 random bits in base64url, six characters of
    /// checksum. To be shown once.
    pub secret: String,
    /// What is kept.
    pub digest: KeyDigest,
    /// The last four characters, to recognise it by; they are of the checksum.
    pub hint: String,
}

impl std::fmt::Debug for NewKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("NewKey").field("hint", &self.hint).finish_non_exhaustive()
    }
}

/// A virtual key of 32 bytes from a cryptographic source of randomness.
#[must_use]
pub fn generate_key(random: [u8; 32]) -> NewKey {
    let mut secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let checksum = checksum(&secret);
    secret.push_str(&checksum);
    let hint = checksum.get(CHECKSUM - 4..).unwrap_or_default().to_owned();
    NewKey { digest: KeyDigest::of(&secret), secret, hint }
}

/// Whether `text` has the form and the checksum of a key made by [`generate_key`]: for scanners of
/// leaked secrets, and to tell a mistyped key from a revoked one. It says nothing about whether the
/// key is known.
#[must_use]
pub fn is_well_formed_key(text: &str) -> bool {
    let length = PREFIX.len() + BODY;
    text.len() == length + CHECKSUM
        && text.starts_with(PREFIX)
        && text.split_at_checked(length).is_some_and(|(body, sum)| checksum(body) == sum)
}

fn checksum(body: &str) -> String {
    let digest = Sha256::digest(body.as_bytes());
    URL_SAFE_NO_PAD.encode(digest.get(..4).unwrap_or_default())
}

/// An id such as `key_3f...`: the prefix, an underscore, 128 bits in 26 characters of Crockford's
/// base32 in lower case. `random` comes from a cryptographic source, so that ids cannot be guessed.
#[must_use]
pub fn generate_id(prefix: &str, random: [u8; 16]) -> String {
    format!("{prefix}_{}", base32(u128::from_be_bytes(random)))
}

/// An id like those of [`generate_id`] of which the first 48 bits are the time (milliseconds since
/// 1970) and 80 bits random: later ones sort behind earlier ones.
#[must_use]
pub fn generate_ordered_id(prefix: &str, now_ms: i64, random: [u8; 16]) -> String {
    let time = u128::from(now_ms.max(0).unsigned_abs() & 0xffff_ffff_ffff) << 80;
    let random = u128::from_be_bytes(random) & ((1 << 80) - 1);
    format!("{prefix}_{}", base32(time | random))
}

fn base32(value: u128) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let digits = (0..26).rev().map(|place| (value >> (5 * place) & 31) as usize);
    digits.filter_map(|digit| DIGITS.get(digit)).map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_carries_256_bits_and_a_checksum() {
        let key = generate_key([7; 32]);
        assert_eq!(key.secret.len(), 57);
        let body = key.secret.strip_prefix("sk-llmp-").unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(&body[..43]).unwrap(), [7; 32]);
        assert!(key.secret.ends_with(&key.hint) && key.hint.len() == 4);
        assert_eq!(key.digest, KeyDigest::of(&key.secret));
        assert!(is_well_formed_key(&key.secret));
        assert!(!format!("{key:?}").contains(body));
        assert_ne!(generate_key([8; 32]).secret, key.secret);
    }

    #[test]
    fn a_mistyped_key_is_told_by_its_checksum() {
        let secret = generate_key([7; 32]).secret;
        for position in 0..secret.len() {
            let mut wrong = secret.clone();
            let other = if &wrong[position..=position] == "x" { "y" } else { "x" };
            wrong.replace_range(position..=position, other);
            assert!(!is_well_formed_key(&wrong), "{position}");
        }
        for text in ["", "sk-llmp-", "я", &"я".repeat(40), &secret[1..], &format!("{secret}A")] {
            assert!(!is_well_formed_key(text), "{text}");
        }
        // 57 bytes with a character across the border of the checksum.
        assert!(!is_well_formed_key(&format!("sk-llmp-{}я{}", "a".repeat(42), "a".repeat(5))));
    }

    #[test]
    fn ids_keep_all_bits_and_ordered_ones_sort_by_time() {
        assert_eq!(generate_id("key", [0; 16]), "key_00000000000000000000000000");
        assert_eq!(generate_id("key", [255; 16]), "key_7zzzzzzzzzzzzzzzzzzzzzzzzz");
        let mut one_bit = [0; 16];
        one_bit[15] = 1;
        assert_ne!(generate_id("key", one_bit), generate_id("key", [0; 16]));
        let earlier = generate_ordered_id("bud", 1_764_000_000_000, [255; 16]);
        let later = generate_ordered_id("bud", 1_764_000_000_001, [0; 16]);
        assert!(earlier < later, "{earlier} {later}");
        assert_eq!(earlier.len(), later.len());
        assert!(generate_ordered_id("bud", -1, [0; 16]) < earlier);
    }
}
