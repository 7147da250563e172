use std::sync::OnceLock;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

/// How a log line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For a person at a terminal.
    Text,
}

/// Why logging could not be set up.
#[derive(Debug)]
pub struct LogInitError(String);

impl std::fmt::Display for LogInitError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for LogInitError {}

static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

fn filter(level: &str) -> Result<EnvFilter, LogInitError> {
    EnvFilter::try_new(level).map_err(|error| LogInitError(format!("log level: {error}")))
}

/// Sends logs to standard error, from now to the end of the process. `level` is a
/// `tracing_subscriber` filter (`info`, `info,gateway=debug`).
///
/// # Errors
/// When `level` is no filter, or logging is set up already.
pub fn init_logs(format: LogFormat, level: &str) -> Result<(), LogInitError> {
    let (filter, handle) = reload::Layer::new(filter(level)?);
    let registry = tracing_subscriber::registry().with(filter);
    let result = match format {
        LogFormat::Json => registry
            .with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr))
            .try_init(),
        LogFormat::Text => registry.with(fmt::layer().with_writer(std::io::stderr)).try_init(),
    };
    result.map_err(|error| LogInitError(error.to_string()))?;
    _ = FILTER.set(handle);
    Ok(())
}

/// Changes the level while the process runs; without effect before [`init_logs`].
///
/// # Errors
/// When `level` is no filter.
pub fn set_log_level(level: &str) -> Result<(), LogInitError> {
    let filter = filter(level)?;
    match FILTER.get() {
        Some(handle) => handle.reload(filter).map_err(|error| LogInitError(error.to_string())),
        None => Ok(()),
    }
}
