use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use admin::{Actor, Admin, AdminError, Authenticate, BudgetStanding, PriceRow, Seal, Standings};
use async_trait::async_trait;
use config::{AdminRole, Config};
use gateway::Gateway;
use identity::{KeyDigest, Presented, Role};
use metering::ChargedUsage;
use ring::rand::{SecureRandom, SystemRandom};
use storage::Database;
use tokio::sync::Notify;

use super::now_ms;
use crate::guard::GuardOverview;
use crate::routing::RouterOverview;

/// Where the admin API is.
pub(crate) type AdminAddress = SocketAddr;

/// Serves the admin API, if there is a key for it.
pub(super) async fn start(
    config: &Config,
    gateway: &Arc<Gateway>,
    database: &Arc<Database>,
    changed: Arc<Notify>,
) -> Result<Option<(AdminAddress, tokio::task::JoinHandle<()>)>, String> {
    let keys = admin_keys(config)?;
    if keys.is_empty() {
        return Ok(None);
    }
    let listen = &config.server.admin_listen;
    let listener = tokio::net::TcpListener::bind(listen.as_str())
        .await
        .map_err(|error| format!("server.admin_listen: {listen} cannot be bound: {error}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let addresses = config
        .server
        .admin_addresses
        .iter()
        .map(|network| {
            let network = network.as_str();
            network.parse().or_else(|_| network.parse::<IpAddr>().map(Into::into)).map_err(
                |error| format!("server.admin_addresses: `{network}` is no network: {error}"),
            )
        })
        .collect::<Result<Vec<_>, String>>()?;
    let admin = Admin {
        directory: Arc::clone(database) as _,
        ledger: Arc::clone(database) as _,
        authenticate: Arc::new(Keys { fixed: keys, gateway: Arc::clone(gateway) }),
        decisions: Arc::new(RouterOverview(Arc::clone(gateway))),
        guard: Arc::new(GuardOverview(Arc::clone(gateway))),
        standings: Arc::new(Meters(Arc::clone(gateway))),
        prices: {
            let gateway = Arc::clone(gateway);
            Box::new(move || price_rows(&gateway))
        },
        clock: now_ms,
        random,
        changed: Box::new(move || changed.notify_one()),
    };
    let service = admin::router(Arc::new(admin), addresses)
        .into_make_service_with_connect_info::<SocketAddr>();
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, service).await {
            tracing::error!(%error, "the admin API has stopped");
        }
    });
    Ok(Some((address, task)))
}

fn price_rows(gateway: &Gateway) -> Vec<PriceRow> {
    let million = |prompt, cached, completion| ChargedUsage {
        prompt_tokens: prompt,
        cached_tokens: cached,
        completion_tokens: completion,
        ..ChargedUsage::default()
    };
    let snapshot = gateway.snapshot();
    let mut rows = Vec::new();
    for route in snapshot.routes.values() {
        for deployment in &route.deployments {
            let price = deployment.price_at(now_ms());
            let cost = |usage: ChargedUsage| {
                let price = price.as_ref()?;
                let each = price.cost(&ChargedUsage::default()).nanos;
                Some(price.cost(&usage).nanos - each)
            };
            rows.push(PriceRow {
                route: route.name.clone(),
                provider: deployment.provider_name().to_owned(),
                model: deployment.model_name().to_owned(),
                prompt_nanos: cost(million(1_000_000, 0, 0)),
                cached_nanos: cost(million(1_000_000, 1_000_000, 0)),
                completion_nanos: cost(million(0, 0, 1_000_000)),
                source: price.as_ref().map(|price| price.version().to_string()).unwrap_or_default(),
            });
        }
    }
    rows
}

fn admin_keys(config: &Config) -> Result<HashMap<KeyDigest, (String, Role)>, String> {
    config
        .identity
        .admin_keys
        .iter()
        .map(|key| {
            let digest = match (&key.key, &key.key_sha256) {
                (Some(secret), _) => Some(KeyDigest::of(secret.expose())),
                (None, Some(hex)) => KeyDigest::from_hex(hex),
                (None, None) => None,
            };
            let digest =
                digest.ok_or_else(|| format!("the admin key `{}` cannot be read", key.name))?;
            let role = match key.role {
                AdminRole::Finance => Role::Finance,
                AdminRole::Auditor => Role::Auditor,
                AdminRole::Admin => Role::Admin,
            };
            Ok((digest, (key.name.clone(), role)))
        })
        .collect()
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        // Keys that can be guessed are worse than none.
        std::process::abort();
    }
    bytes
}

/// Knows callers by the admin keys of the configuration, and by virtual keys.
struct Keys {
    fixed: HashMap<KeyDigest, (String, Role)>,
    gateway: Arc<Gateway>,
}

#[async_trait]
impl Authenticate for Keys {
    async fn authenticate(&self, secret: &str, address: IpAddr) -> Result<Actor, AdminError> {
        // The digest is looked up: which bytes of a wrong key are right does not show.
        if let Some((name, role)) = self.fixed.get(&KeyDigest::of(secret)) {
            return Ok(Actor {
                name: format!("static:{name}"),
                tenant: None,
                user: None,
                key: None,
                role: *role,
                seal: Seal::of(secret),
            });
        }
        let presented = Presented { key: secret, now_ms: now_ms(), address: Some(address) };
        let directory = self.gateway.accounting().directory();
        let snapshot = self.gateway.snapshot();
        let unknown = || {
            let message = "the key is not known to the admin API; check it";
            AdminError::unauthenticated("invalid_api_key", message)
        };
        let principal = snapshot
            .keys
            .identify(Some(&directory), &presented)
            .map_err(|refusal| AdminError::unauthenticated(refusal.code(), refusal.to_string()))?;
        // Keys of callers that stand in the configuration belong to no tenant: here that would make
        // them the platform's.
        let tenant = principal.tenant_id().ok_or_else(unknown)?;
        Ok(Actor {
            name: principal.actor_name(),
            tenant: Some(tenant.to_string()),
            user: principal.user_id().map(ToString::to_string),
            key: principal.key_id().map(ToString::to_string),
            role: principal.role(),
            seal: Seal::of(secret),
        })
    }
}

struct Meters(Arc<Gateway>);

impl Standings for Meters {
    fn standing(&self, budget: &str) -> Option<BudgetStanding> {
        let budgets = self.0.accounting().budgets();
        let meter = budgets.values().flatten().find(|meter| meter.budget().id == budget)?;
        meter.advance(now_ms());
        Some(BudgetStanding {
            spent_nanos: meter.spent(),
            reserved_nanos: meter.reserved(),
            resets_at_ms: meter.window().end_ms,
        })
    }
}
