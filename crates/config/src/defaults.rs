//! What a provider's kind implies.

use crate::types::{Api, Provider, ProviderKind, Residency, YandexApi};

impl ProviderKind {
    /// The address of the public service, where there is one.
    #[must_use]
    pub fn default_base_url(self) -> Option<&'static str> {
        Some(match self {
            Self::OpenAi => "https://api.openai.com/v1",
            Self::Qwen => "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
            Self::CloudRu => "https://foundation-models.api.cloud.ru/v1",
            Self::OpenRouter => "https://openrouter.ai/api/v1",
            Self::Gemini => "https://generativelanguage.googleapis.com/v1beta/openai",
            Self::Anthropic => "https://api.anthropic.com",
            Self::GigaChat => "https://gigachat.devices.sberbank.ru/api/v1",
            Self::YandexGpt => "https://llm.api.cloud.yandex.net",
            Self::Ollama => "http://127.0.0.1:11434/v1",
            Self::Vllm | Self::Sglang | Self::LlamaCpp | Self::AzureOpenAi => return None,
        })
    }

    /// Whether it speaks OpenAI's API, so that `apis` says something about it.
    #[must_use]
    pub fn is_openai_compatible(self) -> bool {
        !matches!(self, Self::AzureOpenAi | Self::Anthropic | Self::GigaChat | Self::YandexGpt)
    }

    fn default_apis(self) -> &'static [Api] {
        match self {
            Self::OpenAi => &[
                Api::ChatCompletions,
                Api::Responses,
                Api::Completions,
                Api::Embeddings,
                Api::Moderations,
            ],
            Self::Vllm | Self::Sglang | Self::LlamaCpp => {
                &[Api::ChatCompletions, Api::Completions, Api::Embeddings]
            }
            _ => &[Api::ChatCompletions, Api::Embeddings],
        }
    }
}

impl Provider {
    /// Its address, the default of its kind included; empty where there is neither.
    #[must_use]
    pub fn resolved_base_url(&self) -> &str {
        self.base_url.as_deref().or(self.kind.default_base_url()).unwrap_or_default()
    }

    /// Where it processes data.
    #[must_use]
    pub fn resolved_residency(&self) -> Residency {
        self.residency.unwrap_or(match self.kind {
            ProviderKind::GigaChat | ProviderKind::YandexGpt | ProviderKind::CloudRu => {
                Residency::Russia
            }
            ProviderKind::Vllm
            | ProviderKind::Sglang
            | ProviderKind::LlamaCpp
            | ProviderKind::Ollama => Residency::OnPremise,
            _ => Residency::Global,
        })
    }

    /// The endpoints in OpenAI's style that it offers.
    #[must_use]
    pub fn resolved_apis(&self) -> &[Api] {
        self.apis.as_deref().unwrap_or(self.kind.default_apis())
    }

    /// Whether it knows the output limit only as `max_tokens`.
    #[must_use]
    pub fn default_legacy_max_tokens(&self) -> bool {
        !matches!(self.kind, ProviderKind::OpenAi | ProviderKind::AzureOpenAi)
    }

    /// GigaChat's scope.
    #[must_use]
    pub fn resolved_scope(&self) -> &str {
        self.scope.as_deref().unwrap_or("GIGACHAT_API_PERS")
    }

    /// The address of its token service.
    #[must_use]
    pub fn resolved_token_url(&self) -> String {
        let given = match self.kind {
            ProviderKind::GigaChat => &self.auth_url,
            ProviderKind::YandexGpt => &self.iam_url,
            _ => &self.token_url,
        };
        if let Some(url) = given {
            return url.clone();
        }
        match self.kind {
            // A user's token comes from the API itself.
            ProviderKind::GigaChat if self.user.is_some() => {
                format!("{}/token", self.resolved_base_url())
            }
            ProviderKind::GigaChat => {
                "https://ngw.devices.sberbank.ru:9443/api/v2/oauth".to_owned()
            }
            ProviderKind::YandexGpt => "https://iam.api.cloud.yandex.net/iam/v1/tokens".to_owned(),
            _ => "https://iam.api.cloud.ru/api/v1/auth/token".to_owned(),
        }
    }

    /// Which of YandexGPT's APIs is spoken.
    #[must_use]
    pub fn resolved_api(&self) -> YandexApi {
        self.api.unwrap_or_default()
    }
}
