use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use chat::{ApiError, ErrorKind};
use http::HeaderValue;
use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use super::source::{PreparedSource, SourceError};
use super::{CredentialError, Credentials};
use crate::http::{HttpClient, OriginOptions};
use crate::provider::Timeouts;

/// After a failed attempt to get a token the next one waits this long, so that a token service in
/// trouble is not hammered by every request.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A credential as requests need it: a header value that is there already.
#[derive(Debug)]
pub(crate) enum CredentialCell {
    None,
    Static(HeaderValue),
    Token(Arc<TokenCell>),
}

/// A token and all that it takes to have one.
#[derive(Debug)]
pub(crate) struct TokenCell {
    source: PreparedSource,
    prefix: &'static str,
    provider: String,
    token: ArcSwapOption<Token>,
    /// Held by the one who fetches.
    flight: AsyncMutex<()>,
    last_failure: Mutex<Option<(Instant, SourceError)>>,
}

#[derive(Debug, Clone)]
struct Token {
    header: HeaderValue,
    /// From here on a new one is fetched while this one still serves.
    renew_at: Instant,
    expires_at: Instant,
}

impl CredentialCell {
    pub(crate) fn new(
        credentials: Credentials,
        prefix: &'static str,
        origin: OriginOptions,
        provider: &str,
    ) -> Result<Self, CredentialError> {
        Ok(match credentials {
            Credentials::None => Self::None,
            Credentials::Static(secret) => Self::Static(secret_header(prefix, &secret)?),
            Credentials::Token(source) => Self::Token(Arc::new(TokenCell {
                source: PreparedSource::new(source, origin)?,
                prefix,
                provider: provider.to_owned(),
                token: ArcSwapOption::empty(),
                flight: AsyncMutex::new(()),
                last_failure: Mutex::new(None),
            })),
        })
    }

    /// The header value to send now; fetched first if there is none that still holds.
    pub(crate) async fn current(
        &self,
        http: &HttpClient,
        timeouts: &Timeouts,
    ) -> Result<Option<HeaderValue>, ApiError> {
        match self {
            Self::None => Ok(None),
            Self::Static(header) => Ok(Some(header.clone())),
            Self::Token(cell) => cell.current(http, timeouts).await.map(Some),
        }
    }

    /// The provider refused `used`. A new token, or `None` where there is nothing to renew.
    pub(crate) async fn renew(
        &self,
        used: Option<HeaderValue>,
        http: &HttpClient,
        timeouts: &Timeouts,
    ) -> Result<Option<HeaderValue>, ApiError> {
        let (Self::Token(cell), Some(used)) = (self, used) else { return Ok(None) };
        cell.discard(&used);
        cell.current(http, timeouts).await.map(Some)
    }

    /// Why there is no valid token, if an attempt to get one has failed.
    pub(crate) fn fault(&self) -> Option<String> {
        let Self::Token(cell) = self else { return None };
        let valid = cell.token.load().as_ref().is_some_and(|token| token.holds(Instant::now()));
        let failure = cell.last_failure.lock();
        failure.as_ref().filter(|_| !valid).map(|(_, error)| error.to_string())
    }
}

impl Token {
    fn holds(&self, now: Instant) -> bool {
        now < self.expires_at
    }
}

impl TokenCell {
    async fn current(
        self: &Arc<Self>,
        http: &HttpClient,
        timeouts: &Timeouts,
    ) -> Result<HeaderValue, ApiError> {
        let now = Instant::now();
        if let Some(token) = &*self.token.load()
            && token.holds(now)
        {
            if now >= token.renew_at && self.flight.try_lock().is_ok() && self.may_try(now) {
                let cell = Arc::clone(self);
                let (http, timeouts) = (http.clone(), *timeouts);
                let seen = token.header.clone();
                tokio::spawn(async move { cell.fetch(&http, &timeouts, Some(seen)).await });
            }
            return Ok(token.header.clone());
        }
        Box::pin(self.fetch(http, timeouts, None)).await
    }

    /// Fetches a token unless another has just done so. `renewing` is the one to be replaced
    /// although it still holds.
    async fn fetch(
        &self,
        http: &HttpClient,
        timeouts: &Timeouts,
        renewing: Option<HeaderValue>,
    ) -> Result<HeaderValue, ApiError> {
        let _flight = self.flight.lock().await;
        let now = Instant::now();
        if let Some(token) = &*self.token.load()
            && token.holds(now)
            && renewing.as_ref() != Some(&token.header)
        {
            return Ok(token.header.clone());
        }
        if !self.may_try(now)
            && let Some((_, error)) = &*self.last_failure.lock()
        {
            return Err(self.no_token(error));
        }
        let fetched =
            self.source.fetch(http, timeouts, SystemTime::now(), fastrand::u128(..)).await;
        let made = fetched.and_then(|grant| {
            let header = secret_header(self.prefix, &grant.token)
                .map_err(|_| SourceError::Unexpected("a token that no header can carry"))?;
            Ok((header, grant.life))
        });
        match made {
            Ok((header, life)) => {
                let now = Instant::now();
                let margin = (life / 5).min(Duration::from_secs(300));
                self.token.store(Some(Arc::new(Token {
                    header: header.clone(),
                    renew_at: now + life.saturating_sub(margin),
                    // Clocks differ, and a request is on its way for a while.
                    expires_at: now + life.saturating_sub(life.min(Duration::from_secs(5)) / 2),
                })));
                *self.last_failure.lock() = None;
                Ok(header)
            }
            Err(error) => {
                tracing::warn!(
                    gen_ai.provider.name = self.provider,
                    %error,
                    "no access token could be had"
                );
                let api_error = self.no_token(&error);
                *self.last_failure.lock() = Some((Instant::now(), error));
                Err(api_error)
            }
        }
    }

    fn may_try(&self, now: Instant) -> bool {
        self.last_failure.lock().as_ref().is_none_or(|(when, _)| now - *when >= RETRY_PAUSE)
    }

    /// Forgets the token if it is still this one.
    fn discard(&self, used: &HeaderValue) {
        let current = self.token.load();
        if current.as_ref().is_some_and(|token| token.header == *used) {
            self.token.compare_and_swap(&*current, None);
        }
    }

    fn no_token(&self, error: &SourceError) -> ApiError {
        ApiError::new(
            ErrorKind::BadGateway,
            format!(
                "llm-proxy could not get an access token for the provider `{}`: {error}; the \
                 operator must look at its credentials",
                self.provider
            ),
        )
        .with_code("provider_credentials_rejected")
    }
}

fn secret_header(prefix: &str, secret: &str) -> Result<HeaderValue, CredentialError> {
    let mut value = HeaderValue::try_from(format!("{prefix}{}", secret.trim()))
        .map_err(|_| CredentialError::Characters)?;
    value.set_sensitive(true);
    Ok(value)
}
