use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    level: &'static str,
    limit: &'static str,
}

/// What is counted of limits, budgets and the ledger.
#[derive(Debug)]
pub struct AccountingMetrics {
    spend: Counter,
    limit_refusals: Family<RefusalLabels, Counter>,
    /// Requests refused because a budget was spent.
    pub budget_refusals: Counter,
    /// Shares of budgets (50, 80, 100 %) that were passed.
    pub budget_alerts: Counter,
    /// Entries that the ledger's database has taken.
    pub ledger_entries: Counter,
    /// Entries that wait in the journal for the database.
    pub ledger_waiting: Gauge<i64, AtomicI64>,
    /// Times that the database did not take entries.
    pub ledger_failures: Counter,
    /// Times that replicas could not exchange what they have used.
    pub exchange_failures: Counter,
}

impl AccountingMetrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let metrics = Self {
            spend: counter("llm_proxy_spend_nano_roubles", "What providers charge, nano-roubles"),
            budget_refusals: counter(
                "llm_proxy_budget_refusals",
                "Requests refused because a budget was spent",
            ),
            budget_alerts: counter(
                "llm_proxy_budget_alerts",
                "Shares of budgets (50, 80, 100 %) that were passed",
            ),
            ledger_entries: counter(
                "llm_proxy_ledger_entries",
                "Entries that the ledger's database has taken",
            ),
            ledger_failures: counter(
                "llm_proxy_ledger_failures",
                "Times that the database did not take entries",
            ),
            exchange_failures: counter(
                "llm_proxy_exchange_failures",
                "Times that replicas could not exchange what they have used",
            ),
            limit_refusals: Family::default(),
            ledger_waiting: Gauge::default(),
        };
        registry.register(
            "llm_proxy_limit_refusals",
            "Requests refused because of a limit",
            metrics.limit_refusals.clone(),
        );
        registry.register(
            "llm_proxy_ledger_waiting_entries",
            "Entries that wait in the journal for the database",
            metrics.ledger_waiting.clone(),
        );
        metrics
    }

    /// Counts what a provider charges, nano-roubles.
    pub fn count_spend(&self, nanos: i64) {
        self.spend.inc_by(u64::try_from(nanos).unwrap_or(0));
    }

    /// Counts a request refused by the limit of a level.
    pub fn count_limit_refusal(&self, level: &'static str, limit: &'static str) {
        self.limit_refusals.get_or_create(&RefusalLabels { level, limit }).inc();
    }
}
