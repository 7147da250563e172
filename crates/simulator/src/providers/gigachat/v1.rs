//! Requests of `/v1/chat/completions`: their types and the order they must keep.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::ApiError;

/// Most files one request may attach.
const MAX_ATTACHMENTS: usize = 10;

/// Functions the service runs itself; they need no description.
const BUILT_IN: [&str; 3] = ["text2image", "text2model3d", "get_file_content"];

/// Body of a v1 chat request. Members not named here are ignored, as the service does.
#[derive(Debug, Deserialize)]
pub(crate) struct ChatRequest {
    #[serde(default)]
    pub(crate) model: Option<String>,
    pub(crate) messages: Vec<Message>,
    #[serde(default)]
    pub(crate) temperature: Option<f64>,
    #[serde(default)]
    pub(crate) top_p: Option<f64>,
    #[serde(default)]
    pub(crate) n: Option<i64>,
    #[serde(default)]
    pub(crate) stream: Option<bool>,
    #[serde(default)]
    pub(crate) max_tokens: Option<i64>,
    #[serde(default)]
    pub(crate) repetition_penalty: Option<f64>,
    #[serde(default)]
    pub(crate) update_interval: Option<f64>,
    #[serde(default)]
    #[allow(dead_code, reason = "type-checked only: nothing is censored here")]
    pub(crate) profanity_check: Option<bool>,
    #[serde(default)]
    pub(crate) functions: Vec<Function>,
    #[serde(default)]
    pub(crate) function_call: Option<FunctionChoice>,
    #[serde(default)]
    pub(crate) response_format: Option<ResponseFormat>,
    #[serde(default)]
    pub(crate) reasoning_effort: Option<Effort>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Message {
    pub(crate) role: Role,
    #[serde(default)]
    pub(crate) content: Option<String>,
    #[serde(default)]
    pub(crate) function_call: Option<FunctionCall>,
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) attachments: Vec<String>,
    #[serde(default)]
    pub(crate) functions_state_id: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    System,
    User,
    Assistant,
    Function,
    SearchResult,
    FunctionInProgress,
}

