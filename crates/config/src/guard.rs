use std::collections::BTreeMap;
use std::path::PathBuf;

use chat::Sensitivity;
use guarding::Category;
use guarding::finding::Group;
use guarding::policy::{
    BUILT_IN, DataAction, DataActions, GuardPolicy, RiskAction, RiskActions, Spotlighting,
    SystemMessages,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fault::nearest;
use crate::secret::Secret;
use crate::semantics::Checker;
use crate::types::Config;

/// What is looked for in requests and answers, and what is done about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Guard {
    /// The policy of all requests: `off`, `standard`, `strict`, `152-fz`, `gdpr`, `pci`, `health`,
    /// or one of `policies`. Models, tenants, teams, users and keys may name another one, which
    /// only ever narrows this one.
    pub policy: String,
    /// Policies of your own, by name.
    pub policies: BTreeMap<String, GuardPolicyOptions>,
    /// Files with packs of patterns beside those that are built in. They are read again when they
    /// change.
    pub packs: Vec<PathBuf>,
    /// What never counts as found: ids of rules and names of kinds, or literal texts.
    pub allow: AllowList,
    /// Secret of at least 16 bytes by which placeholders are made; the same on all replicas, so that
    /// a conversation has the same placeholders everywhere. Without it each process makes its own.
    pub pseudonym_key: Option<Secret>,
    /// Most bytes of text of a request that are looked at; longer requests are refused.
    #[schemars(range(min = 1024, max = 1_073_741_824))]
    pub max_text_bytes: usize,
    /// Seconds for which a conversation that was ended by the guard stays so.
    #[schemars(range(min = 1, max = 604_800))]
    pub ended_conversation_ttl_s: u64,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            policy: "off".to_owned(),
            policies: BTreeMap::new(),
            packs: Vec::new(),
            allow: AllowList::default(),
            pseudonym_key: None,
            max_text_bytes: 16 << 20,
            ended_conversation_ttl_s: 3600,
        }
    }
}

/// What never counts as found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AllowList {
    /// Ids of rules, as detections name them.
    pub rules: Vec<String>,
    /// Texts that are no personal data and no secret: the company's own phone, say. Compared without
    /// regard to case and spaces.
    pub texts: Vec<String>,
}

/// Whether a policy acts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GuardMode {
    /// It acts.
    #[default]
    Enforce,
    /// It finds, decides and logs only.
    Shadow,
}

/// A policy of the guard: what differs from the one that it extends.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GuardPolicyOptions {
    /// The policy that it begins from; `standard` if left out.
    pub extends: Option<String>,
    /// Whether it acts.
    pub mode: GuardMode,
    /// Personal data and secrets on their way to a model: by kind (`phone`, `snils`, ...) or group
    /// (`personal_data`, `organisation`, `secret`).
    pub input: BTreeMap<String, DataAction>,
    /// Personal data and secrets in answers, but for what the caller sent.
    pub output: BTreeMap<String, DataAction>,
    /// From which confidence on a finding counts, 0 to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_confidence: Option<f64>,
    /// Injections, jailbreaks, extraction of prompts, by risk.
    pub attacks: Option<RiskActions>,
    /// Requests for what harms, by risk.
    pub content: Option<RiskActions>,
    /// Whether callers may send system messages.
    pub system_messages: Option<SystemMessages>,
    /// Whether tokens of chat templates in contents are made harmless.
    pub neutralise_template_tokens: Option<bool>,
    /// How results of tools and documents are set off.
    pub spotlighting: Option<Spotlighting>,
    /// Whole answers that give the system prompt away, by a secret word that is put into it (plain,
    /// spaced, reversed, in hex, base64 or rot13) or by long runs of its own words.
    pub prompt_leaks: Option<RiskAction>,
    /// Whether the router must keep requests with personal data that is not taken out of them where
    /// they may be, as `sensitive`, and those with secrets as `confidential`.
    pub classify: Option<bool>,
    /// Words that make a request as sensitive as this, `confidential: ["коммерческая тайна"]` say.
    pub markers: BTreeMap<String, Vec<String>>,
}

/// A policy that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardFault {
    /// Key within the policy, empty for the policy itself.
    pub key: String,
    /// What is wrong, and the remedy.
    pub message: String,
}

impl Guard {
    /// The policy of a name.
    ///
    /// # Errors
    /// When it does not exist or is at odds with itself.
    pub fn policy(&self, name: &str) -> Result<GuardPolicy, GuardFault> {
        self.resolved(name, 0)
    }

    /// Names of all policies.
    pub fn policy_names(&self) -> impl Iterator<Item = &str> {
        BUILT_IN.into_iter().chain(self.policies.keys().map(String::as_str))
    }

