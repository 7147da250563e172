use std::time::Duration;

use crate::error::OpenError;

const MIB: u64 = 1024 * 1024;

/// How a journal is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of a segment: 64 KiB to 1 GiB, a multiple of 4096. Default 16 MiB. A payload, and the
    /// reserve of an open record, have at most an eighth of it; all reserves together half.
    pub segment_bytes: u64,
    /// Bytes of all segments together, the prepared one included; at least two segments. Default
    /// 4 GiB.
    pub max_total_bytes: u64,
    /// How often changed pages are written to the disk: what a power failure may cost. Positive;
    /// default 20 ms.
    pub sync_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 16 * MIB,
            max_total_bytes: 4096 * MIB,
            sync_interval: Duration::from_millis(20),
        }
    }
}

impl Options {
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let wrong = |name, problem| Err(OpenError::Option { name, problem });
        if !(64 * 1024..=1024 * MIB).contains(&self.segment_bytes)
            || !self.segment_bytes.is_multiple_of(4096)
        {
            return wrong("segment_bytes", "64 KiB to 1 GiB, a multiple of 4096");
        }
        if self.max_total_bytes / 2 < self.segment_bytes {
            return wrong("max_total_bytes", "at least two segments");
        }
        if self.sync_interval.is_zero() {
            return wrong("sync_interval", "must be positive");
        }
        Ok(())
    }

    /// Words of a segment.
    pub(crate) fn words(&self) -> usize {
        usize::try_from(self.segment_bytes / 8).unwrap_or(usize::MAX)
    }

    /// The largest payload, bytes.
    pub(crate) fn payload_limit(&self) -> usize {
        self.words()
    }
}
