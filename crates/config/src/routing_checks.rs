//! What is wrong with routing beyond its form.

use std::collections::BTreeMap;

use ::routing::Sensitivity;
use ::routing::local::EngineKind;

use crate::fault::nearest;
use crate::semantics::Checker;
use crate::types::{Config, Deployment, Model, ProviderKind, Residency};

impl Checker<'_> {
    pub(crate) fn routing(&mut self, config: &Config) {
        let routing = &config.routing;
        if let Err(error) = routing.weights.check() {
            self.fault("routing.weights", error.to_string());
        }
        for (path, checked) in [
            ("routing.breaker", routing.breaker.check()),
            ("routing.retries", routing.retries.check()),
            ("routing.hedging", routing.hedging.check()),
        ] {
            if let Err(error) = checked {
                self.fault(path, error.to_string());
            }
        }
        for (number, model) in config.models.iter().enumerate() {
            let path = format!("models[{number}]");
            self.model_routing(config, &path, model);
            for (place, deployment) in model.deployments.iter().enumerate() {
                let inner = format!("{path}.deployments[{place}]");
                self.deployment_routing(config, &inner, deployment);
            }
        }
        self.fallback_cycles(config);
    }

    fn model_routing(&mut self, config: &Config, path: &str, model: &Model) {
        if let Some(Err(error)) = model.routing.weights.as_ref().map(::routing::Weights::check) {
            self.fault(&format!("{path}.routing.weights"), error.to_string());
        }
        let weights = model.deployments.iter().map(|deployment| deployment.weight);
        if !model.deployments.is_empty() && weights.sum::<f64>() <= 0.0 {
            self.fault(
                &format!("{path}.deployments"),
                "the weights sum to zero, so no request has a first choice; give one deployment a \
                 `weight` above 0",
            );
        }
        let demanded = model.routing.sensitivity;
        let fit = |deployment: &Deployment| {
            deployment.resolved_sensitivity(config).is_none_or(|may| may >= demanded)
        };
        if demanded.is_restricted() && !model.deployments.iter().any(fit) {
            let message = format!(
                "no deployment of the model may have {} data, so every request would be refused; \
                 mark one with `sensitivity: {}`, or lower this",
                demanded.name(),
                demanded.name()
            );
            self.fault(&format!("{path}.routing.sensitivity"), message);
        }
        if let Some(Err(error)) = model.routing.hedging.as_ref().map(::routing::HedgeOptions::check)
        {
            self.fault(&format!("{path}.routing.hedging"), error.to_string());
        }
        for (list, names) in model.routing.fallbacks.lists() {
            for (place, name) in names.iter().enumerate() {
                let inner = format!("{path}.routing.fallbacks.{list}[{place}]");
                if config.models.iter().any(|other| other.name == *name) {
                    continue;
                }
                let known = config.models.iter().map(|other| other.name.as_str());
                let hint = match nearest(name, known) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => "add it under `models`".to_owned(),
                };
                self.fault(&inner, format!("there is no model `{name}`; {hint}"));
            }
        }
    }

    fn deployment_routing(&mut self, config: &Config, path: &str, deployment: &Deployment) {
        if let Some(quality) = &deployment.quality
            && !quality.values().iter().all(|value| (0.0..=1.0).contains(value))
        {
            self.fault(&format!("{path}.quality"), "must be from 0 to 1");
        }
        if let Err(error) = deployment.rate_limits.check() {
            self.fault(&format!("{path}.rate_limits"), error.to_string());
        }
        let Some(pool) = &deployment.pool else { return };
        if !config.routing.pools.contains_key(pool) {
            let known = config.routing.pools.keys().map(String::as_str);
            let hint = match nearest(pool, known) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "add it under `routing.pools`".to_owned(),
            };
            self.fault(&format!("{path}.pool"), format!("there is no pool `{pool}`; {hint}"));
        }
    }

    /// A chain of fallbacks that comes back to where it began would never end.
    fn fallback_cycles(&mut self, config: &Config) {
        for (which, list) in ["unavailable", "context_window", "content_policy"].iter().enumerate()
        {
            let follows: BTreeMap<&str, &[String]> = config
                .models
                .iter()
                .map(|model| (model.name.as_str(), model.routing.fallbacks.lists()[which].1))
                .collect();
            for (number, model) in config.models.iter().enumerate() {
                let Some(cycle) = cycle_from(&model.name, &follows) else { continue };
                let message = format!(
                    "the fallbacks go round in a circle: {}; remove one of them",
                    cycle.join(" -> ")
                );
                self.fault(&format!("models[{number}].routing.fallbacks.{list}"), message);
            }
        }
    }
}

/// The way from `start` back to itself, if there is one.
fn cycle_from<'n>(
    start: &'n str,
    follows: &BTreeMap<&'n str, &'n [String]>,
) -> Option<Vec<&'n str>> {
    let mut ways = vec![vec![start]];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(way) = ways.pop() {
        let here = way.last()?;
        for next in follows.get(here).copied().unwrap_or_default() {
            let mut longer = way.clone();
            longer.push(next);
            if next == start {
                return Some(longer);
            }
            if seen.insert(next.as_str()) {
                ways.push(longer);
            }
        }
    }
    None
}

impl Deployment {
    /// The most sensitive data that may go to it; `None`: its provider is not known.
    #[must_use]
    pub fn resolved_sensitivity(&self, config: &Config) -> Option<Sensitivity> {
        if self.sensitivity.is_some() {
            return self.sensitivity;
        }
        let provider = config.providers.get(&self.provider)?;
        Some(match provider.resolved_residency() {
            Residency::OnPremise => Sensitivity::Sensitive,
            Residency::Global | Residency::Russia => Sensitivity::Internal,
        })
    }
}

impl ProviderKind {
    /// The engine whose metrics can be read, if it is one of the local ones.
    #[must_use]
    pub fn engine(self) -> Option<EngineKind> {
        match self {
            Self::Vllm => Some(EngineKind::Vllm),
            Self::Sglang => Some(EngineKind::Sglang),
            Self::LlamaCpp => Some(EngineKind::LlamaCpp),
            _ => None,
        }
    }
}
