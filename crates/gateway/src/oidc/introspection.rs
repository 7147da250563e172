use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use identity::token::{
    MAX_INTROSPECTION_BYTES, MAX_TOKEN_BYTES, TokenError, VerifiedToken, accept_introspection,
};
use parking_lot::Mutex;
use providers::HttpClient;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::cache::{Cache, Digest};
use super::issuer::Issuer;
use super::{IntrospectionOptions, OidcError};
use crate::exchange::now_ms;

/// How long a token that holds is not looked up again, at most: so long a token that was taken
/// back goes on working.
const GOOD_LIFE: Duration = Duration::from_secs(30);
/// How long a refused token is not looked up again.
const REFUSED_LIFE: Duration = Duration::from_secs(5);
/// Most tokens remembered, of those that hold and of those that were refused each.
const MOST_REMEMBERED: usize = 10_000;
/// Most tokens that are being looked up or wait for it; more are told to come again.
const MOST_FLIGHTS: usize = 1_000;
/// Most that are looked up at the same time, so that made-up tokens do not flood the issuers.
const MOST_AT_ONCE: usize = 64;
/// For one question to one issuer, connecting included.
const QUESTION_TIME: Duration = Duration::from_secs(5);
/// How long a request waits for the verdict, its turn included.
const VERDICT_TIME: Duration = Duration::from_secs(10);

type Verdict = Result<Arc<VerifiedToken>, OidcError>;

/// Opaque tokens and what their issuers say of them. One question is under way for a token,
/// however many show it, on whichever threads; it goes on if they give up.
#[derive(Debug)]
pub(super) struct Introspections {
    shared: Arc<Shared>,
    runtime: Handle,
}

#[derive(Debug)]
struct Shared {
    issuers: Vec<Arc<Issuer>>,
    http: HttpClient,
    at_once: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    good: Cache<Arc<VerifiedToken>>,
    /// Apart, so that made-up tokens do not push out real ones.
    refused: Cache<TokenError>,
    flights: HashMap<Digest, watch::Receiver<Option<Verdict>>>,
}

/// A question under way. However it ends, the next one may be asked.
struct Flight {
    shared: Arc<Shared>,
    digest: Digest,
    landed: watch::Sender<Option<Verdict>>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.shared.state.lock().flights.remove(&self.digest);
    }
}

impl Introspections {
    /// Asks these issuers, on the runtime that this is called in.
    pub(super) fn new(issuers: Vec<Arc<Issuer>>, http: HttpClient) -> Self {
        let state = State {
            good: Cache::new(MOST_REMEMBERED),
            refused: Cache::new(MOST_REMEMBERED),
            flights: HashMap::new(),
        };
        let at_once = Semaphore::new(MOST_AT_ONCE);
        let shared = Arc::new(Shared { issuers, http, at_once, state: Mutex::new(state) });
        Self { shared, runtime: Handle::current() }
    }

    pub(super) async fn look_up(&self, token: &str, now_ms: i64) -> Verdict {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLarge.into());
        }
        let mut landing = match self.remembered(token, now_ms) {
            Ok(verdict) => return verdict,
            Err(landing) => landing,
        };
        let verdict = landing.wait_for(Option::is_some);
        match tokio::time::timeout(VERDICT_TIME, verdict).await {
            Ok(Ok(verdict)) => verdict.clone().unwrap_or(Err(OidcError::Unavailable)),
            Ok(Err(_)) | Err(_) => Err(OidcError::Unavailable),
        }
    }

    /// What is known of the token, else where its verdict will be.
    fn remembered(
        &self,
        token: &str,
        now_ms: i64,
    ) -> Result<Verdict, watch::Receiver<Option<Verdict>>> {
        let digest: Digest = Sha256::digest(token.as_bytes()).into();
        let now = Instant::now();
        let mut state = self.shared.state.lock();
        if let Some(verified) = state.good.get(&digest, now) {
            // The clock may have been put forward since.
            let holds = verified.expires_ms.is_none_or(|expires| now_ms < expires);
            if holds {
                return Ok(Ok(verified));
            }
        }
        if let Some(refusal) = state.refused.get(&digest, now) {
            return Ok(Err(refusal.into()));
        }
        if let Some(landing) = state.flights.get(&digest) {
            return Err(landing.clone());
        }
        if state.flights.len() >= MOST_FLIGHTS {
            return Ok(Err(OidcError::Unavailable));
        }
        let (landed, landing) = watch::channel(None);
        state.flights.insert(digest, landing.clone());
        drop(state);
        let flight = Flight { shared: Arc::clone(&self.shared), digest, landed };
        self.runtime.spawn(flight.fly(token.to_owned()));
        Err(landing)
    }
}

