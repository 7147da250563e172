use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use identity::token::{
    Discovery, DocumentError, JwksState, KeySet, RefreshReason, TokenError, VerifiedToken,
    discovery_url, verify,
};
use providers::{Endpoint, EndpointError, HttpClient, OriginError, OriginOptions};
use tokio::sync::{Notify, watch};

use super::{IssuerOptions, OidcError, OidcStartError};
use crate::exchange::now_ms;

/// How often it is looked whether keys are due.
const LOOK: Duration = Duration::from_secs(1);
/// For one document, connecting included. Both must fit into [`identity::token::JwksTiming`]'s
/// `timeout_ms`.
const DOCUMENT_TIME: Duration = Duration::from_secs(10);
/// Longest document, bytes; what is parsed is bounded by `identity` again.
const MAX_DOCUMENT: usize = 256 << 10;
/// How long a request waits for keys.
const KEYS_TIME: Duration = Duration::from_secs(2);

/// An identity provider: its keys as they are now, and how to have them fetched.
#[derive(Debug)]
pub(super) struct Issuer {
    pub(super) options: IssuerOptions,
    keys: ArcSwapOption<KeySet>,
    /// Where opaque tokens are looked up, as soon as it is known.
    pub(super) introspection: ArcSwapOption<Endpoint>,
    fault: ArcSwapOption<String>,
    wanted: Notify,
    /// How often keys were asked for.
    asked: AtomicU64,
    /// Up to which request for keys there is an answer, be it that they are not fetched.
    answered: watch::Sender<u64>,
}

