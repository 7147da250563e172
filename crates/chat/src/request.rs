use crate::{Json, Message};

/// What an application asks of a model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChatRequest {
    /// The public model name that the caller gave; replaced by the deployment's model on the way
    /// out.
    pub model: String,
    /// The conversation, oldest first. System text is a message like any other.
    pub messages: Vec<Message>,
    /// Functions the model may call.
    pub tools: Vec<Tool>,
    /// Which of them it must or must not call; `None` leaves it to the provider (usually auto).
    pub tool_choice: Option<ToolChoice>,
    /// Whether several calls may come in one turn; `None` leaves it to the provider.
    pub parallel_tool_calls: Option<bool>,
    /// The form of the answer.
    pub response_format: ResponseFormat,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Most tokens the model may write, reasoning included.
    pub max_output_tokens: Option<u64>,
    /// Texts at which the model stops.
    pub stop: Vec<String>,
    /// Number of answers wanted; `None` is one.
    pub choice_count: Option<u32>,
    /// Number of alternatives for which log-probabilities are wanted at each token (0: only the
    /// chosen token's); `None`: none wanted.
    pub top_logprobs: Option<u8>,
    /// How much the model should think.
    pub reasoning: Option<ReasoningRequest>,
    /// How long the answer should be; `None`: as the provider likes, which is what OpenAI's
    /// `medium` says.
    pub verbosity: Option<Verbosity>,
    /// Whether the provider may leave out the oldest messages of a conversation that is too long
    /// (OpenAI's `truncation: auto`) rather than refuse it.
    pub truncate: bool,
    /// Whether the answer is wanted as a stream.
    pub stream: bool,
    /// Whether the caller wants usage at the end of the stream (OpenAI's
    /// `stream_options.include_usage`; always true in dialects that always send it).
    pub stream_usage: bool,
    /// The application's name for its end user.
    pub user: Option<String>,
    /// Caller's key-value notes.
    pub metadata: Option<Json>,
    /// Members that the caller's dialect module does not know, for a provider of the same dialect.
    pub extra: ExtraMembers,
}

/// Members of a request that nobody here interprets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExtraMembers {
    /// The dialect they were written in; they mean nothing in another.
    pub audience: Option<Audience>,
    /// Name and value, in the order that came.
    pub members: Vec<(String, Json)>,
}

/// A wire format, as the owner of members that only it understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Audience {
    /// OpenAI chat completions and compatible.
    OpenAiChat,
    /// OpenAI responses.
    OpenAiResponses,
    /// OpenAI legacy completions.
    OpenAiCompletions,
    /// Anthropic messages.
    Anthropic,
}

/// A function that the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does, for the model.
    pub description: Option<String>,
    /// JSON Schema of its arguments; `None` is a function without any.
    pub parameters: Option<Json>,
    /// Whether arguments must follow the schema exactly.
    pub strict: Option<bool>,
    /// Anthropic's prompt-cache mark.
    pub cache_control: Option<Json>,
}

/// Which tool the model must or must not call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model decides.
    Auto,
    /// No call (forbidden tools).
    None,
    /// At least one call.
    Required,
    /// This tool.
    Named(String),
}

/// The form of the answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum ResponseFormat {
    /// Free text.
    #[default]
    Text,
    /// Some JSON object.
    JsonObject,
    /// JSON that follows a schema.
    JsonSchema(JsonSchema),
}

/// A schema for the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonSchema {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The JSON Schema.
    pub schema: Json,
    /// Whether the provider must enforce it.
    pub strict: Option<bool>,
}

/// How tokens are drawn. Ranges are the provider's.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sampling {
    /// 0 is greedy.
    pub temperature: Option<f64>,
    /// Nucleus.
    pub top_p: Option<f64>,
    /// Candidates considered.
    pub top_k: Option<u64>,
    /// OpenAI's, -2 to 2.
    pub frequency_penalty: Option<f64>,
    /// OpenAI's, -2 to 2.
    pub presence_penalty: Option<f64>,
    /// GigaChat's and vLLM's; 1 is none.
    pub repetition_penalty: Option<f64>,
    /// Asks for repeatable output.
    pub seed: Option<i64>,
    /// Token id to bias, as OpenAI's object.
    pub logit_bias: Option<Json>,
}

/// A length of answers other than the usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// `low`
    Low,
    /// `high`
    High,
}

impl Verbosity {
    /// OpenAI's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::High => "high",
        }
    }
}

/// How much the model should think.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReasoningRequest {
    /// OpenAI's scale.
    pub effort: Option<ReasoningEffort>,
    /// Anthropic's: most tokens spent on thinking.
    pub budget_tokens: Option<u64>,
    /// Whether the caller wants to read the thinking or a summary of it.
    pub visible: bool,
}

/// OpenAI's scale of effort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReasoningEffort {
    /// No thinking.
    None,
    /// `minimal`
    Minimal,
    /// `low`
    Low,
    /// `medium`
    Medium,
    /// `high`
    High,
    /// `xhigh`
    ExtraHigh,
}
