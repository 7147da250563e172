//! What differs between kinds of providers.

use std::borrow::Cow;

use ::http::header::{AUTHORIZATION, HeaderName};
use ::http::{HeaderMap, HeaderValue};

use crate::{Operation, WireFormat};

/// A kind of provider: its paths, its formats, its way of naming models and of taking credentials.
pub trait Kind: std::fmt::Debug + Send + Sync {
    /// The form in which the provider takes an operation itself; `None` if it does not offer it.
    fn wire_format(&self, operation: Operation) -> Option<WireFormat>;

    /// The path and query below the base address.
    fn path(&self, operation: Operation, model: &str) -> String;

    /// Whether the path begins beside the last segment of the base address, where that names a
    /// version, and not below it.
    fn is_beside_version(&self, operation: Operation) -> bool {
        _ = operation;
        false
    }

    /// Whether the path differs between models.
    fn path_names_model(&self) -> bool {
        false
    }

    /// The model as it stands in the body.
    fn model_name<'m>(&self, operation: Operation, model: &'m str) -> Cow<'m, str>;

    /// The header that carries the secret, and what stands before it there.
    fn credential_header(&self) -> (HeaderName, &'static str) {
        (AUTHORIZATION, "Bearer ")
    }

    /// Headers that each request carries.
    fn static_headers(&self, headers: &mut HeaderMap) {
        _ = headers;
    }

    /// Whether pictures must be uploaded before they can be talked about.
    fn uploads_images(&self) -> bool {
        false
    }
}

/// Endpoints in OpenAI's style that a provider offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenAiApis {
    /// `chat/completions`
    pub chat: bool,
    /// `responses`
    pub responses: bool,
    /// `completions`
    pub completions: bool,
    /// `embeddings`
    pub embeddings: bool,
    /// `moderations`
    pub moderations: bool,
}

impl OpenAiApis {
    fn wire_format(self, operation: Operation) -> Option<WireFormat> {
        match operation {
            Operation::Chat => self.chat.then_some(WireFormat::OpenAiChat),
            Operation::Responses => self.responses.then_some(WireFormat::OpenAiResponses),
            Operation::Completions => self.completions.then_some(WireFormat::OpenAiCompletions),
            Operation::Embeddings => self.embeddings.then_some(WireFormat::OpenAiEmbeddings),
            Operation::Moderations => self.moderations.then_some(WireFormat::OpenAiModerations),
            Operation::CountTokens | Operation::Models => None,
        }
    }
}

fn openai_path(operation: Operation) -> &'static str {
    match operation {
        Operation::Chat => "/chat/completions",
        Operation::Responses => "/responses",
        Operation::Completions => "/completions",
        Operation::Embeddings => "/embeddings",
        Operation::Moderations => "/moderations",
        Operation::CountTokens | Operation::Models => "/models",
    }
}

/// Anything that speaks OpenAI's API: OpenAI, Qwen on DashScope, Cloud.ru, vLLM, SGLang,
/// llama.cpp, Ollama, OpenRouter, Gemini's compatible endpoint, YandexGPT's.
#[derive(Debug)]
pub struct OpenAiCompatible {
    /// What it offers.
    pub apis: OpenAiApis,
    /// The folder that YandexGPT's models are in: they are named `gpt://FOLDER/MODEL` then.
    pub yandex_folder: Option<String>,
    /// Cloud.ru's `x-project-id`.
    pub project_id: Option<HeaderValue>,
    /// Whether it counts tokens as vLLM does: `/tokenize`, beside `/v1`.
    pub tokenizes: bool,
}

impl Kind for OpenAiCompatible {
    fn wire_format(&self, operation: Operation) -> Option<WireFormat> {
        match operation {
            Operation::CountTokens => self.tokenizes.then_some(WireFormat::VllmTokens),
            operation => self.apis.wire_format(operation),
        }
    }

    fn path(&self, operation: Operation, _model: &str) -> String {
        match operation {
            Operation::CountTokens => "/tokenize".to_owned(),
            operation => openai_path(operation).to_owned(),
        }
    }

    fn is_beside_version(&self, operation: Operation) -> bool {
        operation == Operation::CountTokens
    }

    fn model_name<'m>(&self, operation: Operation, model: &'m str) -> Cow<'m, str> {
        match &self.yandex_folder {
            Some(folder) => yandex_model(folder, operation, model),
            None => Cow::Borrowed(model),
        }
    }

    fn static_headers(&self, headers: &mut HeaderMap) {
        if let Some(project) = &self.project_id {
            headers.insert("x-project-id", project.clone());
        }
    }
}

/// Azure OpenAI.
#[derive(Debug)]
pub struct AzureOpenAi {
    /// `api-version` of deployment URLs; `None`: the v1 path, which needs none.
    pub api_version: Option<String>,
    /// Whether the secret is an Entra token rather than a key.
    pub entra: bool,
}

impl Kind for AzureOpenAi {
    fn wire_format(&self, operation: Operation) -> Option<WireFormat> {
        let apis = OpenAiApis {
            chat: true,
            responses: self.api_version.is_none(),
            completions: true,
            embeddings: true,
            moderations: false,
        };
        apis.wire_format(operation)
    }

    fn path(&self, operation: Operation, model: &str) -> String {
        let path = openai_path(operation);
        match &self.api_version {
            Some(version) => {
                format!("/openai/deployments/{model}{path}?api-version={version}")
            }
            None => format!("/openai/v1{path}"),
        }
    }

    fn path_names_model(&self) -> bool {
        self.api_version.is_some()
    }

