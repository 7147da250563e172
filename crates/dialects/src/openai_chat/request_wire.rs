use chat::Json;
use serde::Deserialize;

use crate::open_object::{open_object, text_or_list};

open_object! {
    /// A request as callers send it.
    RequestWire {
        model: String = "model",
        messages: Vec<MessageWire> = "messages",
        tools: Vec<ToolWire> = "tools",
        tool_choice: ToolChoiceWire = "tool_choice",
        functions: Vec<FunctionWire> = "functions",
        function_call: ToolChoiceWire = "function_call",
        parallel_tool_calls: bool = "parallel_tool_calls",
        response_format: ResponseFormatWire = "response_format",
        temperature: f64 = "temperature",
        top_p: f64 = "top_p",
        top_k: u64 = "top_k",
        frequency_penalty: f64 = "frequency_penalty",
        presence_penalty: f64 = "presence_penalty",
        repetition_penalty: f64 = "repetition_penalty",
        seed: i64 = "seed",
        logit_bias: Json = "logit_bias",
        max_tokens: u64 = "max_tokens",
        max_completion_tokens: u64 = "max_completion_tokens",
        stop: StopWire = "stop",
        n: u32 = "n",
        logprobs: bool = "logprobs",
        top_logprobs: u8 = "top_logprobs",
        reasoning_effort: EffortWire = "reasoning_effort",
        stream: bool = "stream",
        stream_options: StreamOptionsWire = "stream_options",
        user: String = "user",
        metadata: Json = "metadata",
        llm_proxy: Json = "llm_proxy",
    }
}

open_object! {
    /// A message; members that no provider here knows are passed over.
    MessageWire {
        role: RoleWire = "role",
        content: ContentWire = "content",
        name: String = "name",
        tool_calls: Vec<ToolCallWire> = "tool_calls",
        function_call: CalledWire = "function_call",
        tool_call_id: String = "tool_call_id",
        refusal: String = "refusal",
        reasoning_content: String = "reasoning_content",
    }
}

#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum RoleWire {
    System,
    Developer,
    User,
    Assistant,
    Tool,
    Function,
}

text_or_list! {
    /// What a message says.
    ContentWire, PartWire, "a string or an array of content parts"
}

text_or_list! {
    /// Where the model stops.
    StopWire, String, "a string or an array of strings"
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum PartWire {
    Text { text: String },
    Refusal { refusal: String },
    ImageUrl { image_url: ImageUrlWire },
    InputAudio { input_audio: AudioWire },
    File { file: FileWire },
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct ImageUrlWire {
    pub(super) url: String,
    #[serde(default)]
    pub(super) detail: Option<DetailWire>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DetailWire {
    Auto,
    Low,
    High,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct AudioWire {
    pub(super) data: String,
    pub(super) format: String,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct FileWire {
    #[serde(default)]
    pub(super) file_data: Option<String>,
    #[serde(default)]
    pub(super) file_id: Option<String>,
    #[serde(default)]
    pub(super) filename: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(super) struct ToolCallWire {
    pub(super) id: String,
    pub(super) function: CalledWire,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(super) struct CalledWire {
    pub(super) name: String,
    #[serde(default)]
    pub(super) arguments: String,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(super) struct ToolWire {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) function: Option<FunctionWire>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(super) struct FunctionWire {
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) parameters: Option<Json>,
    #[serde(default)]
    pub(super) strict: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "\"auto\", \"none\", \"required\" or an object that names a tool")]
pub(super) enum ToolChoiceWire {
    Mode(ModeWire),
    Named {
        function: NamedWire,
    },
    Allowed {
        allowed_tools: AllowedWire,
    },
    /// The deprecated `function_call`.
    Function(NamedWire),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ModeWire {
    Auto,
    None,
    Required,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(super) struct NamedWire {
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(super) struct AllowedWire {
    pub(super) mode: ModeWire,
    pub(super) tools: Vec<AllowedToolWire>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(super) struct AllowedToolWire {
    pub(super) function: NamedWire,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(super) struct ResponseFormatWire {
    #[serde(rename = "type")]
    pub(super) kind: FormatKindWire,
    #[serde(default)]
    pub(super) json_schema: Option<JsonSchemaWire>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FormatKindWire {
    Text,
    JsonObject,
    JsonSchema,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(super) struct JsonSchemaWire {
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) schema: Option<Json>,
    #[serde(default)]
    pub(super) strict: Option<bool>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum EffortWire {
    None,
    Minimal,
    Low,
    Medium,
    High,
    Xhigh,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(super) struct StreamOptionsWire {
    #[serde(default)]
    pub(super) include_usage: Option<bool>,
}
