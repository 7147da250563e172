//! Requests of `/v2/chat/completions`: messages made of parts.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::ApiError;
use super::v1::{check_format, check_function_name, check_parameters, check_state_id};

/// Body of a v2 chat request. Members not named here are ignored, as the service does.
#[derive(Debug, Deserialize)]
pub(crate) struct ChatRequest {
    #[serde(default)]
    pub(crate) model: Option<String>,
    pub(crate) messages: Vec<Message>,
    #[serde(default)]
    pub(crate) assistant_id: Option<String>,
    #[serde(default)]
    pub(crate) model_options: ModelOptions,
    #[serde(default)]
    pub(crate) tools: Vec<Tool>,
    #[serde(default)]
    pub(crate) tool_config: Option<ToolConfig>,
    #[serde(default)]
    pub(crate) stream: Option<bool>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Message {
    pub(crate) role: Role,
    #[serde(default)]
    pub(crate) content: Option<Content>,
    #[serde(default, alias = "tool_state_id", alias = "functions_state_id")]
    pub(crate) tools_state_id: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    System,
    User,
    Assistant,
    /// Results: the published SDK says `tool`, the older contract `function`.
    #[serde(alias = "function")]
    Tool,
    Reasoning,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Part {
    #[serde(default)]
    pub(crate) text: Option<String>,
    #[serde(default)]
    pub(crate) files: Vec<FileReference>,
    #[serde(default)]
    pub(crate) function_call: Option<FunctionCall>,
    #[serde(default)]
    pub(crate) function_result: Option<FunctionResult>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct FileReference {
    pub(crate) id: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct FunctionCall {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) arguments: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct FunctionResult {
    pub(crate) name: String,
    pub(crate) result: Value,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct ModelOptions {
    #[serde(default)]
    pub(crate) temperature: Option<f64>,
    #[serde(default)]
    pub(crate) top_p: Option<f64>,
    #[serde(default)]
    pub(crate) max_tokens: Option<i64>,
    #[serde(default)]
    pub(crate) repetition_penalty: Option<f64>,
    #[serde(default)]
    pub(crate) top_logprobs: Option<i64>,
    #[serde(default)]
    pub(crate) parallel_tool_calls: Option<bool>,
    #[serde(default)]
    pub(crate) reasoning: Option<Reasoning>,
    #[serde(default)]
    pub(crate) response_format: Option<ResponseFormat>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Reasoning {
    #[serde(default)]
    pub(crate) effort: Option<super::v1::Effort>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ResponseFormat {
    #[serde(rename = "type", default)]
    pub(crate) kind: String,
    /// An object, or the same as JSON text.
    #[serde(default)]
    pub(crate) schema: Option<Value>,
    #[serde(default)]
    pub(crate) regex: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Tool {
    #[serde(default)]
    pub(crate) functions: Option<Functions>,
    /// Built-in tools by name, with their settings.
    #[serde(flatten)]
    pub(crate) built_in: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Functions {
    #[serde(default)]
    pub(crate) specifications: Vec<Specification>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Specification {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) description: Option<String>,
    #[serde(default)]
    pub(crate) parameters: Option<Map<String, Value>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ToolConfig {
    #[serde(default)]
    pub(crate) mode: Mode,
    #[serde(default)]
    pub(crate) tool_name: Option<String>,
    #[serde(default)]
    pub(crate) function_name: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    #[default]
    Auto,
    None,
    Forced,
}

const BUILT_IN: [&str; 4] =
    ["image_generate", "web_search", "url_content_extraction", "model_3d_generate"];

/// Parses and checks a body.
///
/// # Errors
/// 400 for JSON of the wrong shape, 422 for a conversation out of order.
pub(crate) fn parse(body: &[u8]) -> Result<ChatRequest, ApiError> {
    let request: ChatRequest = serde_json::from_slice(body).map_err(|_| ApiError::syntax())?;
    request.validate()?;
    Ok(request)
}

impl Message {
    /// The parts, whichever way the content was written.
    pub(crate) fn parts(&self) -> &[Part] {
        match &self.content {
            Some(Content::Parts(parts)) => parts,
            _ => &[],
        }
    }

    /// All text of the message.
    pub(crate) fn text(&self) -> String {
        match &self.content {
            Some(Content::Text(text)) => text.clone(),
            Some(Content::Parts(parts)) => {
                parts.iter().filter_map(|part| part.text.as_deref()).collect()
            }
            None => String::new(),
        }
    }
}

impl ResponseFormat {
    /// The schema as an object, also where it came as text.
    pub(crate) fn schema(&self) -> Option<Value> {
        match &self.schema {
            Some(Value::String(text)) => serde_json::from_str(text).ok(),
            other => other.clone(),
        }
    }
}

impl ChatRequest {
    /// The functions the caller offers, over all tools.
    pub(crate) fn functions(&self) -> impl Iterator<Item = &Specification> {
        self.tools
            .iter()
            .filter_map(|tool| tool.functions.as_ref())
            .flat_map(|functions| &functions.specifications)
    }

    fn validate(&self) -> Result<(), ApiError> {
        let named = !self.model.as_deref().unwrap_or_default().trim().is_empty();
        if !named && self.assistant_id.is_none() {
            return Err(ApiError::invalid_params("model is required"));
        }
        self.validate_options()?;
        self.validate_tools()?;
        self.validate_messages()
    }

    fn validate_options(&self) -> Result<(), ApiError> {
        let options = &self.model_options;
        if options.temperature.is_some_and(|t| t <= 0.0) {
            return Err(ApiError::invalid_params("temperature must be greater than 0"));
        }
        if options.top_p.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
            return Err(ApiError::invalid_params("top_p must be between 0 and 1"));
        }
        if options.max_tokens.is_some_and(|max| max < 1) {
            return Err(ApiError::invalid_params("max_tokens must be positive"));
        }
        if options.repetition_penalty.is_some_and(|penalty| penalty <= 0.0) {
            return Err(ApiError::invalid_params("repetition_penalty must be positive"));
        }
        if options.top_logprobs.is_some_and(|top| !(0..=20).contains(&top)) {
            return Err(ApiError::invalid_params("top_logprobs must be between 0 and 20"));
        }
        match &options.response_format {
            Some(format) if format.kind == "regex" => match format.regex.as_deref() {
                None | Some("") => Err(ApiError::bad_request("Empty regex in response_format")),
                Some(_) => Ok(()),
            },
            Some(format) => check_format(&format.kind, format.schema().as_ref()),
            None => Ok(()),
        }
    }

    fn validate_tools(&self) -> Result<(), ApiError> {
        for tool in &self.tools {
            for name in tool.built_in.keys() {
                if name == "code_interpreter" {
                    return Err(ApiError::invalid_params("Tool code_interpreter is unavailable"));
                }
                if !BUILT_IN.contains(&name.as_str()) {
                    return Err(ApiError::not_found("tool"));
                }
            }
        }
        for function in self.functions() {
            check_function_name(&function.name)?;
            if function.parameters.is_none() {
                return Err(ApiError::invalid_params(format!(
                    "function '{}' has no parameters",
                    function.name
                )));
            }
            check_parameters(&function.name, function.parameters.as_ref())?;
        }
        let Some(config) = &self.tool_config else {
            return Ok(());
        };
        if config.mode == Mode::Forced
            && config.function_name.is_none()
            && config.tool_name.is_none()
        {
            return Err(ApiError::invalid_params(
                "tool_config mode forced needs function_name or tool_name",
            ));
        }
        if let Some(name) = &config.function_name
            && !self.functions().any(|function| function.name == *name)
        {
            return Err(ApiError::invalid_params(format!(
                "tool_config function_name '{name}' is not found in functions"
            )));
        }
        Ok(())
    }

    fn validate_messages(&self) -> Result<(), ApiError> {
        if self.messages.is_empty() {
            return Err(ApiError::invalid_params("messages must not be empty"));
        }
        let mut pending: Vec<&str> = Vec::new();
        for (at, message) in self.messages.iter().enumerate() {
            if message.role == Role::System && at > 0 {
                return Err(ApiError::invalid_params("system message must be the first message"));
            }
            if message.role == Role::Tool {
                for part in message.parts() {
                    let Some(result) = &part.function_result else {
                        continue;
                    };
                    let Some(found) = pending.iter().position(|name| *name == result.name) else {
                        return Err(ApiError::invalid_params(format!(
                            "function_result '{}' does not match a function_call",
                            result.name
                        )));
                    };
                    pending.remove(found);
                }
                continue;
            }
            if let Some(name) = pending.first() {
                return Err(ApiError::invalid_params(format!(
                    "function_call '{name}' must be followed by its function_result"
                )));
            }
            let calls = message.parts().iter().filter_map(|part| part.function_call.as_ref());
            pending.extend(calls.map(|call| call.name.as_str()));
            if !pending.is_empty() {
                if message.role != Role::Assistant {
                    return Err(ApiError::invalid_params(
                        "function_call belongs to the assistant role",
                    ));
                }
                check_state_id("tools_state_id", message.tools_state_id.as_deref())?;
            }
        }
        match pending.first() {
            Some(name) => Err(ApiError::invalid_params(format!(
                "function_call '{name}' must be followed by its function_result"
            ))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(body: &Value) -> Result<ChatRequest, ApiError> {
        parse(body.to_string().as_bytes())
    }

    fn base() -> Value {
        json!({"model": "GigaChat-3-Ultra",
            "messages": [{"role": "user", "content": [{"text": "Привет"}]}]})
    }

    #[test]
    fn content_is_parts_or_text() {
        let request = check(&base()).expect("valid");
        assert_eq!(request.messages[0].text(), "Привет");
        let mut body = base();
        body["messages"][0]["content"] = json!("Привет");
        assert_eq!(check(&body).expect("valid").messages[0].text(), "Привет");
        body["messages"][0]["content"] = json!(7);
        assert_eq!(check(&body).unwrap_err().status.as_u16(), 400);
    }

    #[test]
    fn parallel_calls_are_answered_all() {
        let state = "019e8373-dc9a-7883-af60-ebb20b79e1e1";
        let call = |name: &str| json!({"function_call": {"name": name, "arguments": {}}});
        let result =
            |name: &str| json!({"function_result": {"name": name, "result": {"ok": true}}});
        let mut body = base();
        let user = body["messages"][0].clone();
        for role in ["tool", "function"] {
            body["messages"] = json!([user,
                {"role": "assistant", "tools_state_id": state, "content": [call("f"), call("g")]},
                {"role": role, "tools_state_id": state, "content": [result("g"), result("f")]}]);
            check(&body).expect("valid");
        }
        body["messages"][2]["content"] = json!([result("g")]);
        assert_eq!(check(&body).unwrap_err().status.as_u16(), 422);
        body["messages"][2]["content"] = json!([result("h")]);
        assert!(check(&body).unwrap_err().message.contains("'h'"));
        body["messages"][1].as_object_mut().unwrap().remove("tools_state_id");
        assert!(check(&body).unwrap_err().message.contains("tools_state_id"));
    }

    #[test]
    fn formats_tools_and_forcing_are_checked() {
        for (format, ok) in [
            (json!({"type": "json_schema", "schema": {"type": "object"}}), true),
            (json!({"type": "json_schema", "schema": "{\"type\":\"object\"}"}), true),
            (json!({"type": "regex", "regex": "\\d+"}), true),
            (json!({"type": "regex"}), false),
            (json!({"type": "json_object"}), false),
        ] {
            let mut body = base();
            body["model_options"] = json!({"response_format": format});
            assert_eq!(check(&body).is_ok(), ok, "{body}");
        }
        let mut body = base();
        body["tools"] = json!([{"url_extraction": {}}]);
        assert_eq!(check(&body).unwrap_err().status.as_u16(), 404);
        body["tools"] = json!([{"functions": {"specifications": [{"name": "f", "parameters": {"type": "object"}}]}}]);
        body["tool_config"] = json!({"mode": "forced", "function_name": "f"});
        check(&body).expect("valid");
        body["tool_config"]["function_name"] = json!("g");
        assert_eq!(check(&body).unwrap_err().status.as_u16(), 422);
        body["tool_config"] = json!({"mode": "any"});
        assert_eq!(check(&body).unwrap_err().status.as_u16(), 400);
    }
}
