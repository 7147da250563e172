//! Talks to providers: connections, credentials, timeouts.
//!
//! [`Provider`] is the door: it knows where a provider is, how it wants to be asked for an
//! [`Operation`] and in which [`WireFormat`], and who the proxy is to it. What differs between
//! kinds of providers is behind one trait, [`kind::Kind`].

mod credentials;
mod http;
mod images;
pub mod kind;
mod provider;

pub use self::http::{
    Answer, AnswerBody, EgressProxy, EgressProxyError, Endpoint, EndpointError, Http2, HttpClient,
    Origin, OriginError, OriginOptions,
};
pub use credentials::{
    CredentialError, Credentials, GigaChatLogin, ServiceAccountKey, TokenSource,
};
pub use provider::{Call, Provider, ProviderError, ProviderSpec, Timeouts};

/// What is asked of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// An answer in a conversation.
    Chat,
    /// OpenAI's Responses.
    Responses,
    /// OpenAI's legacy completions.
    Completions,
    /// Vectors of texts.
    Embeddings,
    /// OpenAI's moderations.
    Moderations,
    /// The number of tokens of a conversation.
    CountTokens,
    /// The list of models.
    Models,
}

impl Operation {
    /// All, in the order of their discriminants.
    pub(crate) const ALL: [Self; 7] = [
        Self::Chat,
        Self::Responses,
        Self::Completions,
        Self::Embeddings,
        Self::Moderations,
        Self::CountTokens,
        Self::Models,
    ];
}

/// The form of a request and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WireFormat {
    /// OpenAI chat completions.
    OpenAiChat,
    /// OpenAI responses.
    OpenAiResponses,
    /// OpenAI legacy completions.
    OpenAiCompletions,
    /// OpenAI embeddings.
    OpenAiEmbeddings,
    /// OpenAI moderations.
    OpenAiModerations,
    /// Anthropic messages, and counting their tokens.
    Anthropic,
    /// GigaChat v1 chat.
    GigaChat,
    /// GigaChat embeddings.
    GigaChatEmbeddings,
    /// YandexGPT `TextGeneration/completion`.
    YandexGpt,
    /// YandexGPT `textEmbedding`, one text a call.
    YandexEmbeddings,
    /// GigaChat's counting of tokens.
    GigaChatTokens,
    /// YandexGPT `tokenizeCompletion`.
    YandexTokens,
    /// vLLM's `/tokenize`.
    VllmTokens,
}