/// Why the keys could not be fetched. For the log: nothing of the documents is in it.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{what}: {reason}")]
    Address { what: &'static str, reason: OriginError },
    #[error("{what}: {reason}")]
    Exchange { what: &'static str, reason: EndpointError },
    #[error("{what}: it answered with status {status}")]
    Status { what: &'static str, status: StatusCode },
    #[error(transparent)]
    Document(#[from] DocumentError),
}

const DISCOVERY: &str = "the discovery document";
const KEYS: &str = "the key set";
const INTROSPECTION: &str = "the introspection endpoint";

impl Issuer {
    /// An issuer whose keys are not known yet.
    pub(super) fn new(options: IssuerOptions) -> Result<Self, OidcStartError> {
        let issuer = options.policy.issuer.clone();
        let fault = |reason| OidcStartError { issuer: issuer.clone(), reason };
        let made = Self {
            keys: ArcSwapOption::empty(),
            introspection: ArcSwapOption::empty(),
            fault: ArcSwapOption::empty(),
            wanted: Notify::new(),
            asked: AtomicU64::new(0),
            answered: watch::Sender::new(0),
            options,
        };
        made.endpoint(&discovery_url(&made.options.policy.issuer)).map_err(fault)?;
        let given = made.options.introspection.as_ref().and_then(|given| given.url.as_deref());
        if let Some(url) = given {
            made.introspection.store(Some(Arc::new(made.endpoint(url).map_err(fault)?)));
        }
        Ok(made)
    }

    pub(super) fn name(&self) -> &str {
        &self.options.policy.issuer
    }

    /// Why the last attempt to fetch keys failed.
    pub(super) fn fault(&self) -> Option<Arc<String>> {
        self.fault.load_full()
    }

    /// Verifies by the keys that are here.
    pub(super) fn verify(&self, token: &str, now_ms: i64) -> Result<VerifiedToken, OidcError> {
        let keys = self.keys.load();
        let keys = keys.as_ref().ok_or(OidcError::Unavailable)?;
        Ok(verify(token, &self.options.policy, keys, now_ms)?)
    }

    /// As [`Self::verify`], after a fetch of keys if those that are here do not do.
    pub(super) async fn verify_waiting(
        &self,
        token: &str,
        now_ms: i64,
    ) -> Result<VerifiedToken, OidcError> {
        let mut answered = self.answered.subscribe();
        let ticket = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        self.wanted.notify_one();
        // In either case what is here then decides.
        let answer = answered.wait_for(|answered| *answered >= ticket);
        _ = tokio::time::timeout(KEYS_TIME, answer).await;
        self.verify(token, now_ms)
    }

    /// Keeps the keys fresh for as long as it is polled.
    pub(super) async fn keep_fresh(self: Arc<Self>, http: HttpClient) {
        let mut state = JwksState::new(self.options.timing);
        let mut discovered: Option<Discovery> = None;
        loop {
            let asked = self.asked.load(Ordering::Relaxed);
            let unknown = asked > *self.answered.borrow();
            let reason = if unknown { RefreshReason::UnknownKey } else { RefreshReason::Due };
            if state.begin(reason, now_ms()) {
                // An unknown key is in a hurry: where the keys are has been found out already.
                let known = discovered.take().filter(|_| unknown && self.keys.load().is_some());
                match self.fetch(&http, known).await {
                    Ok((keys, discovery)) => {
                        self.learned(&keys);
                        state.succeeded(keys, now_ms());
                        discovered = Some(discovery);
                    }
                    Err(error) => {
                        state.failed(now_ms());
                        tracing::warn!(
                            issuer = self.name(),
                            %error,
                            has_keys = state.keys(now_ms()).is_some(),
                            "the keys of an identity provider could not be fetched"
                        );
                        self.fault.store(Some(Arc::new(error.to_string())));
                    }
                }
            }
            self.keys.store(state.keys(now_ms()).cloned());
            self.answered.send_replace(asked);
            _ = tokio::time::timeout(LOOK, self.wanted.notified()).await;
        }
    }

    fn learned(&self, keys: &KeySet) {
        let recovered = self.fault.swap(None).is_some();
        if recovered || self.keys.load().is_none() {
            tracing::info!(
                issuer = self.name(),
                keys = keys.usable(),
                passed_over = keys.skipped(),
                "the keys of an identity provider were fetched"
            );
        }
    }

    async fn fetch(
        &self,
        http: &HttpClient,
        known: Option<Discovery>,
    ) -> Result<(KeySet, Discovery), FetchError> {
        let discovery = match known {
            Some(known) => known,
            None => {
                let found = self.document(http, DISCOVERY, &discovery_url(self.name())).await?;
                Discovery::parse(&found, self.name())?
            }
        };
        if let Some(given) = &self.options.introspection {
            let url = given.url.as_ref().or(discovery.introspection_endpoint.as_ref());
            self.find_introspection(url)?;
        }
        let keys = self.document(http, KEYS, &discovery.jwks_uri).await?;
        Ok((KeySet::parse(&keys)?, discovery))
    }

    fn find_introspection(&self, url: Option<&String>) -> Result<(), FetchError> {
        let known = self.introspection.load();
        let same = known.as_ref().map(|known| known.url()) == url.map(String::as_str);
        // The certificates in the bundle may be others by now.
        if same && self.options.ca_bundle.is_none() {
            return Ok(());
        }
        let made = url.map(|url| self.endpoint(url).map(Arc::new)).transpose();
        let made = made.map_err(|reason| FetchError::Address { what: INTROSPECTION, reason })?;
        self.introspection.store(made);
        Ok(())
    }

    async fn document(
        &self,
        http: &HttpClient,
        what: &'static str,
        url: &str,
    ) -> Result<Bytes, FetchError> {
        let endpoint = self.endpoint(url).map_err(|reason| FetchError::Address { what, reason })?;
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let asked = endpoint
            .exchange(http, Method::GET, headers, Bytes::new(), MAX_DOCUMENT, DOCUMENT_TIME)
            .await;
        match asked.map_err(|reason| FetchError::Exchange { what, reason })? {
            (StatusCode::OK, document) => Ok(document),
            (status, _) => Err(FetchError::Status { what, status }),
        }
    }

    fn endpoint(&self, url: &str) -> Result<Endpoint, OriginError> {
        let ca_bundle = self.options.ca_bundle.clone();
        Endpoint::new(url, OriginOptions { ca_bundle, ..OriginOptions::new() })
    }
}

/// Whether a fetch of keys may change the verdict.
pub(super) fn may_wait(error: OidcError) -> bool {
    matches!(error, OidcError::Unavailable | OidcError::Token(TokenError::UnknownKey))
}