#[derive(Debug, Deserialize)]
pub(crate) struct FunctionCall {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) arguments: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Function {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) description: Option<String>,
    #[serde(default)]
    pub(crate) parameters: Option<Map<String, Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum FunctionChoice {
    Mode(FunctionMode),
    Named { name: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FunctionMode {
    Auto,
    None,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ResponseFormat {
    #[serde(rename = "type", default)]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) schema: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Effort {
    Low,
    Medium,
    High,
}

/// Parses and checks a body.
///
/// # Errors
/// 400 for JSON of the wrong shape, 422 for a conversation out of order.
pub(crate) fn parse(body: &[u8]) -> Result<ChatRequest, ApiError> {
    let request: ChatRequest = serde_json::from_slice(body).map_err(|_| ApiError::syntax())?;
    request.validate()?;
    Ok(request)
}

impl ChatRequest {
    fn validate(&self) -> Result<(), ApiError> {
        if self.model.as_deref().unwrap_or_default().trim().is_empty() {
            return Err(ApiError::invalid_params("model is required"));
        }
        self.validate_options()?;
        self.validate_functions()?;
        self.validate_messages()
    }

    fn validate_options(&self) -> Result<(), ApiError> {
        if self.temperature.is_some_and(|t| t <= 0.0) {
            return Err(ApiError::invalid_params("temperature must be greater than 0"));
        }
        if self.top_p.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
            return Err(ApiError::invalid_params("top_p must be between 0 and 1"));
        }
        if self.n.is_some_and(|n| !(1..=4).contains(&n)) {
            return Err(ApiError::invalid_params("n must be between 1 and 4"));
        }
        if self.max_tokens.is_some_and(|max| max < 1) {
            return Err(ApiError::invalid_params("max_tokens must be positive"));
        }
        if self.repetition_penalty.is_some_and(|penalty| penalty <= 0.0) {
            return Err(ApiError::invalid_params("repetition_penalty must be positive"));
        }
        if self.update_interval.is_some_and(|seconds| seconds < 0.0) {
            return Err(ApiError::invalid_params("update_interval must not be negative"));
        }
        if let Some(format) = &self.response_format {
            check_format(&format.kind, format.schema.as_ref())?;
        }
        Ok(())
    }

    fn validate_functions(&self) -> Result<(), ApiError> {
        for function in &self.functions {
            check_function_name(&function.name)?;
            if function.parameters.is_none() && !BUILT_IN.contains(&function.name.as_str()) {
                return Err(ApiError::invalid_params(format!(
                    "function '{}' has no parameters",
                    function.name
                )));
            }
            check_parameters(&function.name, function.parameters.as_ref())?;
        }
        if let Some(FunctionChoice::Named { name }) = &self.function_call
            && !BUILT_IN.contains(&name.as_str())
            && !self.functions.iter().any(|function| function.name == *name)
        {
            return Err(ApiError::invalid_params(format!(
                "function_call name '{name}' is not found in functions"
            )));
        }
        Ok(())
    }

    fn validate_messages(&self) -> Result<(), ApiError> {
        if self.messages.is_empty() {
            return Err(ApiError::invalid_params("messages must not be empty"));
        }
        let mut attachments = 0;
        let mut pending: Option<&str> = None;
        for (at, message) in self.messages.iter().enumerate() {
            if message.role == Role::System && at > 0 {
                return Err(ApiError::invalid_params("system message must be the first message"));
            }
            attachments += message.attachments.len();
            match (pending.take(), message.role) {
                (Some(name), Role::Function) => check_result(message, name)?,
                (Some(name), _) => {
                    return Err(ApiError::invalid_params(format!(
                        "function_call '{name}' must be followed by a function message"
                    )));
                }
                (None, Role::Function) => {
                    return Err(ApiError::invalid_params(
                        "function message must follow an assistant message with function_call",
                    ));
                }
                (None, Role::Assistant) => {
                    if let Some(call) = &message.function_call {
                        check_state_id(
                            "functions_state_id",
                            message.functions_state_id.as_deref(),
                        )?;
                        pending = Some(&call.name);
                    }
                }
                (None, _) => {}
            }
            if message.role != Role::Assistant && message.function_call.is_some() {
                return Err(ApiError::invalid_params(
                    "function_call belongs to the assistant role",
                ));
            }
            let empty = message.content.as_deref().unwrap_or_default().is_empty();
            if empty && message.role == Role::User && message.attachments.is_empty() {
                return Err(ApiError::invalid_params("user message content is empty"));
            }
        }
        if attachments > MAX_ATTACHMENTS {
            return Err(ApiError::invalid_params(format!(
                "no more than {MAX_ATTACHMENTS} attachments are allowed"
            )));
        }
        if let Some(name) = pending {
            return Err(ApiError::invalid_params(format!(
                "function_call '{name}' must be followed by a function message"
            )));
        }
        Ok(())
    }
}

/// The state of a call comes back with it; one that was never issued here is only read.
pub(crate) fn check_state_id(member: &str, id: Option<&str>) -> Result<(), ApiError> {
    match id {
        None | Some("") => {
            Err(ApiError::invalid_params(format!("{member} is required with function_call")))
        }
        Some(id) if is_uuid(id) => Ok(()),
        Some(_) => Err(ApiError::invalid_params(format!("{member} must be a uuid"))),
    }
}

/// Whether `text` has the form 8-4-4-4-12 of hexadecimal digits.
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// A function result names its function (or leaves the name out) and holds JSON text.
fn check_result(message: &Message, called: &str) -> Result<(), ApiError> {
    if message.name.as_deref().is_some_and(|name| name != called) {
        return Err(ApiError::invalid_params(format!(
            "function message name does not match function_call '{called}'"
        )));
    }
    let content = message.content.as_deref().unwrap_or_default();
    if serde_json::from_str::<serde::de::IgnoredAny>(content).is_err() {
        return Err(ApiError::invalid_params(
            "function message content must be a valid JSON string",
        ));
    }
    Ok(())
}

/// Names are Latin letters, digits, `_`, `-` and `.`, and start with a letter.
pub(crate) fn check_function_name(name: &str) -> Result<(), ApiError> {
    let mut bytes = name.bytes();
    let starts = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic());
    if starts && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)) {
        return Ok(());
    }
    Err(ApiError::invalid_params(format!(
        "function name '{name}' must contain only latin letters, digits, '_', '-', '.' and start with a letter"
    )))
}

/// Parameters are an object schema.
pub(crate) fn check_parameters(
    name: &str,
    parameters: Option<&Map<String, Value>>,
) -> Result<(), ApiError> {
    let Some(parameters) = parameters else {
        return Ok(());
    };
    match parameters.get("type").and_then(Value::as_str) {
        None | Some("object") => Ok(()),
        Some(other) => Err(ApiError::invalid_params(format!(
            "parameters of function '{name}' must have type object, not {other}"
        ))),
    }
}

