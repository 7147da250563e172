//! What is done about what was found.

use std::collections::BTreeMap;

use chat::Sensitivity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::finding::{Category, Group};

/// What is done with personal data or a secret; later ones are stricter.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DataAction {
    /// Nothing.
    #[default]
    Allow,
    /// It is counted and logged.
    Flag,
    /// A placeholder stands for it outside, and it is put back into the answer.
    Pseudonymise,
    /// All but its last characters is hidden.
    Mask,
    /// A placeholder of its kind takes its place for good.
    Redact,
    /// The request, or the answer, is refused.
    Reject,
}

impl DataAction {
    /// Whether the text is changed.
    #[must_use]
    pub fn rewrites(self) -> bool {
        matches!(self, Self::Pseudonymise | Self::Mask | Self::Redact)
    }
}

/// What is done about an attack or unsafe content; later ones are stricter.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RiskAction {
    /// Nothing.
    #[default]
    Allow,
    /// It is logged.
    Log,
    /// It is counted and logged, and a header of the answer says so.
    Flag,
    /// The request is refused.
    Block,
    /// The request is refused, and so is what follows in the conversation.
    EndConversation,
}

impl RiskAction {
    /// Whether the request is refused.
    #[must_use]
    pub fn refuses(self) -> bool {
        self >= Self::Block
    }
}

/// How sure it is that a text is an attack.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Nothing speaks for it.
    #[default]
    None,
    /// Something speaks for it.
    Low,
    /// It may be one: the zone in which a judge is asked.
    Medium,
    /// It is one.
    High,
    /// It is one that does great harm.
    Critical,
}

impl Risk {
    /// Its name in logs and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What is done at each risk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RiskActions {
    /// Something speaks for an attack.
    pub low: RiskAction,
    /// It may be one.
    pub medium: RiskAction,
    /// It is one.
    pub high: RiskAction,
    /// It is one that does great harm.
    pub critical: RiskAction,
}

impl Default for RiskActions {
    fn default() -> Self {
        Self {
            low: RiskAction::Log,
            medium: RiskAction::Flag,
            high: RiskAction::Block,
            critical: RiskAction::EndConversation,
        }
    }
}

impl RiskActions {
    /// The same for every risk but none.
    #[must_use]
    pub fn all(action: RiskAction) -> Self {
        Self { low: action, medium: action, high: action, critical: action }
    }

    /// What is done at a risk.
    #[must_use]
    pub fn at(&self, risk: Risk) -> RiskAction {
        match risk {
            Risk::None => RiskAction::Allow,
            Risk::Low => self.low,
            Risk::Medium => self.medium,
            Risk::High => self.high,
            Risk::Critical => self.critical,
        }
    }

    fn stricter(self, other: Self) -> Self {
        Self {
            low: self.low.max(other.low),
            medium: self.medium.max(other.medium),
            high: self.high.max(other.high),
            critical: self.critical.max(other.critical),
        }
    }
}

/// What is done with personal data and secrets that go one way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataActions(BTreeMap<Category, DataAction>);

impl DataActions {
    /// The same for all of a group.
    pub fn set_group(&mut self, group: Group, action: DataAction) {
        for category in Category::ALL.into_iter().filter(|category| category.group() == group) {
            self.set(category, action);
        }
    }

    /// What is done with a category.
    pub fn set(&mut self, category: Category, action: DataAction) {
        self.0.insert(category, action);
    }

    /// What is done with a category.
    #[must_use]
    pub fn of(&self, category: Category) -> DataAction {
        self.0.get(&category).copied().unwrap_or_default()
    }

    /// Whether anything is done at all.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.0.values().all(|action| *action == DataAction::Allow)
    }

    fn stricter(&mut self, other: &Self) {
        for (category, action) in &other.0 {
            let own = self.0.entry(*category).or_default();
            *own = (*own).max(*action);
        }
    }
}

/// What may stand in the `system` role.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum SystemMessages {
    /// What the caller likes.
    #[default]
    Allow,
    /// Nothing: the callers are end users.
    Refuse,
}

