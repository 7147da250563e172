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

/// After a failed attempt to get a token the next one waits this long, and twice as long after each
/// further failure, so that a token service in trouble is not hammered by every request.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// How long a token is left alone that the provider refused as soon as it was issued: another one
/// would not help.
const REFUSAL_PAUSE: Duration = Duration::from_secs(30);

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
    last_failure: Mutex<Option<Failure>>,
    /// The token that was refused although it was new, and when.
    refused_anew: Mutex<Option<(HeaderValue, Instant)>>,
}

#[derive(Debug)]
struct Failure {
    when: Instant,
    pause: Duration,
    error: SourceError,
}

/// Who wants a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    Request,
    /// Nobody yet: a failure hurts nobody and is not worth a warning.
    Warming,
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
                refused_anew: Mutex::new(None),
            })),
        })
    }

    /// Whether there is another to be had after a refusal.
    pub(crate) fn is_renewable(&self) -> bool {
        matches!(self, Self::Token(_))
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

    /// Sees to it that there is a token before a request needs it. Does not log a failure.
    pub(crate) async fn warm(
        &self,
        http: &HttpClient,
        timeouts: &Timeouts,
    ) -> Result<(), ApiError> {
        let Self::Token(cell) = self else { return Ok(()) };
        let holds = cell.token.load().as_ref().is_some_and(|token| token.holds(Instant::now()));
        if !holds {
            Box::pin(cell.fetch(http, timeouts, None, Caller::Warming)).await?;
        }
        Ok(())
    }

    /// The provider refused `used`. A new token, or `None` where there is nothing to renew.
    pub(crate) async fn renew(
        &self,
        used: Option<HeaderValue>,
        http: &HttpClient,
        timeouts: &Timeouts,
    ) -> Result<Option<HeaderValue>, ApiError> {
        let (Self::Token(cell), Some(used)) = (self, used) else { return Ok(None) };
        if cell.is_hopeless(&used) {
            return Ok(None);
        }
        cell.discard(&used);
        cell.current(http, timeouts).await.map(Some)
    }

    /// The provider refused `renewed` as well.
    pub(crate) fn refused_anew(&self, renewed: HeaderValue) {
        if let Self::Token(cell) = self {
            *cell.refused_anew.lock() = Some((renewed, Instant::now()));
        }
    }

    /// Why there is no valid token, if an attempt to get one has failed.
    pub(crate) fn fault(&self) -> Option<String> {
        let Self::Token(cell) = self else { return None };
        let valid = cell.token.load().as_ref().is_some_and(|token| token.holds(Instant::now()));
        let failure = cell.last_failure.lock();
        failure.as_ref().filter(|_| !valid).map(|failure| failure.error.to_string())
    }
}

