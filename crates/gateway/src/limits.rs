use std::time::Duration;

/// What a request body may be.
#[derive(Debug, Clone)]
pub struct BodyLimits {
    /// Most bytes, after decompression too.
    pub max_bytes: usize,
    /// Most levels of nesting of its JSON.
    pub max_json_depth: usize,
    /// Time for the whole body to arrive.
    pub read_timeout: Duration,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self { max_bytes: 32 << 20, max_json_depth: 128, read_timeout: Duration::from_secs(60) }
    }
}
