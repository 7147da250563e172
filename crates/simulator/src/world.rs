//! The simulated world: seed, profile, accounts and memory shared by all connections.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, RwLock};

use crate::access_tokens::AccessTokens;
use crate::bill::Bill;
use crate::draw::{Draw, stable_hash};
use crate::profile::{Profile, RateLimit};
use crate::providers::Provider;
use crate::request_log::RequestLog;
use crate::text::Canned;

pub(crate) type WorldHandle = Arc<World>;

pub(crate) struct World {
    pub(crate) seed: u64,
    profile: RwLock<Arc<Profile>>,
    pub(crate) bill: Bill,
    pub(crate) requests: RequestLog,
    pub(crate) tokens: AccessTokens,
    pub(crate) canned: Canned,
    arrivals: AtomicU64,
    /// Seconds added to the system's time, so that a test can let tokens expire.
    clock_offset_s: AtomicU64,
    keys: Mutex<HashMap<(Provider, String), KeyState>>,
    expired_once: Mutex<HashSet<u64>>,
    /// Files uploaded to providers that have such.
    pub(crate) files: Mutex<HashMap<String, UploadedFile>>,
    /// Service accounts' public keys that the Yandex identity service knows.
    pub(crate) iam_keys: crate::providers::yandex::Keys,
}

/// A file in a provider's store.
#[derive(Clone, Debug)]
pub(crate) struct UploadedFile {
    pub(crate) provider: Provider,
    pub(crate) filename: String,
    pub(crate) content_type: String,
    pub(crate) bytes: usize,
    pub(crate) purpose: String,
    /// Unix seconds.
    pub(crate) created_at: u64,
}

#[derive(Default)]
struct KeyState {
    ordinal: u64,
    minute: u64,
    requests: u64,
    tokens: u64,
}

/// Where a key stands against its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub(crate) allowed: bool,
    pub(crate) requests_limit: u64,
    pub(crate) requests_left: u64,
    pub(crate) tokens_limit: u64,
    pub(crate) tokens_left: u64,
    /// Seconds until the window starts anew.
    pub(crate) reset_s: u64,
}

const DEFAULT_REQUESTS_PER_MINUTE: u64 = 10_000;
const DEFAULT_TOKENS_PER_MINUTE: u64 = 2_000_000;

impl World {
    pub(crate) fn new(seed: Option<u64>, profile: Profile) -> Self {
        let seed = seed.or(profile.seed).unwrap_or(1);
        Self {
            seed,
            bill: Bill::default(),
            requests: RequestLog::new(profile.request_log.unwrap_or(1000)),
            tokens: AccessTokens::default(),
            canned: Canned::new(),
            arrivals: AtomicU64::new(0),
            clock_offset_s: AtomicU64::new(0),
            keys: Mutex::default(),
            expired_once: Mutex::default(),
            files: Mutex::default(),
            iam_keys: crate::providers::yandex::Keys::default(),
            profile: RwLock::new(Arc::new(profile)),
        }
    }

    pub(crate) fn profile(&self) -> Arc<Profile> {
        self.profile.read().clone()
    }

    pub(crate) fn set_profile(&self, profile: Profile) {
        *self.profile.write() = Arc::new(profile);
    }

    /// Unix seconds, as the world's clock has them.
    pub(crate) fn now(&self) -> u64 {
        let system = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
        system + self.clock_offset_s.load(Ordering::Relaxed)
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock_offset_s.fetch_add(seconds, Ordering::Relaxed);
    }

