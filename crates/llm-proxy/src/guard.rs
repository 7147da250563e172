use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use config::Config;
use gateway::{Gateway, GuardSetup, GuardSetupOptions, Snapshot};
use guarding::attacks::AttackDetectors;
use guarding::policy::GuardPolicy;
use guarding::{Channel, Exceptions, Inspected, Inspector, ScanReport};
use ring::rand::{SecureRandom, SystemRandom};

use crate::compose::ComposeError;

/// The guard of a configuration. One that runs hands over which conversations are ended, and its key
/// where none is configured.
pub(crate) fn setup(
    config: &Config,
    before: Option<&Snapshot>,
) -> Result<Arc<GuardSetup>, ComposeError> {
    let guard = &config.guard;
    let before = before.and_then(|before| before.guard.as_deref());
    let policy = |name: &str| {
        guard.policy(name).map_err(|fault| format!("guard: policy `{name}`: {}", fault.message))
    };
    let policies: BTreeMap<String, GuardPolicy> = guard
        .policy_names()
        .map(|name| Ok((name.to_owned(), policy(name)?)))
        .collect::<Result<_, ComposeError>>()?;
    let pseudonym_key = match &guard.pseudonym_key {
        Some(key) => key.expose().as_bytes().into(),
        None => before.map_or_else(random_key, |before| Ok(before.pseudonym_key()))?,
    };
    let options = GuardSetupOptions {
        inspector: inspector(guard)?,
        general: policy(&guard.policy)?,
        policies,
        pseudonym_key,
        max_text_bytes: guard.max_text_bytes,
        ended_ttl: Duration::from_secs(guard.ended_conversation_ttl_s),
    };
    Ok(Arc::new(GuardSetup::new(options).continuing(before)))
}

/// The detectors of a configuration.
pub(crate) fn inspector(guard: &config::Guard) -> Result<Inspector, ComposeError> {
    let mut packs = Vec::new();
    for file in &guard.packs {
        let text = std::fs::read_to_string(file)
            .map_err(|error| format!("guard.packs: {}: {error}", file.display()))?;
        packs.push((file.display().to_string(), text));
    }
    let attacks = AttackDetectors::with_packs(&packs)?;
    let allow = &guard.allow;
    Ok(Inspector::new(attacks, Exceptions::new(&allow.rules, &allow.texts)))
}

fn random_key() -> Result<Arc<[u8]>, ComposeError> {
    let mut key = [0; 32];
    SystemRandom::new()
        .fill(&mut key)
        .map_err(|_| "the system gives no random numbers".to_owned())?;
    Ok(Arc::new(key))
}

/// What the admin API tells of the guard.
pub(crate) struct GuardOverview(pub(crate) Arc<Gateway>);

impl admin::GuardTest for GuardOverview {
    fn test(
        &self,
        policy: Option<&str>,
        channel: Channel,
        text: &str,
    ) -> Result<ScanReport, String> {
        let snapshot = self.0.snapshot();
        let guard = snapshot.guard.as_deref().ok_or("there is no guard")?;
        let policy = guard.named(policy).ok_or_else(|| {
            let asked = policy.unwrap_or_default();
            format!("there is no guard policy `{asked}`; add it under `guard.policies`")
        })?;
        Ok(guard.inspector().scan(Inspected { channel, text }, &policy))
    }
}
