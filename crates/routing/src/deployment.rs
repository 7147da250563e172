use chat::Residency;
pub use chat::Sensitivity;

use crate::request::TaskClass;

/// What is known of a deployment before any request: what its configuration says.
#[derive(Debug, Clone, PartialEq)]
pub struct DeploymentProfile {
    /// `provider/model`, unique within the route.
    pub name: Box<str>,
    /// Name of the provider.
    pub provider: Box<str>,
    /// Lower is preferred by the policy `priority`, and breaks ties of the others.
    pub priority: u32,
    /// Share of the traffic among equals, relative to the others'; 0: only when the others fail.
    pub weight: f64,
    /// Where it processes data.
    pub residency: Residency,
    /// The most sensitive data that may go to it.
    pub sensitivity: Sensitivity,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Most tokens of prompt and answer together; `None`: not known, so not a reason to refuse.
    pub context_tokens: Option<u64>,
    /// How good its answers are taken to be until outcomes say otherwise.
    pub quality: QualityPriors,
    /// Expected time to the first token before anything was measured, milliseconds.
    pub first_token_ms: f64,
    /// Expected time for each further token before anything was measured, milliseconds.
    pub token_ms: f64,
}

impl Default for DeploymentProfile {
    /// A deployment of which nothing is said: for internal data anywhere, able to do everything,
    /// of middling quality, and taken to answer after a second.
    fn default() -> Self {
        Self {
            name: Box::default(),
            provider: Box::default(),
            priority: 1,
            weight: 1.0,
            residency: Residency::Global,
            sensitivity: Sensitivity::Internal,
            capabilities: Capabilities::ALL,
            context_tokens: None,
            quality: QualityPriors::uniform(0.7),
            first_token_ms: 1_000.0,
            token_ms: 20.0,
        }
    }
}

/// What a deployment can do, or a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Calls of tools.
    pub tools: bool,
    /// Pictures.
    pub vision: bool,
    /// Answers in the form of a JSON schema (also where the gateway emulates it).
    pub json_schema: bool,
}

impl Capabilities {
    /// Everything.
    pub const ALL: Self = Self { tools: true, vision: true, json_schema: true };
    /// Nothing but text.
    pub const NONE: Self = Self { tools: false, vision: false, json_schema: false };
}

/// Quality before outcomes are known, from 0 (useless) to 1 (perfect).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QualityPriors {
    /// Where no class has its own.
    pub general: f64,
    /// By [`TaskClass::index`].
    pub by_class: [Option<f64>; TaskClass::COUNT],
}

impl QualityPriors {
    /// The same for all classes.
    #[must_use]
    pub fn uniform(general: f64) -> Self {
        Self { general, by_class: [None; TaskClass::COUNT] }
    }

    /// That of a class.
    #[must_use]
    pub fn of(&self, class: TaskClass) -> f64 {
        self.by_class.get(class.index()).copied().flatten().unwrap_or(self.general)
    }
}
