//! What is wrong with storage, limits, prices and keys beyond their form.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use metering::{PriceCatalogue, PriceError};

use crate::accounting::MissingPrice;
use crate::secret::Secret;
use crate::semantics::Checker;
use crate::types::{Config, Deployment, Residency};

impl Checker<'_> {
    pub(crate) fn storage(&mut self, config: &Config) {
        let storage = &config.storage;
        let database = storage.database.expose();
        let known = ["sqlite:", "postgres://", "postgresql://"];
        if !known.iter().any(|scheme| database.starts_with(scheme)) {
            self.fault(
                "storage.database",
                "must be sqlite://FILE or postgres://USER:PASSWORD@HOST/NAME",
            );
        }
        if let Some(redis) = &storage.redis {
            let known = ["redis://", "rediss://", "redis+sentinel://", "rediss+sentinel://"];
            if !known.iter().any(|scheme| redis.expose().starts_with(scheme)) {
                self.fault(
                    "storage.redis",
                    "must begin with redis://, rediss:// or redis+sentinel://",
                );
            }
        }
    }

    pub(crate) fn admin(&mut self, config: &Config) {
        let server = &config.server;
        let admin = self.address("server.admin_listen", &server.admin_listen);
        let others = [("server.listen", &server.listen), ("server.ops_listen", &server.ops_listen)];
        for (name, other) in others {
            let taken = |admin: SocketAddr| {
                admin.port() != 0 && other.parse().is_ok_and(|other: SocketAddr| other == admin)
            };
            if admin.is_some_and(taken) {
                let message = format!("is the same as {name}; give the admin API its own port");
                self.fault("server.admin_listen", message);
            }
        }
        for (number, network) in server.admin_addresses.iter().enumerate() {
            if !is_network(network) {
                self.fault(
                    &format!("server.admin_addresses[{number}]"),
                    "must be an address or a network, such as 10.0.0.0/8",
                );
            }
        }
        let mut names = BTreeSet::new();
        for (number, key) in config.identity.admin_keys.iter().enumerate() {
            let path = format!("identity.admin_keys[{number}]");
            self.name(&format!("{path}.name"), &key.name);
            if !names.insert(&key.name) {
                self.fault(&format!("{path}.name"), "this name stands twice; rename one");
            }
            self.key_form(&path, key.key.as_ref(), key.key_sha256.as_deref());
            let same = |other: &Option<Secret>| other.is_some() && *other == key.key;
            if config.identity.static_keys.iter().any(|other| same(&other.key)) {
                self.fault(
                    &format!("{path}.key"),
                    "is the key of a caller too; take another, so that callers do not administer",
                );
            }
        }
    }

    pub(crate) fn prices(&mut self, config: &Config) {
        let catalogue = match PriceCatalogue::shipped(&config.limits.exchange_rates) {
            Ok(catalogue) => catalogue,
            Err(error) => return self.fault("limits.exchange_rates", error.to_string()),
        };
        for (number, model) in config.models.iter().enumerate() {
            for (place, deployment) in model.deployments.iter().enumerate() {
                let path = format!("models[{number}].deployments[{place}]");
                let Err(error) = resolve_price(&catalogue, config, deployment) else { continue };
                let unknown = matches!(error, PriceError::UnknownModel { .. });
                if unknown && config.limits.missing_price == MissingPrice::Free {
                    continue;
                }
                let path = if unknown { path } else { format!("{path}.price") };
                let remedy = if unknown { ", or set `limits.missing_price: free`" } else { "" };
                self.fault(&path, format!("{error}{remedy}"));
            }
        }
    }
}

fn is_network(text: &str) -> bool {
    let (address, length) = text.split_once('/').unwrap_or((text, ""));
    let most = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.is_empty() && !text.contains('/')
        || length.parse::<u8>().is_ok_and(|length| length <= most)
}

/// What a deployment costs.
///
/// # Errors
/// When nobody knows, or the price that is given makes no sense.
pub fn resolve_price(
    catalogue: &PriceCatalogue,
    config: &Config,
    deployment: &Deployment,
) -> Result<metering::DatedPrices, PriceError> {
    let provider = config.providers.get(&deployment.provider);
    let kind = provider.map_or("", |provider| provider.kind.name());
    let given = deployment.price.as_ref();
    let found = catalogue.resolve(kind, &deployment.model, given);
    let own = provider.is_none_or(|own| own.resolved_residency() == Residency::OnPremise);
    match found {
        Err(PriceError::UnknownModel { .. }) if own => catalogue.resolve("vllm", "", None),
        found => found,
    }
}
