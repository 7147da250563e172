//! What each key has cost: the provider's own account, to compare a gateway's against.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::prices::Price;
use crate::providers::Provider;

/// Tokens of one answer and the price at which they are charged.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Charge {
    pub(crate) provider: Provider,
    pub(crate) key: String,
    pub(crate) model: String,
    pub(crate) prompt_tokens: u64,
    /// Part of `prompt_tokens`.
    pub(crate) cached_tokens: u64,
    pub(crate) completion_tokens: u64,
    /// Part of `completion_tokens`.
    pub(crate) reasoning_tokens: u64,
    pub(crate) price: Price,
}

impl Charge {
    /// Cost in millionths of a micro-unit, exact.
    fn cost_pico(&self) -> u128 {
        let fresh = self.prompt_tokens.saturating_sub(self.cached_tokens);
        u128::from(fresh) * u128::from(self.price.input)
            + u128::from(self.cached_tokens) * u128::from(self.price.cached_input)
            + u128::from(self.completion_tokens) * u128::from(self.price.output)
    }
}

/// Totals of a key, or of one model under a key.
#[derive(Clone, Debug, Default, Serialize, PartialEq)]
pub struct Totals {
    /// Answers charged, complete or not.
    pub calls: u64,
    /// Prompt tokens, cached ones included.
    pub prompt_tokens: u64,
    /// Prompt tokens that a prefix cache served.
    pub cached_tokens: u64,
    /// Generated tokens that were delivered, reasoning included.
    pub completion_tokens: u64,
    /// Generated reasoning tokens.
    pub reasoning_tokens: u64,
    /// Cost by currency code, in millionths of the currency unit, rounded down.
    pub cost_micro: BTreeMap<&'static str, u64>,
    #[serde(skip)]
    cost_pico: BTreeMap<&'static str, u128>,
}

impl Totals {
    fn add(&mut self, charge: &Charge) {
        self.calls += 1;
        self.prompt_tokens += charge.prompt_tokens;
        self.cached_tokens += charge.cached_tokens;
        self.completion_tokens += charge.completion_tokens;
        self.reasoning_tokens += charge.reasoning_tokens;
        let pico = self.cost_pico.entry(charge.price.currency).or_default();
        *pico += charge.cost_pico();
        let micro = u64::try_from(*pico / 1_000_000).unwrap_or(u64::MAX);
        self.cost_micro.insert(charge.price.currency, micro);
    }
}

/// The account of one key at one provider.
#[derive(Clone, Debug, Default, Serialize, PartialEq)]
pub struct KeyBill {
    /// Provider's name, as in its path prefix.
    pub provider: &'static str,
    /// Sums over all models.
    #[serde(flatten)]
    pub total: Totals,
    /// Sums by model.
    pub models: BTreeMap<String, Totals>,
}

/// All accounts, by provider and key: `openai:sim-a`. Keys that do not start with `sim` may be real
/// and are shown as a hash.
pub type Accounts = BTreeMap<String, KeyBill>;

#[derive(Debug, Default)]
pub(crate) struct Bill(Mutex<std::collections::HashMap<(Provider, String), KeyBill>>);

impl Bill {
    pub(crate) fn add(&self, charge: &Charge) {
        let mut accounts = self.0.lock();
        let id = (charge.provider, charge.key.clone());
        let account = accounts.entry(id).or_default();
        account.provider = charge.provider.name();
        account.total.add(charge);
        match account.models.get_mut(&charge.model) {
            Some(totals) => totals.add(charge),
            None => account.models.entry(charge.model.clone()).or_default().add(charge),
        }
    }

    pub(crate) fn accounts(&self) -> Accounts {
        let accounts = self.0.lock();
        accounts
            .iter()
            .map(|((provider, key), bill)| {
                (format!("{}:{}", provider.name(), key_label(key)), bill.clone())
            })
            .collect()
    }

    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }
}

/// How a key is shown: simulated keys as they are, anything else (it may be real) as a hash.
pub(crate) fn key_label(key: &str) -> String {
    if key.starts_with("sim") || key == ANONYMOUS {
        return key.to_owned();
    }
    let digest = Sha256::digest(key.as_bytes());
    let hex: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// The account of callers without a key, where a provider needs none.
pub(crate) const ANONYMOUS: &str = "anonymous";

#[cfg(test)]
mod tests {
    use super::*;

    fn charge(key: &str) -> Charge {
        Charge {
            key: key.to_owned(),
            model: "m".to_owned(),
            prompt_tokens: 100,
            cached_tokens: 40,
            completion_tokens: 10,
            price: Price {
                currency: "USD",
                input: 2_500_000,
                cached_input: 1_250_000,
                output: 10_000_000,
            },
            ..Charge::default()
        }
    }

    #[test]
    fn costs_add_up_without_rounding_each() {
        let bill = Bill::default();
        for _ in 0..3 {
            bill.add(&charge("sim-a"));
        }
        let accounts = bill.accounts();
        let account = &accounts["openai:sim-a"];
        // 3 * (60 * 2.5 + 40 * 1.25 + 10 * 10) micro-dollars.
        assert_eq!(account.total.cost_micro["USD"], 900);
        assert_eq!(account.models["m"].calls, 3);
        assert_eq!(account.total.cached_tokens, 120);
    }

    #[test]
    fn real_looking_keys_are_hashed() {
        let bill = Bill::default();
        bill.add(&charge("sk-proj-secret"));
        let accounts = bill.accounts();
        let label = accounts.keys().next().expect("one account");
        assert!(label.starts_with("openai:sha256:") && !label.contains("secret"));
    }
}
