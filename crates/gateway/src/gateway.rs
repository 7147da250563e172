use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, Guard};
use serde::Serialize;
use telemetry::Metrics;
use tokio::sync::watch;

use crate::accounting::Accounting;
use crate::routing::DecisionMemory;
use crate::snapshot::Snapshot;

/// What all workers share: the configuration in force, the metrics, and whether the process is on
/// its way out.
#[derive(Debug)]
pub struct Gateway {
    snapshot: ArcSwap<Snapshot>,
    /// Changes with each new snapshot.
    published: watch::Sender<()>,
    metrics: Arc<Metrics>,
    accounting: Accounting,
    decisions: DecisionMemory,
    draining: AtomicBool,
}

/// The answer of `/health/ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether requests should be sent here.
    pub ready: bool,
    /// What is not ready; empty when all is. A provider whose credentials are refused is named but
    /// does not make the process unready: its routes may have other deployments, and only requests
    /// find out when it is well again. Nor does an identity provider: its keys stay in use, and
    /// keys of callers need none.
    pub not_ready: Vec<String>,
}

impl Gateway {
    /// A gateway that serves by `snapshot`.
    #[must_use]
    pub fn new(snapshot: Snapshot, metrics: Arc<Metrics>) -> Self {
        Self::with_accounting(snapshot, metrics, Accounting::default())
    }

    /// A gateway that serves by `snapshot` and counts by `accounting`.
    #[must_use]
    pub fn with_accounting(
        snapshot: Snapshot,
        metrics: Arc<Metrics>,
        accounting: Accounting,
    ) -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            published: watch::Sender::new(()),
            metrics,
            accounting,
            decisions: DecisionMemory::default(),
            draining: AtomicBool::new(false),
        }
    }

    /// Serves new requests by `snapshot`; requests in flight keep the one they began with.
    pub fn publish(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
        self.published.send_replace(());
    }

    /// Tells of each snapshot that is published from now on.
    pub(crate) fn published(&self) -> watch::Receiver<()> {
        self.published.subscribe()
    }

    /// The configuration in force.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Guard::into_inner(self.snapshot.load())
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Who may use how much, and what was used.
    #[must_use]
    pub fn accounting(&self) -> &Accounting {
        &self.accounting
    }

    /// What was decided, and what came of it.
    #[must_use]
    pub fn decisions(&self) -> &DecisionMemory {
        &self.decisions
    }

    /// Readiness goes false and stays so.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the process is about to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether requests should be sent here, and if not, why.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let mut not_ready = Vec::new();
        if self.is_draining() {
            not_ready.push("server: draining, about to stop".to_owned());
        }
        for (provider, fault) in self.snapshot().credential_faults() {
            not_ready.push(format!("provider {provider}: {fault}"));
        }
        let issuers = self.snapshot().issuers.clone();
        for (issuer, fault) in issuers.iter().flat_map(|issuers| issuers.faults()) {
            not_ready.push(format!("identity provider {issuer}: {fault}"));
        }
        Readiness { ready: !self.is_draining(), not_ready }
    }
}
