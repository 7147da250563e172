use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a text comes from: how far it is to be trusted.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// The person or application that asks.
    #[default]
    User,
    /// The operator of the application.
    System,
    /// The model, earlier or now.
    Assistant,
    /// What a tool returned.
    ToolResult,
    /// What was retrieved or attached.
    Document,
    /// What tools say of themselves, and schemas.
    ToolDescription,
    /// The name of a file.
    FileName,
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::User,
        Self::System,
        Self::Assistant,
        Self::ToolResult,
        Self::Document,
        Self::ToolDescription,
        Self::FileName,
    ];

    /// Its name in logs and configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::System => "system",
            Self::Assistant => "assistant",
            Self::ToolResult => "tool_result",
            Self::Document => "document",
            Self::ToolDescription => "tool_description",
            Self::FileName => "file_name",
        }
    }

    /// Whether nobody in the conversation wrote it, so that it may hold instructions of strangers.
    #[must_use]
    pub fn is_foreign(self) -> bool {
        matches!(self, Self::ToolResult | Self::Document | Self::ToolDescription | Self::FileName)
    }

    /// Whether what comes this way is data, in which nobody has the right to instruct the model.
    #[must_use]
    pub fn is_data(self) -> bool {
        self.is_foreign()
    }

    pub(crate) fn bit(self) -> u8 {
        1 << (self as u8)
    }
}
