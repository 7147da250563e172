use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InspectionLabels {
    policy: String,
    verdict: &'static str,
    enforced: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DetectionLabels {
    kind: String,
    direction: &'static str,
}

/// What is measured of the guard.
#[derive(Debug)]
pub struct GuardMetrics {
    inspections: Family<InspectionLabels, Counter>,
    detections: Family<DetectionLabels, Counter>,
}

impl GuardMetrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let inspections = Family::default();
        registry.register(
            "llm_proxy_guard_inspections",
            "Requests that the guard looked at, by what came of it",
            inspections.clone(),
        );
        let detections = Family::default();
        registry.register(
            "llm_proxy_guard_detections",
            "What the guard found in requests (input) and answers (output)",
            detections.clone(),
        );
        Self { inspections, detections }
    }

    /// A request was looked at. `enforced`: whether the policy acts.
    pub fn count_inspection(&self, policy: &str, verdict: &'static str, enforced: bool) {
        let labels = InspectionLabels {
            policy: policy.to_owned(),
            verdict,
            enforced: if enforced { "true" } else { "false" },
        };
        self.inspections.get_or_create(&labels).inc();
    }

    /// Something was found in `input` or `output`.
    pub fn count_detection(&self, kind: &str, direction: &'static str) {
        let labels = DetectionLabels { kind: kind.to_owned(), direction };
        self.detections.get_or_create(&labels).inc();
    }
}
