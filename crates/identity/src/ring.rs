use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::{DirectoryView, KeyDigest, Principal, Refusal, Rotation, RotationPolicy, StaticKey};

/// What a caller shows.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// The key.
    pub key: &'a str,
    /// The time, milliseconds since 1970.
    pub now_ms: i64,
    /// Where it calls from; `None`: not known, which passes only where no addresses are listed.
    pub address: Option<IpAddr>,
}

impl std::fmt::Debug for Presented<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Presented").field("now_ms", &self.now_ms).finish_non_exhaustive()
    }
}

/// The keys of the configuration, and what it demands of those in the directory.
#[derive(Debug, Default)]
pub struct KeyRing {
    fixed: HashMap<KeyDigest, Arc<StaticKey>>,
    rotation: Option<RotationPolicy>,
}

impl KeyRing {
    /// Adds a key of the configuration; `false` if it is there already.
    pub fn add(&mut self, digest: KeyDigest, key: StaticKey) -> bool {
        self.fixed.insert(digest, Arc::new(key)).is_none()
    }

    /// Sets how old secrets of virtual keys may become; `None`: as old as they like.
    pub fn set_rotation(&mut self, policy: Option<RotationPolicy>) {
        self.rotation = policy;
    }

    /// Whom the key stands for. Takes the same time whichever bytes of a wrong key are right: what
    /// is looked up is its digest, and the match is confirmed in constant time. Keys of the
    /// configuration go before those of the directory.
    ///
    /// # Errors
    ///
    /// Why the caller is refused.
    pub fn identify(
        &self,
        directory: Option<&DirectoryView>,
        presented: &Presented<'_>,
    ) -> Result<Principal, Refusal> {
        let digest = KeyDigest::of(presented.key);
        if let Some((known, key)) = self.fixed.get_key_value(&digest)
            && known.matches(&digest)
        {
            return Principal::of_static(Arc::clone(key), presented.address);
        }
        let directory = directory.ok_or(Refusal::Unknown)?;
        let key = directory.key_by_digest(&digest).ok_or(Refusal::Unknown)?;
        let superseded = key.digest != digest;
        if superseded {
            let valid_until = key.previous.as_deref().map_or(i64::MIN, |previous| previous.1);
            if presented.now_ms >= valid_until {
                return Err(Refusal::Unknown);
            }
        }
        let rotation = self.rotation.filter(|_| !superseded);
        let judged = rotation.map(|policy| policy.judge(key.issued_ms, presented.now_ms));
        let judged = judged.unwrap_or(Rotation::Fresh);
        let principal = Principal::of_key(key, directory, judged, superseded, presented.address)?;
        if key.expires_ms.is_some_and(|expires| presented.now_ms >= expires) {
            return Err(Refusal::Expired);
        }
        if rotation.is_some_and(|policy| policy.refuses(key.issued_ms, presented.now_ms)) {
            return Err(Refusal::RotationDue);
        }
        Ok(principal)
    }
}

#[cfg(test)]
#[path = "tests/ring.rs"]
mod tests;