impl Token {
    fn new(header: HeaderValue, life: Duration, now: Instant) -> Self {
        let lead = (life / 5).min(Duration::from_secs(300));
        // Clocks differ, and a request is on its way for a while.
        let margin = (life / 20).min(Duration::from_secs(5));
        Self {
            header,
            renew_at: now + life.saturating_sub(lead),
            expires_at: now + life.saturating_sub(margin),
        }
    }

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
                tokio::spawn(async move {
                    cell.fetch(&http, &timeouts, Some(seen), Caller::Request).await
                });
            }
            return Ok(token.header.clone());
        }
        Box::pin(self.fetch(http, timeouts, None, Caller::Request)).await
    }

    /// Fetches a token unless another has just done so. `renewing` is the one to be replaced
    /// although it still holds.
    async fn fetch(
        &self,
        http: &HttpClient,
        timeouts: &Timeouts,
        renewing: Option<HeaderValue>,
        caller: Caller,
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
            && let Some(failure) = &*self.last_failure.lock()
        {
            return Err(self.no_token(&failure.error));
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
                let token = Token::new(header.clone(), life, Instant::now());
                self.token.store(Some(Arc::new(token)));
                *self.last_failure.lock() = None;
                Ok(header)
            }
            Err(error) => {
                if caller == Caller::Request {
                    tracing::warn!(
                        gen_ai.provider.name = self.provider,
                        %error,
                        "no access token could be had"
                    );
                }
                let api_error = self.no_token(&error);
                let mut last = self.last_failure.lock();
                let pause = last.as_ref().map_or(FIRST_PAUSE, |failure| failure.pause * 2);
                let pause = pause.min(LONGEST_PAUSE);
                *last = Some(Failure { when: Instant::now(), pause, error });
                Err(api_error)
            }
        }
    }

    fn may_try(&self, now: Instant) -> bool {
        let last = self.last_failure.lock();
        last.as_ref().is_none_or(|failure| now - failure.when >= failure.pause)
    }

    fn is_hopeless(&self, used: &HeaderValue) -> bool {
        let refused = self.refused_anew.lock();
        refused
            .as_ref()
            .is_some_and(|(header, when)| header == used && when.elapsed() < REFUSAL_PAUSE)
    }

    /// Forgets the token if it is still this one.
    fn discard(&self, used: &HeaderValue) {
        let current = self.token.load();
        if current.as_ref().is_some_and(|token| token.header == *used) {
            self.token.compare_and_swap(&*current, None);
        }
    }

    fn no_token(&self, error: &SourceError) -> ApiError {
        let (kind, code, remedy) = match error {
            SourceError::Unreachable(_) => (ErrorKind::BadGateway, "provider_unreachable", ""),
            SourceError::Silent => (ErrorKind::Timeout, "provider_timeout", ""),
            SourceError::Refused { .. } | SourceError::Unexpected(_) | SourceError::Signing => (
                ErrorKind::BadGateway,
                "provider_credentials_rejected",
                "; the operator must look at its credentials",
            ),
        };
        let message = format!(
            "llm-proxy could not get an access token for the provider `{}`: {error}{remedy}",
            self.provider
        );
        ApiError::new(kind, message).with_code(code)
    }
}

fn secret_header(prefix: &str, secret: &str) -> Result<HeaderValue, CredentialError> {
    let mut value = HeaderValue::try_from(format!("{prefix}{}", secret.trim()))
        .map_err(|_| CredentialError::Characters)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use simulator::{Options, Simulator};

    use super::*;
    use crate::{GigaChatLogin, TokenSource};

    #[test]
    fn tokens_are_renewed_before_they_expire() {
        let now = Instant::now();
        for (life, renewed_after, held_for) in [(1800, 1500, 1795), (100, 80, 95)] {
            let header = HeaderValue::from_static("t");
            let token = Token::new(header, Duration::from_secs(life), now);
            assert_eq!(token.renew_at - now, Duration::from_secs(renewed_after));
            assert!(token.holds(now + Duration::from_secs(held_for - 1)));
            assert!(!token.holds(now + Duration::from_secs(held_for)));
        }
    }

    #[tokio::test]
    async fn an_old_token_serves_while_a_new_one_is_fetched() {
        let simulator = Simulator::start(Options::default()).await.unwrap();
        let source = TokenSource::GigaChat {
            url: format!("{}/gigachat/api/v2/oauth", simulator.base_url()),
            login: GigaChatLogin::Key {
                credentials: "c2ltLWlkOnNpbS1zZWNyZXQ=".to_owned(),
                scope: "GIGACHAT_API_PERS".to_owned(),
            },
        };
        let credentials = Credentials::Token(source);
        let made = CredentialCell::new(credentials, "Bearer ", OriginOptions::new(), "tested");
        let CredentialCell::Token(cell) = made.unwrap() else { panic!("no token") };
        let old = HeaderValue::from_static("Bearer old");
        let now = Instant::now();
        let ageing =
            Token { header: old.clone(), renew_at: now, expires_at: now + Duration::from_secs(60) };
        cell.token.store(Some(Arc::new(ageing)));
        let http = HttpClient::new();
        for _ in 0..20 {
            assert_eq!(cell.current(&http, &Timeouts::default()).await.unwrap(), old);
        }
        let mut new = old.clone();
        for _ in 0..500 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            new = cell.current(&http, &Timeouts::default()).await.unwrap();
            if new != old {
                break;
            }
        }
        assert_ne!(new, old);
        assert_eq!(simulator.requests().len(), 1);
    }
}
