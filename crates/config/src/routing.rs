use std::collections::BTreeMap;

use ::routing::local::AdmissionOptions;
use ::routing::{
    BreakerOptions, Capabilities, HedgeOptions, LearnedOptions, Policy, QualityPriors,
    RetryOptions, Sensitivity, TaskClass, Weights,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How requests find a deployment, and what protects both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Routing {
    /// How a deployment is chosen, where a model or a request does not say.
    pub policy: Policy,
    /// What `balanced` makes of cost, latency and quality.
    pub weights: Weights,
    /// Whether a request may name another policy (`llm_proxy.policy`).
    pub allow_policy_override: bool,
    /// Scores that differ by no more count as equal, and the load decides.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub tie_tolerance: f64,
    /// By how much the deployment that a conversation had before may be worse and still be kept;
    /// 0: it is kept only among equals.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub stickiness_margin: f64,
    /// Seconds that a conversation's deployment is remembered; 0: never.
    #[schemars(range(min = 0, max = 86_400))]
    pub stickiness_ttl_s: u64,
    /// When a deployment is left alone, and how it comes back.
    pub breaker: BreakerOptions,
    /// How often a request is tried, and how much more load that may be.
    pub retries: RetryOptions,
    /// When a second deployment is asked because the first is slow.
    pub hedging: HedgeOptions,
    /// What the policy `learned` learns by.
    pub learned: LearnedOptions,
    /// Looking after deployments between requests.
    pub probes: Probes,
    /// What is kept of decisions.
    pub decisions: Decisions,
    /// Local engines that take a bounded number of requests at a time, by name.
    pub pools: BTreeMap<String, Pool>,
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            policy: Policy::Priority,
            weights: Weights::default(),
            allow_policy_override: true,
            tie_tolerance: 0.02,
            stickiness_margin: 0.1,
            stickiness_ttl_s: 3600,
            breaker: BreakerOptions::default(),
            retries: RetryOptions::default(),
            hedging: HedgeOptions::default(),
            learned: LearnedOptions::default(),
            probes: Probes::default(),
            decisions: Decisions::default(),
            pools: BTreeMap::new(),
        }
    }
}

/// Looking after deployments between requests, by questions that cost no tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Probes {
    /// Seconds between two questions to a provider whether it is there (its list of models); 0:
    /// it is never asked.
    #[schemars(range(min = 0, max = 3600))]
    pub interval_s: u64,
    /// Milliseconds between two readings of a local engine's metrics (vLLM, SGLang, llama.cpp);
    /// 0: they are not read.
    #[schemars(range(min = 0, max = 60_000))]
    pub engine_interval_ms: u64,
}

impl Default for Probes {
    fn default() -> Self {
        Self { interval_s: 30, engine_interval_ms: 1_000 }
    }
}

/// Which decisions are kept in the database, besides those about which feedback is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordedDecisions {
    /// All. Each costs the database a row.
    All,
    /// Those of the policy `learned`, in the shadow too. The newest of the others can be explained
    /// by the process that made them.
    #[default]
    Learned,
    /// No others.
    Judged,
}

/// What is kept of decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Decisions {
    /// Which are kept in the database.
    pub record: RecordedDecisions,
    /// Days that they are kept.
    #[schemars(range(min = 1, max = 3650))]
    pub keep_days: u32,
}

impl Default for Decisions {
    fn default() -> Self {
        Self { record: RecordedDecisions::Learned, keep_days: 30 }
    }
}

/// Local engines that take a bounded number of requests at a time; what is more waits in a queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pool {
    /// How many requests its engines serve at a time, all together, and how the others wait.
    pub queue: AdmissionOptions,
    /// What is done when all places are taken and another deployment could serve the request.
    pub when_full: WhenFull,
    /// Whether requests whose prompts begin alike go to the same engine, for its cache.
    pub prefix_affinity: bool,
    /// Whether identical deterministic requests that are in flight share one call.
    pub coalesce: bool,
    /// Whether requests for embeddings are sent together, up to 64 texts in 10 ms.
    pub batch_embeddings: bool,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            queue: AdmissionOptions::default(),
            when_full: WhenFull::Elsewhere,
            prefix_affinity: true,
            coalesce: true,
            batch_embeddings: true,
        }
    }
}

