use crate::{ExtraMembers, Usage};

/// Texts (or token ids) to embed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EmbeddingRequest {
    /// The public model name, then the deployment's.
    pub model: String,
    /// What to embed, in order.
    pub input: Vec<EmbeddingInput>,
    /// Length of the vectors, where the model can shorten them.
    pub dimensions: Option<u32>,
    /// Whether the caller wants base64 of little-endian f32 (OpenAI's `encoding_format`).
    pub base64: bool,
    /// The application's name for its end user.
    pub user: Option<String>,
    /// Members that nobody here interprets.
    pub extra: ExtraMembers,
}

/// One thing to embed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmbeddingInput {
    /// A text.
    Text(String),
    /// Ids of the model's own tokens.
    Tokens(Vec<u32>),
}

/// Vectors for all inputs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EmbeddingResponse {
    /// The model that the provider says answered.
    pub model: String,
    /// One per input, in the order of the inputs.
    pub embeddings: Vec<Embedding>,
    /// What it cost.
    pub usage: Usage,
}

/// One vector.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Embedding {
    /// Number of the input.
    pub index: u32,
    /// The vector.
    pub vector: Vec<f32>,
}
