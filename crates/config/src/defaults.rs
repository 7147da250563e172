//! What a provider's kind implies.

use crate::types::{
    Api, Config, Deployment, Provider, ProviderKind, Residency, TimeoutOverrides, Timeouts,
    YandexApi,
};

/// YandexGPT's OpenAI-compatible endpoint.
const YANDEX_OPENAI: &str = "https://llm.api.cloud.yandex.net/v1";
const ANTHROPIC_VERSION: &str = "2023-06-01";

impl ProviderKind {
    /// Each of them.
    pub const ALL: [Self; 13] = [
        Self::OpenAi,
        Self::AzureOpenAi,
        Self::Anthropic,
        Self::GigaChat,
        Self::YandexGpt,
        Self::CloudRu,
        Self::Qwen,
        Self::OpenRouter,
        Self::Gemini,
        Self::Vllm,
        Self::Sglang,
        Self::LlamaCpp,
        Self::Ollama,
    ];

    /// The word that stands in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::AzureOpenAi => "azure_openai",
            Self::Anthropic => "anthropic",
            Self::GigaChat => "gigachat",
            Self::YandexGpt => "yandexgpt",
            Self::CloudRu => "cloudru",
            Self::Qwen => "qwen",
            Self::OpenRouter => "openrouter",
            Self::Gemini => "gemini",
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::LlamaCpp => "llamacpp",
            Self::Ollama => "ollama",
        }
    }

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

    /// Where such a provider processes data, as far as the kind says.
    pub(crate) fn default_residency(self) -> Residency {
        match self {
            Self::GigaChat | Self::YandexGpt | Self::CloudRu => Residency::Russia,
            Self::Vllm | Self::Sglang | Self::LlamaCpp | Self::Ollama => Residency::OnPremise,
            _ => Residency::Global,
        }
    }

    pub(crate) fn default_apis(self) -> &'static [Api] {
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
        let default = match (self.kind, self.resolved_api()) {
            (ProviderKind::YandexGpt, YandexApi::OpenAi) => Some(YANDEX_OPENAI),
            (kind, _) => kind.default_base_url(),
        };
        self.base_url.as_deref().or(default).unwrap_or_default()
    }

    /// Where it processes data.
    #[must_use]
    pub fn resolved_residency(&self) -> Residency {
        self.residency.unwrap_or(self.kind.default_residency())
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

    /// Anthropic's `anthropic-version`.
    #[must_use]
    pub fn resolved_version(&self) -> &str {
        self.version.as_deref().unwrap_or(ANTHROPIC_VERSION)
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
                format!("{}/token", self.resolved_base_url().trim_end_matches('/'))
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

impl Deployment {
    /// How long to wait for it at `provider`.
    #[must_use]
    pub fn resolved_timeouts(&self, provider: &Provider) -> Timeouts {
        let (own, general) = (&self.timeouts, &provider.timeouts);
        Timeouts {
            connect_ms: own.connect_ms.unwrap_or(general.connect_ms),
            first_byte_ms: own.first_byte_ms.unwrap_or(general.first_byte_ms),
            idle_ms: own.idle_ms.unwrap_or(general.idle_ms),
            total_ms: own.total_ms.unwrap_or(general.total_ms),
        }
    }
}

impl Config {
    /// The same with every default written out, those by kind included.
    #[must_use]
    pub fn with_defaults(&self) -> Self {
        let mut config = self.clone();
        for provider in config.providers.values_mut() {
            let apis = provider.resolved_apis().to_vec();
            provider.base_url = Some(provider.resolved_base_url().to_owned());
            provider.residency = Some(provider.resolved_residency());
            let token_url = provider.resolved_token_url();
            match provider.kind {
                ProviderKind::GigaChat => {
                    provider.auth_url = Some(token_url);
                    if provider.user.is_none() {
                        provider.scope = Some(provider.resolved_scope().to_owned());
                    }
                }
                ProviderKind::YandexGpt => {
                    provider.api = Some(provider.resolved_api());
                    if provider.service_account_key_file.is_some() {
                        provider.iam_url = Some(token_url);
                    }
                    if provider.resolved_api() == YandexApi::OpenAi {
                        provider.apis = Some(apis);
                    }
                }
                ProviderKind::Anthropic => {
                    provider.version = Some(provider.resolved_version().to_owned());
                }
                ProviderKind::AzureOpenAi => {}
                kind => {
                    if kind == ProviderKind::CloudRu && provider.key_id.is_some() {
                        provider.token_url = Some(token_url);
                    }
                    provider.apis = Some(apis);
                }
            }
        }
        for model in &mut config.models {
            for deployment in &mut model.deployments {
                let Some(provider) = self.providers.get(&deployment.provider) else { continue };
                let timeouts = deployment.resolved_timeouts(provider);
                deployment.timeouts = TimeoutOverrides {
                    connect_ms: Some(timeouts.connect_ms),
                    first_byte_ms: Some(timeouts.first_byte_ms),
                    idle_ms: Some(timeouts.idle_ms),
                    total_ms: Some(timeouts.total_ms),
                };
                deployment.unsupported.get_or_insert(provider.unsupported);
                deployment.legacy_max_tokens.get_or_insert(provider.default_legacy_max_tokens());
            }
        }
        config
    }
}
