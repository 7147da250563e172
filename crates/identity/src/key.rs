use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// SHA-256 of a key; the key itself is not kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of `key`.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// As 64 hexadecimal digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        use std::fmt::Write;
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// A digest kept in a configuration: 64 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut digest = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(digest))
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyDigest({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

/// Whoever a key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Name of the key, for logs.
    pub name: String,
    /// The routes it may call; `None`: all.
    pub models: Option<Vec<String>>,
}

impl Principal {
    /// Whether it may call the route.
    #[must_use]
    pub fn may_call(&self, route: &str) -> bool {
        self.models.as_ref().is_none_or(|models| models.iter().any(|model| model == route))
    }
}

/// The keys that are known.
#[derive(Debug, Default)]
pub struct KeyRing {
    principals: HashMap<KeyDigest, Arc<Principal>>,
}

impl KeyRing {
    /// Adds a key; `false` if it is there already.
    pub fn add(&mut self, digest: KeyDigest, principal: Principal) -> bool {
        self.principals.insert(digest, Arc::new(principal)).is_none()
    }

    /// Whom `key` stands for. Takes the same time whichever bytes of a wrong key are right: what
    /// is looked up is its digest, and the match is confirmed in constant time.
    #[must_use]
    pub fn identify(&self, key: &str) -> Option<&Arc<Principal>> {
        let digest = KeyDigest::of(key);
        let (known, principal) = self.principals.get_key_value(&digest)?;
        bool::from(known.0.ct_eq(&digest.0)).then_some(principal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_its_digest_alone() {
        let mut ring = KeyRing::default();
        let principal =
            Principal { name: "dev".to_owned(), models: Some(vec!["чат".to_owned()]) };
        let hex = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        assert_eq!(KeyDigest::of("secret"), KeyDigest::from_hex(hex).unwrap());
        assert!(ring.add(KeyDigest::of("secret"), principal));
        let found = ring.identify("secret").unwrap();
        assert!(found.may_call("чат") && !found.may_call("other"));
        assert!(ring.identify("secreT").is_none());
        assert!(!format!("{ring:?}").contains("537b1da3"));
    }

    #[test]
    fn broken_digests_are_refused() {
        for text in ["", "zz", &"g".repeat(64), &"é".repeat(32)] {
            assert!(KeyDigest::from_hex(text).is_none(), "{text}");
        }
    }
}