/// What is done when all places of a pool are taken and another deployment could serve the request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The other deployment serves it.
    #[default]
    Elsewhere,
    /// It waits.
    Queue,
}

/// What one model says about its routing; what is not given is as under `routing`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModelRouting {
    /// How a deployment is chosen.
    pub policy: Option<Policy>,
    /// What `balanced` makes of cost, latency and quality.
    pub weights: Option<Weights>,
    /// Whether the content of requests is taken to be of this sensitivity when the request does not
    /// say. A request may say more, never less.
    pub sensitivity: Sensitivity,
    /// When a second deployment is asked because the first is slow.
    pub hedging: Option<HedgeOptions>,
    /// Who serves instead.
    pub fallbacks: Fallbacks,
}

/// Models whose deployments serve what the own ones cannot, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fallbacks {
    /// When all own deployments failed or are not available.
    pub unavailable: Vec<String>,
    /// When the prompt is longer than the model can read.
    pub context_window: Vec<String>,
    /// When the provider's content policy refused.
    pub content_policy: Vec<String>,
}

impl Fallbacks {
    /// The lists, each with the name of its key.
    #[must_use]
    pub fn lists(&self) -> [(&'static str, &[String]); 3] {
        [
            ("unavailable", &self.unavailable),
            ("context_window", &self.context_window),
            ("content_policy", &self.content_policy),
        ]
    }
}

/// What a deployment can do; what is not given is taken to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeploymentCapabilities {
    /// Calls of tools.
    pub tools: bool,
    /// Pictures.
    pub vision: bool,
    /// Answers in the form of a JSON schema.
    pub json_schema: bool,
}

impl Default for DeploymentCapabilities {
    fn default() -> Self {
        Self { tools: true, vision: true, json_schema: true }
    }
}

impl From<DeploymentCapabilities> for Capabilities {
    fn from(given: DeploymentCapabilities) -> Self {
        Self { tools: given.tools, vision: given.vision, json_schema: given.json_schema }
    }
}

/// How good a deployment's answers are taken to be, 0 to 1, until outcomes say otherwise: one number
/// for all, or by class of task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Quality {
    /// For all.
    General(f64),
    /// By class; `general` for the others.
    ByClass(QualityByClass),
}

/// Quality by class of task, 0 to 1; classes without one have `general`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QualityByClass {
    /// Where the class has none of its own.
    pub general: f64,
    /// Talk and questions.
    pub conversation: Option<f64>,
    /// Programs, queries, configuration.
    pub code: Option<f64>,
    /// Calculation and proof.
    pub mathematics: Option<f64>,
    /// Several steps of thought, choices among given answers.
    pub reasoning: Option<f64>,
    /// Structured data out of text.
    pub extraction: Option<f64>,
    /// From one language to another.
    pub translation: Option<f64>,
    /// Long texts, summaries, letters.
    pub writing: Option<f64>,
    /// Calls of tools.
    pub tool_use: Option<f64>,
}

impl QualityByClass {
    fn of(&self, class: TaskClass) -> Option<f64> {
        match class {
            TaskClass::Conversation => self.conversation,
            TaskClass::Code => self.code,
            TaskClass::Mathematics => self.mathematics,
            TaskClass::Reasoning => self.reasoning,
            TaskClass::Extraction => self.extraction,
            TaskClass::Translation => self.translation,
            TaskClass::Writing => self.writing,
            TaskClass::ToolUse => self.tool_use,
        }
    }
}

impl Quality {
    /// As the router wants it.
    #[must_use]
    pub fn priors(&self) -> QualityPriors {
        match self {
            Self::General(value) => QualityPriors::uniform(*value),
            Self::ByClass(given) => QualityPriors {
                general: given.general,
                by_class: TaskClass::ALL.map(|class| given.of(class)),
            },
        }
    }

    pub(crate) fn values(&self) -> Vec<f64> {
        match self {
            Self::General(value) => vec![*value],
            Self::ByClass(given) => {
                let classes = TaskClass::ALL.into_iter().filter_map(|class| given.of(class));
                std::iter::once(given.general).chain(classes).collect()
            }
        }
    }
}