impl Flight {
    async fn fly(self, token: String) {
        let shared = Arc::clone(&self.shared);
        let _turn = shared.at_once.acquire().await;
        let verdict = shared.ask_all(&token).await;
        let now = Instant::now();
        let mut state = shared.state.lock();
        match &verdict {
            Ok(verified) => {
                let life = remembered_for(verified.expires_ms, now_ms());
                state.good.insert(self.digest, Arc::clone(verified), now, life);
            }
            Err(OidcError::Token(refusal)) => {
                state.refused.insert(self.digest, *refusal, now, REFUSED_LIFE);
            }
            Err(_) => {}
        }
        drop(state);
        self.landed.send_replace(Some(verdict));
    }
}

/// How long the verdict on a token that ends at `expires_ms` counts.
fn remembered_for(expires_ms: Option<i64>, now_ms: i64) -> Duration {
    let left = expires_ms.map(|expires| u64::try_from(expires.saturating_sub(now_ms)).unwrap_or(0));
    left.map_or(GOOD_LIFE, |left| GOOD_LIFE.min(Duration::from_millis(left)))
}

impl Shared {
    /// The first issuer that calls it active decides.
    async fn ask_all(&self, token: &str) -> Verdict {
        let mut verdict = Err(TokenError::Inactive.into());
        for issuer in &self.issuers {
            match self.ask(issuer, token).await {
                Err(OidcError::Token(TokenError::Inactive)) => {}
                // Another may know it; if none does, this one might have.
                Err(OidcError::Unavailable) => verdict = Err(OidcError::Unavailable),
                decided => return decided,
            }
        }
        verdict
    }

    async fn ask(&self, issuer: &Issuer, token: &str) -> Verdict {
        let unavailable = |reason: &str| {
            tracing::warn!(
                issuer = issuer.name(),
                reason,
                "an identity provider could not be asked about a token"
            );
            OidcError::Unavailable
        };
        let endpoint = issuer.introspection.load_full();
        let (Some(endpoint), Some(options)) = (endpoint, &issuer.options.introspection) else {
            return Err(unavailable("its introspection endpoint is not known"));
        };
        let headers = question(options)
            .ok_or_else(|| unavailable("its client credentials hold what no header can carry"))?;
        let mut body = String::from("token_type_hint=access_token&token=");
        form_encode(token, &mut body);
        let asked = endpoint
            .exchange(
                &self.http,
                Method::POST,
                headers,
                Bytes::from(body),
                MAX_INTROSPECTION_BYTES,
                QUESTION_TIME,
            )
            .await;
        let (status, answer) = asked.map_err(|error| unavailable(&error.to_string()))?;
        if status != StatusCode::OK {
            return Err(unavailable(&format!("it answered with status {}", status.as_u16())));
        }
        match accept_introspection(&answer, &issuer.options.policy, now_ms()) {
            Ok(verified) => Ok(Arc::new(verified)),
            // This is said of the answer, not of the token.
            Err(TokenError::Malformed | TokenError::TooLarge) => {
                Err(unavailable("its answer is not of the form that RFC 7662 demands"))
            }
            Err(refusal) => Err(refusal.into()),
        }
    }
}

/// The headers of a question. Id and secret are form-encoded before they are put together (RFC
/// 6749, 2.3.1).
fn question(options: &IntrospectionOptions) -> Option<HeaderMap> {
    let mut pair = String::new();
    form_encode(&options.client_id, &mut pair);
    pair.push(':');
    form_encode(&options.client_secret, &mut pair);
    let mut basic = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).ok()?;
    basic.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, basic);
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(header::CONTENT_TYPE, form);
    Some(headers)
}

/// Appends `text` as `application/x-www-form-urlencoded`.
fn form_encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                into.push(char::from(byte));
            }
            b' ' => into.push('+'),
            _ => into.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_count_until_the_token_ends_and_not_for_long() {
        assert_eq!(remembered_for(None, 5_000), GOOD_LIFE);
        assert_eq!(remembered_for(Some(3_605_000), 5_000), GOOD_LIFE);
        assert_eq!(remembered_for(Some(12_000), 5_000), Duration::from_secs(7));
        assert_eq!(remembered_for(Some(5_000), 5_000), Duration::ZERO);
        assert_eq!(remembered_for(Some(1_000), 5_000), Duration::ZERO);
    }

    #[test]
    fn secrets_are_encoded_before_they_are_put_together() {
        let options = IntrospectionOptions {
            url: None,
            client_id: "https://id:1".to_owned(),
            client_secret: "a+b c/я".to_owned(),
        };
        let headers = question(&options).unwrap();
        let pair = headers[header::AUTHORIZATION].to_str().unwrap();
        let pair = STANDARD.decode(pair.strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(String::from_utf8(pair).unwrap(), "https%3A%2F%2Fid%3A1:a%2Bb+c%2F%D1%8F");
        assert!(!format!("{headers:?}{options:?}").contains("a+b"));
    }
}
