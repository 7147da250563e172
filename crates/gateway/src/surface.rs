use chat::{ApiError, ErrorKind};
use http::{HeaderMap, Method};
use providers::Operation;

/// An API that callers speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Surface {
    /// OpenAI `POST /v1/chat/completions`
    ChatCompletions,
    /// OpenAI `POST /v1/responses`, or its WebSocket
    Responses,
    /// OpenAI `POST /v1/completions`
    Completions,
    /// OpenAI `POST /v1/embeddings`
    Embeddings,
    /// OpenAI `POST /v1/moderations`
    Moderations,
    /// `GET /v1/models` and `/v1/models/{id}`, OpenAI's or Anthropic's by their headers
    Models,
    /// Anthropic `POST /v1/messages`
    Messages,
    /// Anthropic `POST /v1/messages/count_tokens`
    CountTokens,
    /// `POST /v1/feedback`: what somebody says of an answer
    Feedback,
    /// A path at which there is no API; what asks for it is refused, and counted as this
    Unknown,
}

/// Whose words errors and headers are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vendor {
    OpenAi,
    Anthropic,
}

impl Surface {
    /// The value of the `surface` label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Responses => "responses",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Moderations => "moderations",
            Self::Models => "models",
            Self::Messages => "messages",
            Self::CountTokens => "count_tokens",
            Self::Feedback => "feedback",
            Self::Unknown => "unknown",
        }
    }

    /// What is asked of a provider that speaks this surface itself.
    pub(crate) fn operation(self) -> Operation {
        match self {
            Self::ChatCompletions | Self::Messages => Operation::Chat,
            Self::Responses => Operation::Responses,
            Self::Completions => Operation::Completions,
            Self::Embeddings => Operation::Embeddings,
            Self::Moderations => Operation::Moderations,
            Self::CountTokens => Operation::CountTokens,
            Self::Models | Self::Feedback | Self::Unknown => Operation::Models,
        }
    }

    pub(crate) fn vendor(self) -> Vendor {
        match self {
            Self::Messages | Self::CountTokens => Vendor::Anthropic,
            _ => Vendor::OpenAi,
        }
    }

    fn method(self) -> Method {
        match self {
            Self::Models => Method::GET,
            _ => Method::POST,
        }
    }

    /// The surface of a path, whatever the method.
    pub(crate) fn of(path: &str) -> Self {
        Self::at(path).map_or(Self::Unknown, |(surface, _)| surface)
    }

    /// The surface of a path, a slash at its end aside, and the model that the path names.
    fn at(path: &str) -> Option<(Self, Option<&str>)> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let surface = match path.strip_prefix("/v1/")? {
            "chat/completions" => Self::ChatCompletions,
            "responses" => Self::Responses,
            "completions" => Self::Completions,
            "embeddings" => Self::Embeddings,
            "moderations" => Self::Moderations,
            "messages" => Self::Messages,
            "messages/count_tokens" => Self::CountTokens,
            "models" => Self::Models,
            "feedback" => Self::Feedback,
            other => {
                let id = other.strip_prefix("models/").filter(|id| !id.is_empty())?;
                return Some((Self::Models, Some(id)));
            }
        };
        Some((surface, None))
    }
}

/// What a request line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked<'a> {
    pub(crate) surface: Surface,
    /// The model of `/v1/models/{id}`, still percent-encoded.
    pub(crate) model: Option<&'a str>,
}

/// Reads a request line.
pub(crate) fn asked<'a>(method: &Method, path: &'a str) -> Result<Asked<'a>, ApiError> {
    let Some((surface, model)) = Surface::at(path) else {
        return Err(ApiError::new(
            ErrorKind::NotFound,
            format!(
                "there is no {method} {}; the API is under /v1 (chat/completions, responses, \
                 completions, embeddings, moderations, models, messages, messages/count_tokens, feedback)",
                path.chars().take(200).collect::<String>()
            ),
        )
        .with_code("unknown_path"));
    };
    let expected = surface.method();
    if *method != expected && !(surface == Surface::Responses && *method == Method::GET) {
        return Err(ApiError::new(
            ErrorKind::MethodNotAllowed,
            format!("{path} takes {expected}, not {method}"),
        )
        .with_code("method_not_allowed"));
    }
    Ok(Asked { surface, model })
}

/// The method that a path takes, for `Allow` (RFC 9110, 10.2.1).
pub(crate) fn allowed(path: &str) -> Option<Method> {
    let (surface, _) = Surface::at(path)?;
    Some(surface.method())
}

/// In whose words an error about this request line is told when no surface could be found.
pub(crate) fn vendor_of(path: &str, headers: &HeaderMap) -> Vendor {
    if path.starts_with("/v1/messages") || headers.contains_key("anthropic-version") {
        Vendor::Anthropic
    } else {
        Vendor::OpenAi
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_lines_are_read() {
        let found = asked(&Method::POST, "/v1/messages/count_tokens").unwrap();
        assert_eq!(found.surface, Surface::CountTokens);
        let found = asked(&Method::GET, "/v1/models/qwen%2F3").unwrap();
        assert_eq!(found, Asked { surface: Surface::Models, model: Some("qwen%2F3") });
        let error = asked(&Method::GET, "/v1/chat/completions").unwrap_err();
        assert_eq!(error.kind, ErrorKind::MethodNotAllowed);
        let error = asked(&Method::POST, "/chat").unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound);
    }
}
