use std::sync::Arc;

use chat::{ApiError, ErrorKind, Usage};
use journal::{Journal, OpenRecord, Unfinished};
use metering::{ChargedUsage, LedgerEntry, LedgerOutcome, Price, divide_half_even};
use serde::{Deserialize, Serialize};

/// What an attempt is journalled with when it begins: enough to charge for it if the process dies.
#[derive(Debug, Serialize, Deserialize)]
struct Intent {
    entry: LedgerEntry,
    /// What the prompt costs, nano-roubles.
    prompt_nanos: i64,
    /// What a million completion tokens cost, nano-roubles.
    completion_nanos: i64,
}

/// Room for the closing record beyond what the intent took.
const MORE: usize = 256;

/// A call to a provider that may be charged for.
#[derive(Debug)]
pub(crate) struct Attempt {
    entry: LedgerEntry,
    price: Arc<Price>,
    record: Option<OpenRecord>,
}

impl Attempt {
    /// Writes the intent to the journal before the provider is called. `entry` holds the estimate of
    /// the prompt.
    ///
    /// # Errors
    /// When the journal is full: what could not be charged for is not asked for.
    pub(crate) fn begin(
        journal: Option<&Arc<Journal>>,
        mut entry: LedgerEntry,
        price: Arc<Price>,
    ) -> Result<Self, ApiError> {
        entry.price = price.version().to_string();
        let Some(journal) = journal else { return Ok(Self { entry, price, record: None }) };
        let million = ChargedUsage { completion_tokens: 1_000_000, ..ChargedUsage::default() };
        let nothing = price.cost(&ChargedUsage::default()).nanos;
        let intent = Intent {
            prompt_nanos: price.cost(&entry.usage).nanos,
            completion_nanos: price.cost(&million).nanos - nothing,
            entry,
        };
        let payload = encode(&intent);
        let record = journal.open_record(&payload, payload.len() + MORE).map_err(|error| {
            tracing::error!(%error, event = "journal_full", "usage cannot be recorded");
            ApiError::new(
                ErrorKind::Overloaded,
                "usage cannot be recorded at the moment, so nothing is served; tell whoever runs \
                 llm-proxy",
            )
            .with_code("journal_unavailable")
        })?;
        Ok(Self { entry: intent.entry, price, record: Some(record) })
    }

    /// So many completion tokens were delivered so far.
    pub(crate) fn progress(&self, tokens: u64) {
        if let Some(record) = &self.record {
            record.progress(tokens, 0);
        }
    }

    /// What `usage` costs, nano-roubles.
    pub(crate) fn cost_of(&self, usage: &Usage) -> i64 {
        self.price.cost(&charged_usage(usage, self.entry.usage.images)).nanos
    }

    /// The provider charges nothing.
    pub(crate) fn forget(self) {
        if let Some(record) = self.record {
            close(record, &[]);
        }
    }

    /// The attempt is over and charged for. What it cost, nano-roubles.
    pub(crate) fn charge(
        mut self,
        usage: Option<&Usage>,
        delivered: u64,
        outcome: LedgerOutcome,
        at_ms: i64,
    ) -> Charged {
        match usage {
            Some(usage) => {
                self.entry.usage = charged_usage(usage, self.entry.usage.images);
            }
            None => {
                self.entry.usage.completion_tokens = delivered;
                self.entry.estimated = true;
            }
        }
        self.entry.cost_nanos = self.price.cost(&self.entry.usage).nanos;
        self.entry.outcome = outcome;
        self.entry.at_ms = at_ms;
        if let Some(record) = self.record {
            close(record, &encode(&self.entry));
        }
        let usage = &self.entry.usage;
        Charged {
            tokens: usage.prompt_tokens.saturating_add(usage.completion_tokens),
            nanos: self.entry.cost_nanos,
        }
    }
}

fn charged_usage(usage: &Usage, images: u64) -> ChargedUsage {
    ChargedUsage {
        prompt_tokens: usage.prompt_tokens,
        cached_tokens: usage.cached_prompt_tokens,
        completion_tokens: usage.completion_tokens,
        reasoning_tokens: usage.reasoning_tokens,
        images,
    }
}

/// What an attempt used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Charged {
    pub(crate) tokens: u64,
    pub(crate) nanos: i64,
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn close(record: OpenRecord, payload: &[u8]) {
    if let Err(error) = record.close(payload) {
        // It stays open, and is charged as an attempt of a process that died.
        tracing::error!(%error, event = "journal_full", "an attempt could not be closed");
    }
}

/// The ledger's entry for an attempt that was running when the process died: the prompt and what
/// was delivered, as far as the journal knows. `None`: the record is not one of ours.
#[must_use]
pub fn recovered_entry(unfinished: &Unfinished, at_ms: i64) -> Option<LedgerEntry> {
    let intent: Intent = serde_json::from_slice(&unfinished.payload).ok()?;
    let mut entry = intent.entry;
    let delivered = unfinished.progress[0];
    entry.usage.completion_tokens = delivered;
    let completion = i128::from(intent.completion_nanos) * i128::from(delivered);
    let completion = i64::try_from(divide_half_even(completion, 1_000_000)).unwrap_or(i64::MAX);
    entry.cost_nanos = intent.prompt_nanos.saturating_add(completion);
    entry.estimated = true;
    entry.outcome = LedgerOutcome::Recovered;
    entry.at_ms = at_ms;
    Some(entry)
}

/// The ledger's entry that a finished record of the journal holds; `None`: nothing was charged.
///
/// # Errors
/// When the record is none of ours.
pub fn shipped_entry(payload: &[u8]) -> Result<Option<LedgerEntry>, serde_json::Error> {
    if payload.is_empty() { Ok(None) } else { serde_json::from_slice(payload).map(Some) }
}