/// How contents that no person of the conversation wrote (results of tools, documents) are set off,
/// so that the model does not take what stands in them for instructions (Hines et al. 2024).
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Spotlighting {
    /// Not at all.
    #[default]
    Off,
    /// Between marks that are different for each request.
    Delimit,
    /// With a mark that is different for each request between words.
    Mark,
    /// In base64; for models that read it well.
    Encode,
}

/// What the guard does for a request.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardPolicy {
    /// Its name in configuration and logs.
    pub name: String,
    /// Whether it acts; else it only finds, decides and logs.
    pub enforces: bool,
    /// Personal data and secrets on their way to a model.
    pub input: DataActions,
    /// Personal data and secrets on their way to the caller, but for what the caller sent.
    pub output: DataActions,
    /// From which confidence on a finding counts, 0 to 1.
    pub min_confidence: f32,
    /// Injections, jailbreaks, extraction of prompts.
    pub attacks: RiskActions,
    /// Requests for what harms.
    pub content: RiskActions,
    /// System messages of callers.
    pub system_messages: SystemMessages,
    /// Whether tokens of chat templates (`<|im_start|>`, `[INST]`) in contents are made harmless.
    pub neutralise_template_tokens: bool,
    /// How contents of tools and documents are set off.
    pub spotlighting: Spotlighting,
    /// Answers that give the system prompt away: by a secret word that is put into it, or by its own
    /// words. Only from [`RiskAction::Log`] on is anything put in or looked for.
    pub prompt_leaks: RiskAction,
    /// Whether the router must keep requests with personal data where it may be, by the class that
    /// the guard found.
    pub classifies: bool,
    /// Words, in small letters, that make a request as sensitive as this.
    pub markers: BTreeMap<String, Sensitivity>,
}

/// Names of the policies that are built in.
pub const BUILT_IN: [&str; 7] = ["off", "standard", "strict", "152-fz", "gdpr", "pci", "health"];

impl GuardPolicy {
    /// Does nothing.
    #[must_use]
    pub fn off() -> Self {
        Self {
            name: "off".to_owned(),
            enforces: true,
            input: DataActions::default(),
            output: DataActions::default(),
            min_confidence: 0.5,
            attacks: RiskActions::all(RiskAction::Allow),
            content: RiskActions::all(RiskAction::Allow),
            system_messages: SystemMessages::Allow,
            neutralise_template_tokens: false,
            spotlighting: Spotlighting::Off,
            prompt_leaks: RiskAction::Allow,
            classifies: false,
            markers: BTreeMap::new(),
        }
    }

    /// A policy that is built in, by its name.
    #[must_use]
    pub fn built_in(name: &str) -> Option<Self> {
        use Category as C;
        let mut policy = Self::off();
        name.clone_into(&mut policy.name);
        if name == "off" {
            return Some(policy);
        }
        policy.attacks = RiskActions::default();
        policy.content = RiskActions {
            low: RiskAction::Allow,
            medium: RiskAction::Log,
            high: RiskAction::Flag,
            critical: RiskAction::Block,
        };
        policy.neutralise_template_tokens = true;
        policy.input.set_group(Group::PersonalData, DataAction::Flag);
        policy.input.set_group(Group::Organisation, DataAction::Allow);
        policy.input.set_group(Group::Secret, DataAction::Redact);
        policy.output.set_group(Group::Secret, DataAction::Flag);
        policy.classifies = !matches!(name, "standard" | "pci");
        match name {
            "standard" => {}
            "strict" => {
                policy.attacks.medium = RiskAction::Block;
                policy.content.high = RiskAction::Block;
                policy.input.set_group(Group::PersonalData, DataAction::Redact);
                policy.input.set_group(Group::Secret, DataAction::Reject);
                policy.output.set_group(Group::PersonalData, DataAction::Redact);
                policy.output.set_group(Group::Secret, DataAction::Redact);
                policy.spotlighting = Spotlighting::Delimit;
                policy.prompt_leaks = RiskAction::Block;
            }
            // Federal law 152: personal data of citizens stays in the country; outside, placeholders.
            "152-fz" | "gdpr" => {
                policy.input.set_group(Group::PersonalData, DataAction::Pseudonymise);
                if name == "152-fz" {
                    policy.input.set_group(Group::Organisation, DataAction::Flag);
                }
                policy.output.set_group(Group::PersonalData, DataAction::Flag);
            }
            "pci" => {
                for card in [C::BankCard, C::BankAccount, C::Iban] {
                    policy.input.set(card, DataAction::Mask);
                    policy.output.set(card, DataAction::Mask);
                }
                policy.input.set_group(Group::Secret, DataAction::Reject);
            }
            "health" => {
                policy.input.set_group(Group::PersonalData, DataAction::Pseudonymise);
                for never in [C::MedicalPolicy, C::Snils, C::SocialSecurityNumber] {
                    policy.input.set(never, DataAction::Redact);
                    policy.output.set(never, DataAction::Redact);
                }
                policy.output.set_group(Group::PersonalData, DataAction::Flag);
                for never in [C::MedicalPolicy, C::Snils, C::SocialSecurityNumber] {
                    policy.output.set(never, DataAction::Redact);
                }
            }
            _ => return None,
        }
        Some(policy)
    }