    fn resolved(&self, name: &str, depth: usize) -> Result<GuardPolicy, GuardFault> {
        let fault = |key: &str, message: String| GuardFault { key: key.to_owned(), message };
        let Some(options) = self.policies.get(name) else {
            return GuardPolicy::built_in(name).ok_or_else(|| {
                let hint = match nearest(name, self.policy_names()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => "add it under `guard.policies`".to_owned(),
                };
                fault("", format!("there is no guard policy `{name}`; {hint}"))
            });
        };
        if depth > self.policies.len() {
            let message = "policies extend each other in a circle; let one extend a built-in one";
            return Err(fault("extends", message.to_owned()));
        }
        let base = options.extends.as_deref().unwrap_or("standard");
        let mut policy =
            self.resolved(base, depth + 1).map_err(|inner| match inner.key.as_str() {
                "" | "extends" => fault("extends", inner.message),
                _ => inner,
            })?;
        name.clone_into(&mut policy.name);
        policy.enforces = options.mode == GuardMode::Enforce;
        for (list, given, actions) in [
            ("input", &options.input, &mut policy.input),
            ("output", &options.output, &mut policy.output),
        ] {
            apply(given, actions)
                .map_err(|(key, message)| fault(&format!("{list}.{key}"), message))?;
        }
        if let Some(least) = options.min_confidence {
            policy.min_confidence = least as f32;
        }
        policy.attacks = options.attacks.unwrap_or(policy.attacks);
        policy.content = options.content.unwrap_or(policy.content);
        for (key, actions) in [("attacks", &policy.attacks), ("content", &policy.content)] {
            let RiskActions { low, medium, high, critical } = *actions;
            if !(low <= medium && medium <= high && high <= critical) {
                let message = "a higher risk must not be treated more mildly than a lower one";
                return Err(fault(key, message.to_owned()));
            }
            if low >= RiskAction::Block {
                let message = "`low` cannot block: nearly every text has something that speaks for \
                               an attack; block from `medium` on";
                return Err(fault(key, message.to_owned()));
            }
        }
        policy.system_messages = options.system_messages.unwrap_or(policy.system_messages);
        policy.neutralise_template_tokens =
            options.neutralise_template_tokens.unwrap_or(policy.neutralise_template_tokens);
        policy.spotlighting = options.spotlighting.unwrap_or(policy.spotlighting);
        policy.prompt_leaks = options.prompt_leaks.unwrap_or(policy.prompt_leaks);
        policy.classifies = options.classify.unwrap_or(policy.classifies);
        for (word, texts) in &options.markers {
            let Some(sensitivity) = Sensitivity::parse(word) else {
                let message = format!(
                    "`{word}` is no sensitivity; use public, internal, confidential or sensitive"
                );
                return Err(fault("markers", message));
            };
            let named = texts.iter().filter(|text| !text.trim().is_empty());
            policy.markers.extend(named.map(|text| (text.trim().to_lowercase(), sensitivity)));
        }
        Ok(policy)
    }
}

fn apply(
    given: &BTreeMap<String, DataAction>,
    actions: &mut DataActions,
) -> Result<(), (String, String)> {
    const GROUPS: [(&str, Group); 3] = [
        ("personal_data", Group::PersonalData),
        ("organisation", Group::Organisation),
        ("secret", Group::Secret),
    ];
    for (key, action) in given {
        if let Some((_, group)) = GROUPS.into_iter().find(|(name, _)| name == key) {
            actions.set_group(group, *action);
        }
    }
    // Kinds after groups: the nearer word counts.
    for (key, action) in given {
        let category = Category::ALL.into_iter().find(|category| category.name() == key);
        if let Some(category) = category {
            actions.set(category, *action);
        } else if !GROUPS.iter().any(|(name, _)| name == key) {
            let names = Category::ALL.into_iter().map(Category::name);
            let known = names.chain(GROUPS.into_iter().map(|(name, _)| name));
            let hint = match nearest(key, known) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "docs/guard.md lists the kinds".to_owned(),
            };
            return Err((key.clone(), format!("`{key}` is no kind of data; {hint}")));
        }
    }
    Ok(())
}

impl Checker<'_> {
    pub(crate) fn guard(&mut self, config: &Config) {
        let guard = &config.guard;
        for name in guard.policies.keys() {
            if BUILT_IN.contains(&name.as_str()) {
                let message = format!("`{name}` is built in; give your policy another name");
                self.fault(&format!("guard.policies.{name}"), message);
            } else if let Err(fault) = guard.policy(name) {
                let inner = if fault.key.is_empty() { "extends" } else { &fault.key };
                self.fault(&format!("guard.policies.{name}.{inner}"), fault.message);
            }
        }
        let known = |name: &str| guard.policy_names().any(|known| known == name);
        if !known(&guard.policy)
            && let Err(fault) = guard.policy(&guard.policy)
        {
            self.fault("guard.policy", fault.message);
        }
        for (number, model) in config.models.iter().enumerate() {
            if let Some(name) = model.guard.as_deref().filter(|name| !known(name))
                && let Err(fault) = guard.policy(name)
            {
                self.fault(&format!("models[{number}].guard"), fault.message);
            }
        }
        let short = |key: &Secret| key.expose().len() < 16;
        if guard.pseudonym_key.as_ref().is_some_and(short) {
            self.fault(
                "guard.pseudonym_key",
                "must have at least 16 bytes; `openssl rand -hex 32` makes a good one",
            );
        }
    }
}