/// Formats shared by both versions: `text`, and `json_schema` with a schema.
pub(crate) fn check_format(kind: &str, schema: Option<&Value>) -> Result<(), ApiError> {
    match kind {
        "text" => Ok(()),
        "json_schema" => match schema {
            Some(Value::Object(schema)) if !schema.is_empty() => Ok(()),
            _ => Err(ApiError::bad_request("Empty schema in response_format")),
        },
        other => {
            Err(ApiError::bad_request(format!("response_format type '{other}' is not supported")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use serde_json::json;

    fn check(body: &Value) -> Result<ChatRequest, ApiError> {
        parse(body.to_string().as_bytes())
    }

    fn with_messages(messages: Value) -> Value {
        json!({"model": "GigaChat-2", "messages": messages})
    }

    fn refusal(body: &Value) -> (u16, String) {
        let error = check(body).expect_err("must be refused");
        (error.status.as_u16(), error.message)
    }

    #[test]
    fn one_system_message_and_first() {
        let ok = with_messages(json!([
            {"role": "system", "content": "Будь краток"},
            {"role": "user", "content": "Привет"},
        ]));
        check(&ok).expect("valid");
        for messages in [
            json!([{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]),
            json!([{"role": "system", "content": "a"}, {"role": "system", "content": "b"}]),
        ] {
            assert_eq!(
                refusal(&with_messages(messages)),
                (422, "Invalid params: system message must be the first message".to_owned())
            );
        }
    }

    #[test]
    fn types_of_other_apis_are_syntax_errors() {
        for messages in [
            json!([{"role": "user", "content": [{"type": "text", "text": "a"}]}]),
            json!([{"role": "developer", "content": "a"}]),
            json!([{"role": "assistant", "content": "", "functions_state_id": "x",
                "function_call": {"name": "f", "arguments": "{\"a\":1}"}}]),
        ] {
            assert_eq!(refusal(&with_messages(messages)).0, 400);
        }
        let mut body = with_messages(json!([{"role": "user", "content": "a"}]));
        body["function_call"] = json!("required");
        assert_eq!(refusal(&body).0, 400);
        assert_eq!(parse(b"{").unwrap_err().status, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn a_call_keeps_its_state_and_gets_its_result() {
        let call = json!({"role": "assistant", "content": "", "functions_state_id": "019e8373-dc9a-7883-af60-ebb20b79e1e1",
            "function_call": {"name": "f", "arguments": {"city": "Москва"}}});
        let result = json!({"role": "function", "name": "f", "content": "{\"t\":1}"});
        let user = json!({"role": "user", "content": "погода"});
        check(&with_messages(json!([user, call, result, call, result]))).expect("valid");

        let mut stateless = call.clone();
        stateless.as_object_mut().unwrap().remove("functions_state_id");
        let (status, message) = refusal(&with_messages(json!([user, stateless, result])));
        assert_eq!(status, 422);
        assert!(message.contains("functions_state_id"));

        assert_eq!(refusal(&with_messages(json!([user, call]))).0, 422);
        assert_eq!(refusal(&with_messages(json!([user, call, call, result, result]))).0, 422);
        assert_eq!(refusal(&with_messages(json!([user, result]))).0, 422);

        let mut plain = result.clone();
        plain["content"] = json!("тепло");
        assert!(refusal(&with_messages(json!([user, call, plain]))).1.contains("JSON"));
        let mut other = result;
        other["name"] = json!("g");
        assert!(refusal(&with_messages(json!([user, call, other]))).1.contains("match"));
    }

    #[test]
    fn options_have_ranges_and_formats_are_known() {
        let base = with_messages(json!([{"role": "user", "content": "a"}]));
        for (name, value) in [
            ("temperature", json!(0)),
            ("top_p", json!(1.5)),
            ("n", json!(0)),
            ("max_tokens", json!(0)),
            ("repetition_penalty", json!(0)),
            ("update_interval", json!(-1)),
        ] {
            let mut body = base.clone();
            body[name] = value;
            let (status, message) = refusal(&body);
            assert_eq!(status, 422, "{name}");
            assert!(message.contains(name), "{message}");
        }
        for (format, ok) in [
            (json!({"type": "json_schema", "schema": {"type": "object"}}), true),
            (json!({"type": "text"}), true),
            (json!({"type": "json_schema"}), false),
            (json!({"type": "json_object"}), false),
        ] {
            let mut body = base.clone();
            body["response_format"] = format;
            assert_eq!(check(&body).is_ok(), ok);
        }
    }

    #[test]
    fn function_names_are_latin_and_choices_exist() {
        let mut body = with_messages(json!([{"role": "user", "content": "a"}]));
        for (name, ok) in [("get_weather", true), ("a.b-c", true), ("1f", false), ("погода", false)]
        {
            body["functions"] = json!([{"name": name, "parameters": {"type": "object"}}]);
            assert_eq!(check(&body).is_ok(), ok, "{name}");
        }
        body["functions"] = json!([{"name": "f"}]);
        assert!(refusal(&body).1.contains("no parameters"));
        body["functions"] = json!([{"name": "text2image"}, {"name": "f", "parameters": {}}]);
        body["function_call"] = json!({"name": "g"});
        assert_eq!(refusal(&body).0, 422);
        body["function_call"] = json!({"name": "f"});
        check(&body).expect("valid");
    }
}
