//! What a caller may send to the model service, and the rules it must keep.
//!
//! Unknown members are refused: a caller that sends another API's parameters
//! here is mistaken, and a simulator that stayed silent would hide it.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::status::{Code, Status};

/// Largest answer that may be asked for, tokens.
const MAX_TOKENS_LIMIT: i64 = 32_000;

/// Body of `completion` and `tokenizeCompletion`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CompletionRequest {
    #[serde(default, alias = "model_uri")]
    pub(crate) model_uri: String,
    #[serde(default, alias = "completion_options")]
    pub(crate) completion_options: CompletionOptions,
    #[serde(default)]
    pub(crate) messages: Vec<Message>,
    #[serde(default)]
    pub(crate) tools: Vec<Tool>,
    #[serde(default, alias = "json_object")]
    pub(crate) json_object: Option<bool>,
    #[serde(default, alias = "json_schema")]
    pub(crate) json_schema: Option<JsonSchema>,
    #[serde(default, alias = "parallel_tool_calls")]
    pub(crate) parallel_tool_calls: Option<bool>,
    #[serde(default, alias = "tool_choice")]
    pub(crate) tool_choice: Option<ToolChoice>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CompletionOptions {
    #[serde(default)]
    pub(crate) stream: bool,
    #[serde(default)]
    pub(crate) temperature: Option<f64>,
    #[serde(default, alias = "max_tokens", deserialize_with = "int64")]
    pub(crate) max_tokens: Option<i64>,
    #[serde(default, alias = "reasoning_options")]
    pub(crate) reasoning_options: Option<ReasoningOptions>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReasoningOptions {
    #[serde(default)]
    pub(crate) mode: ReasoningMode,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum ReasoningMode {
    #[default]
    #[serde(rename = "REASONING_MODE_UNSPECIFIED")]
    Unspecified,
    Disabled,
    EnabledHidden,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Message {
    #[serde(default)]
    pub(crate) role: String,
    #[serde(default)]
    pub(crate) text: Option<String>,
    #[serde(default, alias = "tool_call_list")]
    pub(crate) tool_call_list: Option<ToolCallList>,
    #[serde(default, alias = "tool_result_list")]
    pub(crate) tool_result_list: Option<ToolResultList>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ToolCallList {
    #[serde(default, alias = "tool_calls")]
    pub(crate) tool_calls: Vec<ToolCall>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ToolCall {
    #[serde(alias = "function_call")]
    pub(crate) function_call: FunctionCall,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FunctionCall {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) arguments: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ToolResultList {
    #[serde(default, alias = "tool_results")]
    pub(crate) tool_results: Vec<ToolResult>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ToolResult {
    #[serde(alias = "function_result")]
    pub(crate) function_result: FunctionResult,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FunctionResult {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) content: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tool {
    pub(crate) function: FunctionTool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FunctionTool {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) parameters: Option<Map<String, Value>>,
    #[serde(default)]
    #[allow(dead_code, reason = "accepted and type-checked, without effect here")]
    pub(crate) strict: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JsonSchema {
    pub(crate) schema: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ToolChoice {
    #[serde(default)]
    pub(crate) mode: Option<ToolChoiceMode>,
    #[serde(default, alias = "function_name")]
    pub(crate) function_name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum ToolChoiceMode {
    #[serde(rename = "TOOL_CHOICE_MODE_UNSPECIFIED")]
    Unspecified,
    None,
    Auto,
    Required,
}

/// Body of `textEmbedding`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct EmbeddingRequest {
    #[serde(default, alias = "model_uri")]
    pub(crate) model_uri: String,
    #[serde(default)]
    pub(crate) text: String,
    #[serde(default, deserialize_with = "int64")]
    pub(crate) dim: Option<i64>,
}

/// Body of `tokenize`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TokenizeRequest {
    #[serde(default, alias = "model_uri")]
    pub(crate) model_uri: String,
    #[serde(default)]
    pub(crate) text: String,
}

/// A model address taken apart: `scheme://folder/name[/branch]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModelUri<'a> {
    pub(crate) folder: &'a str,
    pub(crate) name: &'a str,
    pub(crate) branch: &'a str,
}

impl<'a> ModelUri<'a> {
    /// Parses `uri`, which must have one of `schemes`.
    ///
    /// # Errors
    /// The service's own words for an address it cannot read.
    pub(crate) fn parse(uri: &'a str, schemes: &[&str]) -> Result<Self, Status> {
        let bad = || Status::invalid("invalid model_uri");
        let (scheme, rest) = uri.split_once("://").ok_or_else(bad)?;
        if !schemes.contains(&scheme) {
            return Err(bad());
        }
        let mut parts = rest.splitn(3, '/');
        let folder = parts.next().unwrap_or_default();
        let name = parts.next().unwrap_or_default();
        let branch = parts.next().unwrap_or("latest");
        if folder.is_empty() || name.is_empty() || branch.is_empty() {
            return Err(bad());
        }
        Ok(Self { folder, name, branch })
    }
}

/// Parses a body, turning a decoder's complaint into the gateway's 400.
///
/// # Errors
/// `InvalidArgument` naming the member at fault.
pub(crate) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Status> {
    serde_json::from_slice(body).map_err(|error| Status::invalid(error.to_string()))
}

impl CompletionRequest {
    /// Checks what types alone cannot.
    ///
    /// # Errors
    /// The first rule broken, in the service's words.
    pub(crate) fn validate(&self) -> Result<(), Status> {
        let options = &self.completion_options;
        if options.temperature.is_some_and(|t| !(0.0..=1.0).contains(&t)) {
            return Err(Status::invalid("temperature must be in the range from 0 to 1"));
        }
        if let Some(max) = options.max_tokens {
            if max <= 0 {
                return Err(Status::invalid("max_tokens must be greater than zero"));
            }
            if max > MAX_TOKENS_LIMIT {
                return Err(Status::invalid(format!(
                    "max_tokens must not exceed {MAX_TOKENS_LIMIT}"
                )));
            }
        }
        if self.json_object.is_some() && self.json_schema.is_some() {
            return Err(Status::invalid(
                "oneof ResponseFormat is already set: json_object and json_schema exclude each other",
            ));
        }
        for tool in &self.tools {
            if tool.function.name.is_empty() {
                return Err(Status::invalid("empty function name"));
            }
        }
        self.validate_tool_choice()?;
        self.validate_messages()
    }

    fn validate_tool_choice(&self) -> Result<(), Status> {
        let Some(choice) = &self.tool_choice else {
            return Ok(());
        };
        if choice.mode.is_some() && choice.function_name.is_some() {
            return Err(Status::invalid(
                "oneof ToolChoice is already set: mode and function_name exclude each other",
            ));
        }
        if let Some(name) = &choice.function_name
            && !self.tools.iter().any(|tool| tool.function.name == *name)
        {
            return Err(Status::invalid(format!(
                "tool_choice function '{name}' is not among tools"
            )));
        }
        if choice.mode == Some(ToolChoiceMode::Required) && self.tools.is_empty() {
            return Err(Status::invalid("tool_choice REQUIRED needs tools"));
        }
        Ok(())
    }

    fn validate_messages(&self) -> Result<(), Status> {
        if self.messages.is_empty() {
            return Err(Status::invalid("messages list is empty"));
        }
        let mut open_calls: Option<Vec<&str>> = None;
        for message in &self.messages {
            if !matches!(message.role.as_str(), "system" | "user" | "assistant") {
                return Err(Status::invalid(format!("unknown message role '{}'", message.role)));
            }
            let kinds = usize::from(message.text.is_some())
                + usize::from(message.tool_call_list.is_some())
                + usize::from(message.tool_result_list.is_some());
            if kinds > 1 {
                return Err(Status::invalid("oneof Content is already set"));
            }
            if let Some(results) = &message.tool_result_list {
                answer_calls(open_calls.take(), results)?;
                continue;
            }
            if open_calls.is_some() {
                return Err(Status::invalid("tool calls must be followed by their results"));
            }
            if let Some(list) = &message.tool_call_list {
                if message.role != "assistant" {
                    return Err(Status::invalid("tool calls belong to the assistant role"));
                }
                if list.tool_calls.is_empty() {
                    return Err(Status::invalid("empty tool call list"));
                }
                open_calls = Some(
                    list.tool_calls.iter().map(|call| call.function_call.name.as_str()).collect(),
                );
                continue;
            }
            if message.text.as_deref().unwrap_or_default().is_empty() {
                return Err(Status::invalid("empty message text"));
            }
        }
        if open_calls.is_some() {
            return Err(Status::invalid("tool calls must be followed by their results"));
        }
        Ok(())
    }
}

/// Results must answer the calls just made: same functions, all of them.
fn answer_calls(calls: Option<Vec<&str>>, results: &ToolResultList) -> Result<(), Status> {
    let Some(mut calls) = calls else {
        return Err(Status::invalid("tool results must follow the tool calls they answer"));
    };
    for result in &results.tool_results {
        let name = result.function_result.name.as_str();
        let Some(at) = calls.iter().position(|call| *call == name) else {
            return Err(Status::invalid(format!(
                "tool result for function '{name}' that was not called"
            )));
        };
        calls.remove(at);
    }
    match calls.first() {
        Some(name) => Err(Status::invalid(format!("tool result for function '{name}' is missing"))),
        None => Ok(()),
    }
}

impl EmbeddingRequest {
    /// Checks the text and the dimension against `native_dim`, the model's own.
    ///
    /// # Errors
    /// The rule broken, in the service's words.
    pub(crate) fn validate(&self, native_dim: i64) -> Result<(), Status> {
        if self.text.is_empty() {
            return Err(Status::invalid("empty text"));
        }
        if self.dim.is_some_and(|dim| dim <= 0 || dim > native_dim) {
            return Err(Status::new(
                Code::InvalidArgument,
                format!("dim must be between 1 and {native_dim}"),
            ));
        }
        Ok(())
    }
}

/// A protobuf `int64` in JSON: a decimal string, or a number.
fn int64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(i64),
        Text(String),
        Null(()),
    }
    match Either::deserialize(deserializer)? {
        Either::Number(number) => Ok(Some(number)),
        Either::Text(text) => text
            .parse()
            .map(Some)
            .map_err(|_| serde::de::Error::custom(format!("invalid int64 '{text}'"))),
        Either::Null(()) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(body: &Value) -> Result<CompletionRequest, Status> {
        let text = body.to_string();
        let request: CompletionRequest = parse(text.as_bytes())?;
        request.validate()?;
        Ok(request)
    }

    fn base() -> Value {
        json!({"modelUri": "gpt://b1g/yandexgpt/latest",
            "messages": [{"role": "user", "text": "Привет"}]})
    }

    fn refused(change: impl Fn(&mut Value)) -> String {
        let mut body = base();
        change(&mut body);
        check(&body).expect_err("must be refused").message
    }

    #[test]
    fn numbers_come_as_strings_or_numbers() {
        for value in [json!("2000"), json!(2000)] {
            let mut body = base();
            body["completionOptions"] = json!({"maxTokens": value, "temperature": 0.3});
            let request = check(&body).expect("valid");
            assert_eq!(request.completion_options.max_tokens, Some(2000));
        }
        assert!(
            refused(|b| b["completionOptions"] = json!({"maxTokens": "many"})).contains("int64")
        );
    }

    #[test]
    fn parameters_of_other_apis_are_refused_by_name() {
        assert!(refused(|b| b["top_p"] = json!(0.5)).contains("top_p"));
        assert!(refused(|b| b["completionOptions"] = json!({"stop": ["x"]})).contains("stop"));
    }

    #[test]
    fn ranges_and_texts_are_checked() {
        assert!(
            refused(|b| b["completionOptions"] = json!({"temperature": 1.5}))
                .contains("temperature")
        );
        assert!(
            refused(|b| b["completionOptions"] = json!({"maxTokens": 0})).contains("max_tokens")
        );
        assert_eq!(refused(|b| b["messages"][0]["text"] = json!("")), "empty message text");
        assert!(refused(|b| b["messages"][0]["role"] = json!("tool")).contains("role"));
        assert!(refused(|b| b["messages"] = json!([])).contains("empty"));
        assert!(
            refused(|b| {
                b["jsonObject"] = json!(true);
                b["jsonSchema"] = json!({"schema": {}});
            })
            .contains("oneof")
        );
        assert!(refused(|b| b["toolChoice"] = json!({"functionName": "f"})).contains("'f'"));
    }

    #[test]
    fn results_answer_every_call_at_once() {
        let call = |name: &str| json!({"functionCall": {"name": name, "arguments": {"a": 1}}});
        let result = |name: &str| json!({"functionResult": {"name": name, "content": "ok"}});
        let history = |results: Vec<Value>| {
            let mut body = base();
            body["messages"] = json!([
                {"role": "user", "text": "погода"},
                {"role": "assistant", "toolCallList": {"toolCalls": [call("f"), call("f"), call("g")]}},
                {"role": "user", "toolResultList": {"toolResults": results}},
            ]);
            body
        };
        check(&history(vec![result("f"), result("g"), result("f")])).expect("complete");
        let missing = check(&history(vec![result("f"), result("g")])).expect_err("incomplete");
        assert!(missing.message.contains("'f' is missing"));
        let stray = check(&history(vec![result("h")])).expect_err("stray");
        assert!(stray.message.contains("not called"));
        let mut dangling = history(vec![]);
        dangling["messages"].as_array_mut().unwrap().pop();
        assert!(check(&dangling).is_err());
    }

    #[test]
    fn model_addresses_have_folder_and_name() {
        let uri = ModelUri::parse("gpt://b1g/yandexgpt-lite", &["gpt"]).unwrap();
        assert_eq!((uri.folder, uri.name, uri.branch), ("b1g", "yandexgpt-lite", "latest"));
        for bad in
            ["yandexgpt", "emb://b1g/x", "gpt://", "gpt:///yandexgpt", "gpt://b1g/", "gpt://b/x/"]
        {
            assert_eq!(
                ModelUri::parse(bad, &["gpt"]).unwrap_err().message,
                "invalid model_uri",
                "{bad}"
            );
        }
    }
}
