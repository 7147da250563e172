//! Prices, in micro-units of a currency per million tokens.

use crate::providers::Provider;

/// What a million tokens cost, in millionths of the currency unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Price {
    /// ISO 4217 code.
    pub(crate) currency: &'static str,
    pub(crate) input: u64,
    /// Input tokens that a prefix cache served.
    pub(crate) cached_input: u64,
    pub(crate) output: u64,
}

const fn usd(input: u64, cached_input: u64, output: u64) -> Price {
    Price { currency: "USD", input, cached_input, output }
}

const fn rub(input: u64, cached_input: u64, output: u64) -> Price {
    Price { currency: "RUB", input, cached_input, output }
}

/// Longest matching prefix of the model's name wins; `""` is a provider's default.
/// The figures are plausible, not current: what matters is that both sides agree on them.
const TABLE: &[(Provider, &str, Price)] = &[
    (Provider::OpenAi, "", usd(2_500_000, 1_250_000, 10_000_000)),
    (Provider::OpenAi, "gpt-4o-mini", usd(150_000, 75_000, 600_000)),
    (Provider::OpenAi, "gpt-4.1", usd(2_000_000, 500_000, 8_000_000)),
    (Provider::OpenAi, "gpt-4.1-mini", usd(400_000, 100_000, 1_600_000)),
    (Provider::OpenAi, "gpt-5", usd(1_250_000, 125_000, 10_000_000)),
    (Provider::OpenAi, "gpt-5-mini", usd(250_000, 25_000, 2_000_000)),
    (Provider::OpenAi, "o3", usd(2_000_000, 500_000, 8_000_000)),
    (Provider::OpenAi, "text-embedding-3-small", usd(20_000, 20_000, 0)),
    (Provider::OpenAi, "text-embedding-3-large", usd(130_000, 130_000, 0)),
    (Provider::Azure, "", usd(2_500_000, 1_250_000, 10_000_000)),
    (Provider::OpenRouter, "", usd(1_000_000, 500_000, 3_000_000)),
    (Provider::Gemini, "", usd(300_000, 75_000, 2_500_000)),
    (Provider::Anthropic, "", usd(3_000_000, 300_000, 15_000_000)),
    (Provider::Anthropic, "claude-haiku", usd(1_000_000, 100_000, 5_000_000)),
    (Provider::Anthropic, "claude-opus", usd(5_000_000, 500_000, 25_000_000)),
    (Provider::Qwen, "", rub(80_000_000, 32_000_000, 320_000_000)),
    (Provider::Qwen, "qwen-turbo", rub(4_000_000, 1_600_000, 16_000_000)),
    (Provider::CloudRu, "", rub(35_000_000, 35_000_000, 70_000_000)),
    (Provider::GigaChat, "", rub(65_000_000, 0, 65_000_000)),
    (Provider::GigaChat, "GigaChat-2-Pro", rub(500_000_000, 0, 500_000_000)),
    (Provider::GigaChat, "GigaChat-2-Max", rub(650_000_000, 0, 650_000_000)),
    (Provider::GigaChat, "Embeddings", rub(14_000_000, 14_000_000, 0)),
    (Provider::Yandex, "", rub(400_000_000, 400_000_000, 400_000_000)),
    (Provider::Yandex, "yandexgpt-lite", rub(200_000_000, 200_000_000, 200_000_000)),
    (Provider::Yandex, "text-search", rub(10_000_000, 10_000_000, 0)),
    (Provider::Vllm, "", rub(0, 0, 0)),
    (Provider::Ollama, "", rub(0, 0, 0)),
    (Provider::LlamaCpp, "", rub(0, 0, 0)),
    (Provider::SgLang, "", rub(0, 0, 0)),
];

/// The list price of `model` at `provider`.
pub(crate) fn list_price(provider: Provider, model: &str) -> Price {
    TABLE
        .iter()
        .filter(|(of, prefix, _)| *of == provider && model.starts_with(prefix))
        .max_by_key(|(_, prefix, _)| prefix.len())
        .map_or(rub(0, 0, 0), |(_, _, price)| *price)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_prefix_wins() {
        assert_eq!(list_price(Provider::OpenAi, "gpt-4.1-mini-2025-04-14").input, 400_000);
        assert_eq!(list_price(Provider::OpenAi, "unheard-of").input, 2_500_000);
        assert_eq!(list_price(Provider::Yandex, "yandexgpt-lite/latest").currency, "RUB");
    }
}