    pub(crate) fn next_arrival(&self) -> u64 {
        self.arrivals.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether a plain API key is accepted.
    pub(crate) fn accepts_key(&self, key: &str) -> bool {
        match &self.profile.read().keys {
            Some(keys) => keys.iter().any(|known| known == key),
            None => key.starts_with("sim"),
        }
    }

    /// Whether `provider` has `model`: as the profile lists them; without a list, every model
    /// whose name does not start with `no-such`.
    pub(crate) fn knows_model(&self, provider: Provider, model: &str) -> bool {
        match self.profile.read().models.get(&provider) {
            Some(models) => models.iter().any(|known| known == model),
            None => !model.is_empty() && !model.starts_with("no-such"),
        }
    }

    /// Life of issued tokens in seconds; `usual` is the provider's own.
    pub(crate) fn token_ttl_s(&self, usual: u64) -> u64 {
        self.profile.read().token_ttl_s.unwrap_or(usual)
    }

    /// The randomness of this key's next request: a function of seed, key and its ordinal.
    pub(crate) fn draw_for(&self, provider: Provider, key: &str) -> Draw {
        let mut keys = self.keys.lock();
        let state = keys.entry((provider, key.to_owned())).or_default();
        let ordinal = state.ordinal;
        state.ordinal += 1;
        Draw::new(self.seed)
            .branch(provider as u64)
            .branch(stable_hash(key.as_bytes()))
            .branch(ordinal)
    }

    /// Counts a request of `tokens` tokens against the key's limits.
    pub(crate) fn admit(&self, provider: Provider, key: &str, tokens: u64) -> Allowance {
        let limit: Option<RateLimit> = self.profile.read().rate_limit;
        let configured = limit.unwrap_or_default();
        let requests_limit = configured.requests_per_minute.unwrap_or(DEFAULT_REQUESTS_PER_MINUTE);
        let tokens_limit = configured.tokens_per_minute.unwrap_or(DEFAULT_TOKENS_PER_MINUTE);
        let Some(limit) = limit else {
            return Allowance {
                allowed: true,
                requests_limit,
                requests_left: requests_limit.saturating_sub(1),
                tokens_limit,
                tokens_left: tokens_limit.saturating_sub(tokens),
                reset_s: 1,
            };
        };
        let now = self.now();
        let mut keys = self.keys.lock();
        let state = keys.entry((provider, key.to_owned())).or_default();
        if state.minute != now / 60 {
            (state.minute, state.requests, state.tokens) = (now / 60, 0, 0);
        }
        let allowed = limit.requests_per_minute.is_none_or(|most| state.requests < most)
            && limit.tokens_per_minute.is_none_or(|most| state.tokens + tokens <= most);
        if allowed {
            state.requests += 1;
            state.tokens += tokens;
        }
        Allowance {
            allowed,
            requests_limit,
            requests_left: requests_limit.saturating_sub(state.requests),
            tokens_limit,
            tokens_left: tokens_limit.saturating_sub(state.tokens),
            reset_s: 60 - now % 60,
        }
    }

    /// True the first, third, ... time for the same text: `expired_token` fails once, then a
    /// retry succeeds.
    pub(crate) fn expires_now(&self, provider: Provider, text: &str) -> bool {
        let id = stable_hash(text.as_bytes()) ^ provider as u64;
        let mut seen = self.expired_once.lock();
        if seen.remove(&id) {
            return false;
        }
        seen.insert(id)
    }

    /// Forgets accounts, requests, tokens, counters and files; keeps seed, profile and clock.
    pub(crate) fn reset(&self) {
        self.bill.clear();
        self.requests.clear();
        self.tokens.clear();
        self.keys.lock().clear();
        self.expired_once.lock().clear();
        self.files.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_depend_on_seed_key_and_ordinal_only() {
        let worlds = [7, 7, 8].map(|seed| World::new(Some(seed), Profile::default()));
        let first = worlds.each_ref().map(|w| w.draw_for(Provider::OpenAi, "sim-a").hex(16));
        assert_eq!(first[0], first[1]);
        assert_ne!(first[0], first[2]);
        assert_ne!(worlds[0].draw_for(Provider::OpenAi, "sim-a").hex(16), first[0]);
        worlds[1].draw_for(Provider::OpenAi, "sim-b");
        worlds[1].reset();
        assert_eq!(worlds[1].draw_for(Provider::OpenAi, "sim-a").hex(16), first[0]);
    }

    #[test]
    fn a_rate_limit_refuses_and_opens_again() {
        let profile = Profile::parse("rate_limit: {requests_per_minute: 2}").expect("profile");
        let world = World::new(None, profile);
        let admit = || world.admit(Provider::OpenAi, "sim", 10);
        assert!(admit().allowed);
        assert!(admit().allowed);
        let refused = admit();
        assert!(!refused.allowed && refused.requests_left == 0 && refused.reset_s <= 60);
        world.advance(60);
        assert!(admit().allowed);
    }

    #[test]
    fn an_expired_token_fails_once_per_retry_pair() {
        let world = World::new(None, Profile::default());
        let expired = || world.expires_now(Provider::GigaChat, "текст");
        assert_eq!([expired(), expired(), expired()], [true, false, true]);
    }
}