    /// Whether nothing is looked for.
    #[must_use]
    pub fn is_off(&self) -> bool {
        let idle = RiskActions::all(RiskAction::Allow);
        self.input.is_idle()
            && self.output.is_idle()
            && self.attacks == idle
            && self.content == idle
            && self.system_messages == SystemMessages::Allow
            && !self.neutralise_template_tokens
            && self.spotlighting == Spotlighting::Off
            && self.prompt_leaks == RiskAction::Allow
    }

    /// Both at once, the stricter of each: a policy nearer to the request never allows more. One
    /// that only watches counts for nothing beside one that acts, unless that one does nothing; two
    /// act if either does.
    #[must_use]
    pub fn narrowed_by(&self, other: &Self) -> Self {
        if self.is_off() {
            return other.clone();
        }
        if !other.enforces && self.enforces {
            return self.clone();
        }
        let mut both = self.clone();
        if self.name != other.name {
            both.name = format!("{}+{}", self.name, other.name);
        }
        both.enforces = other.enforces || self.enforces;
        both.input.stricter(&other.input);
        both.output.stricter(&other.output);
        both.min_confidence = self.min_confidence.min(other.min_confidence);
        both.attacks = self.attacks.stricter(other.attacks);
        both.content = self.content.stricter(other.content);
        both.system_messages = self.system_messages.max(other.system_messages);
        both.neutralise_template_tokens |= other.neutralise_template_tokens;
        both.spotlighting = self.spotlighting.max(other.spotlighting);
        both.prompt_leaks = self.prompt_leaks.max(other.prompt_leaks);
        both.classifies |= other.classifies;
        for (marker, sensitivity) in &other.markers {
            let own = both.markers.entry(marker.clone()).or_insert(*sensitivity);
            *own = (*own).max(*sensitivity);
        }
        both
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_policy_is_there() {
        for name in BUILT_IN {
            let policy = GuardPolicy::built_in(name).unwrap();
            assert_eq!((policy.name.as_str(), policy.is_off()), (name, name == "off"));
        }
        assert!(GuardPolicy::built_in("mine").is_none());
    }

    #[test]
    fn a_policy_is_only_ever_narrowed() {
        let strict = GuardPolicy::built_in("strict").unwrap();
        let law = GuardPolicy::built_in("152-fz").unwrap();
        for both in [strict.narrowed_by(&law), law.narrowed_by(&strict)] {
            assert_eq!(both.input.of(Category::Phone), DataAction::Redact);
            assert_eq!(both.input.of(Category::ApiKey), DataAction::Reject);
            assert_eq!(both.attacks.medium, RiskAction::Block);
        }
        let off = GuardPolicy::off();
        assert_eq!(strict.narrowed_by(&off).input, strict.input);
    }

    #[test]
    fn watching_weakens_nothing() {
        let law = GuardPolicy::built_in("152-fz").unwrap();
        let mut watching = GuardPolicy::built_in("strict").unwrap();
        watching.enforces = false;
        assert_eq!(law.narrowed_by(&watching), law);
        assert!(watching.narrowed_by(&law).enforces);
        assert_eq!(GuardPolicy::off().narrowed_by(&watching), watching);
    }
}