    fn model_name<'m>(&self, _operation: Operation, model: &'m str) -> Cow<'m, str> {
        Cow::Borrowed(model)
    }

    fn credential_header(&self) -> (HeaderName, &'static str) {
        if self.entra {
            (AUTHORIZATION, "Bearer ")
        } else {
            (HeaderName::from_static("api-key"), "")
        }
    }
}

/// Anthropic.
#[derive(Debug)]
pub struct Anthropic {
    /// `anthropic-version`
    pub version: HeaderValue,
    /// `anthropic-beta`
    pub beta: Option<HeaderValue>,
}

impl Kind for Anthropic {
    fn wire_format(&self, operation: Operation) -> Option<WireFormat> {
        matches!(operation, Operation::Chat | Operation::CountTokens)
            .then_some(WireFormat::Anthropic)
    }

    fn path(&self, operation: Operation, _model: &str) -> String {
        match operation {
            Operation::CountTokens => "/v1/messages/count_tokens".to_owned(),
            Operation::Models => "/v1/models".to_owned(),
            _ => "/v1/messages".to_owned(),
        }
    }

    fn model_name<'m>(&self, _operation: Operation, model: &'m str) -> Cow<'m, str> {
        Cow::Borrowed(model)
    }

    fn credential_header(&self) -> (HeaderName, &'static str) {
        (HeaderName::from_static("x-api-key"), "")
    }

    fn static_headers(&self, headers: &mut HeaderMap) {
        headers.insert("anthropic-version", self.version.clone());
        if let Some(beta) = &self.beta {
            headers.insert("anthropic-beta", beta.clone());
        }
    }
}

/// GigaChat, API v1.
#[derive(Debug)]
pub struct GigaChat;

impl Kind for GigaChat {
    fn wire_format(&self, operation: Operation) -> Option<WireFormat> {
        match operation {
            Operation::Chat => Some(WireFormat::GigaChat),
            Operation::Embeddings => Some(WireFormat::GigaChatEmbeddings),
            Operation::CountTokens => Some(WireFormat::GigaChatTokens),
            _ => None,
        }
    }

    fn path(&self, operation: Operation, _model: &str) -> String {
        match operation {
            Operation::Embeddings => "/embeddings".to_owned(),
            Operation::CountTokens => "/tokens/count".to_owned(),
            Operation::Models => "/models".to_owned(),
            _ => "/chat/completions".to_owned(),
        }
    }

    fn model_name<'m>(&self, _operation: Operation, model: &'m str) -> Cow<'m, str> {
        Cow::Borrowed(model)
    }

    fn uploads_images(&self) -> bool {
        true
    }
}

/// YandexGPT, native REST.
#[derive(Debug)]
pub struct YandexGpt {
    /// The folder that is charged and that models without one are looked for in.
    pub folder: String,
    /// `x-folder-id`, needed with IAM tokens.
    pub folder_header: HeaderValue,
    /// Whether the secret is an API key rather than an IAM token.
    pub api_key: bool,
}

impl Kind for YandexGpt {
    fn wire_format(&self, operation: Operation) -> Option<WireFormat> {
        match operation {
            Operation::Chat => Some(WireFormat::YandexGpt),
            Operation::Embeddings => Some(WireFormat::YandexEmbeddings),
            Operation::CountTokens => Some(WireFormat::YandexTokens),
            _ => None,
        }
    }

    fn path(&self, operation: Operation, _model: &str) -> String {
        match operation {
            Operation::Embeddings => "/foundationModels/v1/textEmbedding".to_owned(),
            Operation::CountTokens => "/foundationModels/v1/tokenizeCompletion".to_owned(),
            _ => "/foundationModels/v1/completion".to_owned(),
        }
    }

    fn model_name<'m>(&self, operation: Operation, model: &'m str) -> Cow<'m, str> {
        yandex_model(&self.folder, operation, model)
    }

    fn credential_header(&self) -> (HeaderName, &'static str) {
        (AUTHORIZATION, if self.api_key { "Api-Key " } else { "Bearer " })
    }

    fn static_headers(&self, headers: &mut HeaderMap) {
        headers.insert("x-folder-id", self.folder_header.clone());
    }
}

/// YandexGPT's name of a model: `gpt://FOLDER/MODEL/BRANCH`, `emb://...` for embeddings. A name
/// that is a URI already stays.
fn yandex_model<'m>(folder: &str, operation: Operation, model: &'m str) -> Cow<'m, str> {
    if model.contains("://") {
        return Cow::Borrowed(model);
    }
    let scheme = if operation == Operation::Embeddings { "emb" } else { "gpt" };
    let branch = if model.contains('/') { "" } else { "/latest" };
    Cow::Owned(format!("{scheme}://{folder}/{model}{branch}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_and_paths_are_named_as_the_providers_do() {
        assert_eq!(yandex_model("b1g", Operation::Chat, "yandexgpt"), "gpt://b1g/yandexgpt/latest");
        assert_eq!(yandex_model("b1g", Operation::Chat, "yandexgpt/rc"), "gpt://b1g/yandexgpt/rc");
        assert_eq!(
            yandex_model("b1g", Operation::Embeddings, "text-search-doc"),
            "emb://b1g/text-search-doc/latest"
        );
        assert_eq!(yandex_model("b1g", Operation::Chat, "ds://tuned"), "ds://tuned");
        let azure = AzureOpenAi { api_version: Some("2024-10-21".to_owned()), entra: false };
        assert_eq!(
            azure.path(Operation::Chat, "gpt-4o"),
            "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
        );
    }
}
