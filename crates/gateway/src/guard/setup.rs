use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use guarding::Inspector;
use guarding::policy::GuardPolicy;
use identity::Principal;
use parking_lot::Mutex;
use ring::hmac;

use crate::snapshot::Route;

/// Most combinations of policies that are kept ready.
const MOST_COMBINED: usize = 1_024;
/// Most conversations that are remembered as ended.
const MOST_ENDED: usize = 100_000;

/// What a guard is made of.
#[derive(Debug)]
pub struct GuardSetupOptions {
    /// Detectors.
    pub inspector: Inspector,
    /// The policy of all requests.
    pub general: GuardPolicy,
    /// All policies by name.
    pub policies: BTreeMap<String, GuardPolicy>,
    /// By what placeholders are made.
    pub pseudonym_key: Arc<[u8]>,
    /// Most bytes of text of a request.
    pub max_text_bytes: usize,
    /// For how long a conversation stays ended.
    pub ended_ttl: Duration,
}

/// The guard as it is configured.
#[derive(Debug)]
pub struct GuardSetup {
    pub(super) inspector: Inspector,
    general: Arc<GuardPolicy>,
    policies: BTreeMap<String, Arc<GuardPolicy>>,
    combined: Mutex<HashMap<Vec<String>, Arc<GuardPolicy>>>,
    pub(super) pseudonym_key: Arc<[u8]>,
    pub(super) max_text_bytes: usize,
    ended_ttl: Duration,
    ended: Mutex<HashMap<[u8; 32], Instant>>,
}

impl GuardSetup {
    /// A guard.
    #[must_use]
    pub fn new(options: GuardSetupOptions) -> Self {
        let policies = options.policies.into_iter();
        Self {
            inspector: options.inspector,
            general: Arc::new(options.general),
            policies: policies.map(|(name, policy)| (name, Arc::new(policy))).collect(),
            combined: Mutex::default(),
            pseudonym_key: options.pseudonym_key,
            max_text_bytes: options.max_text_bytes,
            ended_ttl: options.ended_ttl,
            ended: Mutex::default(),
        }
    }

    /// Takes over which conversations are ended.
    #[must_use]
    pub fn continuing(self, before: Option<&Self>) -> Self {
        if let Some(before) = before {
            *self.ended.lock() = before.ended.lock().clone();
        }
        self
    }

    /// By what placeholders are made.
    #[must_use]
    pub fn pseudonym_key(&self) -> Arc<[u8]> {
        Arc::clone(&self.pseudonym_key)
    }

    /// Its detectors.
    #[must_use]
    pub fn inspector(&self) -> &Inspector {
        &self.inspector
    }

    /// The policy of a name; the general one without a name.
    #[must_use]
    pub fn named(&self, name: Option<&str>) -> Option<Arc<GuardPolicy>> {
        match name {
            None => Some(Arc::clone(&self.general)),
            Some(name) => self.policies.get(name).cloned(),
        }
    }

    /// The policy of a request: the general one, narrowed by those of the route and of each level of
    /// the caller. A name that is not known any more stands for the strictest policy.
    pub(super) fn policy(&self, route: &Route, principal: Option<&Principal>) -> Arc<GuardPolicy> {
        let levels = principal.into_iter().flat_map(Principal::guard_policies);
        let mut names = route.guard.as_deref().into_iter().chain(levels).peekable();
        if names.peek().is_none() {
            return Arc::clone(&self.general);
        }
        let names: Vec<String> = names.map(str::to_owned).collect();
        if let Some(known) = self.combined.lock().get(&names) {
            return Arc::clone(known);
        }
        let mut policy = GuardPolicy::clone(&self.general);
        for name in &names {
            policy = match self.policies.get(name) {
                Some(other) => policy.narrowed_by(other),
                None => {
                    tracing::error!(
                        event = "guard_policy_unknown",
                        guard_policy = name,
                        "there is no such guard policy; the strictest counts"
                    );
                    GuardPolicy::built_in("strict")
                        .map_or_else(|| policy.clone(), |strict| policy.narrowed_by(&strict))
                }
            };
        }
        let policy = Arc::new(policy);
        let mut combined = self.combined.lock();
        if combined.len() >= MOST_COMBINED {
            combined.clear();
        }
        combined.insert(names, Arc::clone(&policy));
        policy
    }

    /// A word for a request that nobody outside can foresee.
    pub(super) fn mark(&self, request_id: &str) -> String {
        let tag = self.conversation(request_id.as_bytes());
        tag.iter().take(5).map(|byte| format!("{byte:02X}")).collect()
    }

    /// A conversation by its name, in a form that gives nothing away.
    pub(super) fn conversation(&self, name: &[u8]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.pseudonym_key);
        let tag = hmac::sign(&key, name);
        let mut id = [0; 32];
        id.copy_from_slice(tag.as_ref());
        id
    }

    pub(super) fn end(&self, conversation: [u8; 32]) {
        let mut ended = self.ended.lock();
        let now = Instant::now();
        if ended.len() >= MOST_ENDED {
            ended.retain(|_, until| *until > now);
        }
        ended.insert(conversation, now + self.ended_ttl);
    }

    pub(super) fn is_ended(&self, conversation: &[u8; 32]) -> bool {
        let ended = self.ended.lock();
        ended.get(conversation).is_some_and(|until| *until > Instant::now())
    }
}
