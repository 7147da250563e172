use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Logs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// `error`, `warn`, `info`, `debug` or `trace`, also by module (`info,gateway=debug`).
    pub log_level: String,
    /// How a line looks. Needs a restart.
    pub log_format: LogFormat,
    /// Which requests get a line. Prompts and answers are in none.
    pub access_log: AccessLog,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            log_level: "info".to_owned(),
            log_format: LogFormat::Json,
            access_log: AccessLog::All,
        }
    }
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object.
    Json,
    /// For a person.
    Text,
}

/// Which requests get a line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccessLog {
    /// Each.
    All,
    /// Those that failed.
    Errors,
    /// None.
    Off,
}
