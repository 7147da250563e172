use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much harm it would do if the content of a request became known.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Sensitivity {
    /// Known to all already.
    #[default]
    Public,
    /// Of the organisation, and harmless.
    Internal,
    /// Harmful to the organisation.
    Confidential,
    /// Personal data, and what else the law protects.
    Sensitive,
}

impl Sensitivity {
    /// Its name in configuration, headers and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Confidential => "confidential",
            Self::Sensitive => "sensitive",
        }
    }

    /// The sensitivity of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Public, Self::Internal, Self::Confidential, Self::Sensitive]
            .into_iter()
            .find(|sensitivity| sensitivity.name() == name)
    }

    /// Whether it may only go to deployments that are marked for it, on premises first.
    #[must_use]
    pub fn is_restricted(self) -> bool {
        self >= Self::Confidential
    }
}
