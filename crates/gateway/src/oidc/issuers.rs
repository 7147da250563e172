use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use identity::token::{TokenError, VerifiedToken, is_jwt, unverified_issuer};
use identity::{DirectoryView, Principal};
use providers::HttpClient;
use tokio::task::JoinHandle;

use super::introspection::Introspections;
use super::issuer::{Issuer, may_wait};
use super::{IssuerOptions, OidcError, OidcStartError, principal_of};

/// What keys made here begin with; they are shown to no issuer.
const OWN_KEYS: &str = "sk-llmp-";

/// The identity providers whose tokens are taken. While this lives, tasks keep their keys fresh.
#[derive(Debug)]
pub struct OidcIssuers {
    /// In the order of the configuration.
    issuers: Vec<Arc<Running>>,
    introspections: Option<Introspections>,
}

/// An issuer and the task that fetches its keys.
#[derive(Debug)]
struct Running {
    issuer: Arc<Issuer>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl OidcIssuers {
    /// Begins to fetch the keys of all issuers. Those that `previous` has with equal options are
    /// kept, with their keys; if all are the same, with what is known of opaque tokens. Must run within a tokio runtime, on which everything is fetched.
    ///
    /// # Errors
    ///
    /// An address or a certificate cannot be used; that an issuer cannot be reached is no error.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(
        options: Vec<IssuerOptions>,
        previous: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, OidcStartError> {
        if let Some(same) = previous
            && same.issuers.iter().map(|running| &running.issuer.options).eq(&options)
        {
            return Ok(Arc::clone(same));
        }
        let http = HttpClient::new();
        // All are made before a task is started: one that cannot be used stops nothing half-way.
        let before = previous.map(|previous| previous.issuers.as_slice()).unwrap_or_default();
        let made = options.into_iter().map(|options| {
            let same = before.iter().find(|running| running.issuer.options == options);
            match same {
                Some(running) => Ok(Ok(Arc::clone(running))),
                None => Issuer::new(options).map(|issuer| Err(Arc::new(issuer))),
            }
        });
        let made: Vec<Result<Arc<Running>, Arc<Issuer>>> = made.collect::<Result<_, _>>()?;
        let begin = |issuer: Arc<Issuer>| {
            let task = tokio::spawn(Arc::clone(&issuer).keep_fresh(http.clone()));
            Arc::new(Running { issuer, task })
        };
        let issuers: Vec<Arc<Running>> =
            made.into_iter().map(|issuer| issuer.unwrap_or_else(begin)).collect();
        let asked = issuers.iter().map(|running| Arc::clone(&running.issuer));
        let asked: Vec<_> = asked.filter(|issuer| issuer.options.introspection.is_some()).collect();
        let introspections = (!asked.is_empty()).then(|| Introspections::new(asked, http));
        Ok(Arc::new(Self { issuers, introspections }))
    }

    /// Verifies a signed JWT by the keys that are here, without waiting for anything.
    ///
    /// # Errors
    ///
    /// Why it is refused. After `TokenError::UnknownKey` and [`OidcError::Unavailable`] ask
    /// [`Self::verify_waiting`].
    pub fn verify(&self, token: &str, now_ms: i64) -> Result<VerifiedToken, OidcError> {
        self.issuer_of(token)?.verify(token, now_ms)
    }

    /// Verifies a signed JWT. If its key is not here, waits at most 2 s for the keys to be fetched
    /// anew, which is done at most once every 30 s.
    ///
    /// # Errors
    ///
    /// Why it is refused.
    pub async fn verify_waiting(
        &self,
        token: &str,
        now_ms: i64,
    ) -> Result<VerifiedToken, OidcError> {
        let issuer = self.issuer_of(token)?;
        match issuer.verify(token, now_ms) {
            Err(error) if may_wait(error) => issuer.verify_waiting(token, now_ms).await,
            verdict => verdict,
        }
    }

    /// Looks an opaque token up at the issuers that offer it, or in what they said a little while
    /// ago.
    ///
    /// # Errors
    ///
    /// Why it is refused. Without such an issuer it is [`TokenError::Malformed`].
    pub async fn introspect(
        &self,
        token: &str,
        now_ms: i64,
    ) -> Result<Arc<VerifiedToken>, OidcError> {
        match &self.introspections {
            Some(introspections) => introspections.look_up(token, now_ms).await,
            None => Err(TokenError::Malformed.into()),
        }
    }

    /// Why the keys of issuers could not be fetched the last time, by issuer.
    #[must_use]
    pub fn faults(&self) -> BTreeMap<String, String> {
        let issuers = self.issuers.iter().map(|running| &running.issuer);
        issuers.filter_map(|one| Some((one.name().to_owned(), one.fault()?.to_string()))).collect()
    }

    /// Whether a credential that is no key known here may be a token.
    pub(crate) fn concerns(&self, credential: &str) -> bool {
        is_jwt(credential) || (self.introspections.is_some() && !credential.starts_with(OWN_KEYS))
    }

    /// Whom a token stands for, as far as that can be said without waiting; `None`: ask
    /// [`Self::ask`].
    pub(crate) fn identify_at_once(
        &self,
        token: &str,
        directory: &DirectoryView,
        now_ms: i64,
        address: Option<IpAddr>,
    ) -> Option<Result<Principal, OidcError>> {
        if !is_jwt(token) {
            return None;
        }
        match self.verify(token, now_ms) {
            Ok(verified) => Some(principal_of(&verified, directory, address)),
            Err(error) if may_wait(error) => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// The verified token, after asking its issuer.
    pub(crate) async fn ask(
        &self,
        token: &str,
        now_ms: i64,
    ) -> Result<Arc<VerifiedToken>, OidcError> {
        if is_jwt(token) {
            self.verify_waiting(token, now_ms).await.map(Arc::new)
        } else {
            self.introspect(token, now_ms).await
        }
    }

    /// The issuer that the token names. Only that one's keys are then tried, so that tokens of
    /// others cause no fetches.
    fn issuer_of(&self, token: &str) -> Result<&Issuer, OidcError> {
        let name = unverified_issuer(token)?;
        let mut issuers = self.issuers.iter().map(|running| &*running.issuer);
        Ok(issuers.find(|issuer| issuer.name() == name).ok_or(TokenError::Issuer)?)
    }
}
