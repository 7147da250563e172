use crate::Json;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Instructions of the application, strongest.
    System,
    /// Instructions of the application in the newer OpenAI sense; providers without it get
    /// [`Role::System`].
    Developer,
    /// The end user.
    User,
    /// The model.
    Assistant,
    /// The result of a tool call; its parts are [`Part::ToolResult`].
    Tool,
}

/// One turn of the conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said, in order.
    pub parts: Vec<Part>,
    /// Name of the speaker where the dialect has one.
    pub name: Option<String>,
}

impl Message {
    /// A message of one text.
    #[must_use]
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self { role, parts: vec![Part::text(text)], name: None }
    }

    /// All text parts joined by nothing; other parts are passed over.
    #[must_use]
    pub fn joined_text(&self) -> String {
        self.parts.iter().filter_map(Part::as_text).collect()
    }
}

/// A piece of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Plain text.
    Text(Text),
    /// A picture.
    Image(Image),
    /// A document or sound.
    File(File),
    /// The model asks for a tool.
    ToolCall(ToolCall),
    /// What the tool answered.
    ToolResult(ToolResult),
    /// The model's thinking.
    Reasoning(Reasoning),
    /// The model's words of refusal.
    Refusal(String),
}

impl Part {
    /// A text part.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(Text { text: text.into(), cache_control: None })
    }

    /// The text, where this is a text part.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(&text.text),
            _ => None,
        }
    }
}

/// Plain text.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    /// The text.
    pub text: String,
    /// Anthropic's prompt-cache mark, a hint that other dialects do without.
    pub cache_control: Option<Json>,
}

/// Where bytes of an image or file are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaSource {
    /// An address that the provider fetches.
    Url(String),
    /// The bytes, base64 in the standard alphabet.
    Base64 {
        /// IANA media type, such as `image/png`.
        media_type: String,
        /// The encoded bytes.
        data: String,
    },
    /// An id that the provider gave at upload.
    FileId(String),
}

/// How closely the model looks at an image (OpenAI's `detail`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageDetail {
    /// The provider decides.
    Auto,
    /// Cheap.
    Low,
    /// Costly.
    High,
}

/// A picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Where it is.
    pub source: MediaSource,
    /// How closely to look.
    pub detail: Option<ImageDetail>,
    /// Anthropic's prompt-cache mark.
    pub cache_control: Option<Json>,
}

/// A document or a sound.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    /// Where it is.
    pub source: MediaSource,
    /// Its name, where the caller gave one.
    pub name: Option<String>,
}

/// The model asks for a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// Ties the result to the call. Dialects without ids (GigaChat, YandexGPT) get one made by
    /// their decoder.
    pub id: String,
    /// Name of the tool.
    pub name: String,
    /// The arguments as JSON text, as the model wrote it: not necessarily valid.
    pub arguments: String,
}

/// What a tool answered.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolResult {
    /// The call's id.
    pub call_id: String,
    /// Name of the tool where the dialect says it (GigaChat and YandexGPT need it: their encoders
    /// find it by `call_id` in the conversation when it is absent).
    pub name: Option<String>,
    /// Text and image parts.
    pub content: Vec<Part>,
    /// The tool failed (Anthropic's `is_error`).
    pub is_error: bool,
}

impl ToolResult {
    /// All text of the content.
    #[must_use]
    pub fn joined_text(&self) -> String {
        self.content.iter().filter_map(Part::as_text).collect()
    }
}

/// The model's thinking.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reasoning {
    /// Readable thinking, or its summary.
    pub text: String,
    /// What proves to the provider that it is its own (Anthropic's `signature`, GigaChat's
    /// `functions_state_id` travels in the call id instead).
    pub signature: Option<String>,
    /// Thinking that only the provider can read (Anthropic's `redacted_thinking`, OpenAI's
    /// `encrypted_content`).
    pub encrypted: Option<String>,
}
