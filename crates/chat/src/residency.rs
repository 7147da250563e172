use serde::{Deserialize, Serialize};

/// Where a provider processes data, from the widest to the strictest.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Residency {
    /// Anywhere.
    Global,
    /// In Russia.
    Russia,
    /// In the customer's own building.
    OnPremise,
}

impl Residency {
    /// The name in the configuration and in requests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Russia => "russia",
            Self::OnPremise => "on_premise",
        }
    }

    /// The residency of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Global, Self::Russia, Self::OnPremise]
            .into_iter()
            .find(|residency| residency.name() == name)
    }
}
