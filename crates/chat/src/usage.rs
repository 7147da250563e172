/// What an exchange cost in tokens, as the provider counted.
///
/// `cached_prompt_tokens` and `cache_write_tokens` are parts of `prompt_tokens`;
/// `reasoning_tokens` is part of `completion_tokens`. Dialects that count otherwise (Anthropic
/// leaves cached tokens out of `input_tokens`) are converted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// All tokens of the prompt.
    pub prompt_tokens: u64,
    /// Those of them read from the provider's prompt cache.
    pub cached_prompt_tokens: u64,
    /// Those of them written to the provider's prompt cache.
    pub cache_write_tokens: u64,
    /// All tokens the model wrote.
    pub completion_tokens: u64,
    /// Those of them that were thinking.
    pub reasoning_tokens: u64,
}

impl Usage {
    /// Prompt and completion together.
    #[must_use]
    pub fn total_tokens(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }
}
