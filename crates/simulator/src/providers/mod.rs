//! One module per provider: its paths, its validation, its wire formats.

pub(crate) mod anthropic;
pub(crate) mod embedding;
pub(crate) mod gigachat;
pub(crate) mod openai;
#[cfg(test)]
pub(crate) mod planned;
pub(crate) mod timestamp;
pub(crate) mod yandex;

use serde::Deserialize;

use crate::answer::Answer;
use crate::exchange::Exchange;

/// The providers that the simulator plays.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Provider {
    #[default]
    OpenAi,
    Azure,
    Qwen,
    CloudRu,
    Vllm,
    Ollama,
    LlamaCpp,
    SgLang,
    OpenRouter,
    Gemini,
    Anthropic,
    GigaChat,
    Yandex,
}

impl Provider {
    pub(crate) const ALL: [Self; 13] = [
        Self::OpenAi,
        Self::Azure,
        Self::Qwen,
        Self::CloudRu,
        Self::Vllm,
        Self::Ollama,
        Self::LlamaCpp,
        Self::SgLang,
        Self::OpenRouter,
        Self::Gemini,
        Self::Anthropic,
        Self::GigaChat,
        Self::Yandex,
    ];

    /// The name in profiles, bills and the path prefix (`/openai`).
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Azure => "azure",
            Self::Qwen => "qwen",
            Self::CloudRu => "cloudru",
            Self::Vllm => "vllm",
            Self::Ollama => "ollama",
            Self::LlamaCpp => "llamacpp",
            Self::SgLang => "sglang",
            Self::OpenRouter => "openrouter",
            Self::Gemini => "gemini",
            Self::Anthropic => "anthropic",
            Self::GigaChat => "gigachat",
            Self::Yandex => "yandex",
        }
    }

    /// The provider named by a path's first segment.
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        let first = path.strip_prefix('/')?.split('/').next()?;
        Self::ALL.into_iter().find(|provider| provider.name() == first)
    }

    /// Answers a request below this provider's prefix.
    pub(crate) fn handle(self, exchange: &Exchange) -> Answer {
        match self {
            Self::Anthropic => anthropic::handle(exchange),
            Self::GigaChat => gigachat::handle(exchange),
            Self::Yandex => yandex::handle(exchange),
            family => openai::handle(family, exchange),
        }
    }
}
