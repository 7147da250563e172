use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use ::http::uri::PathAndQuery;
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use bytes::Bytes;
use chat::{ApiError, ChatRequest, ErrorKind};
use tokio::time::Instant;

use crate::credentials::{CredentialCell, CredentialError, Credentials};
use crate::http::{
    Answer, AnswerBody, HttpClient, Origin, OriginError, OriginOptions, Outgoing, Segments,
    SendError,
};
use crate::images::ImageStore;
use crate::kind::Kind;
use crate::{Operation, WireFormat};

/// How long to wait for a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// From the request to the head of the answer.
    pub first_byte: Duration,
    /// Between two pieces of the answer.
    pub idle: Duration,
    /// For all of it.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            total: Duration::from_secs(600),
        }
    }
}

/// What a provider is made of.
#[derive(Debug)]
pub struct ProviderSpec {
    /// Its name in the configuration.
    pub name: String,
    /// Where it is; paths of the kind are appended.
    pub base_url: Uri,
    /// What kind it is.
    pub kind: Box<dyn Kind>,
    /// Who the proxy is to it.
    pub credentials: Credentials,
    /// Headers that each request carries, besides those of the kind.
    pub headers: HeaderMap,
    /// How it is reached.
    pub origin: OriginOptions,
    /// Hosts whose pictures are fetched although they are not public.
    pub image_hosts: Vec<String>,
}

/// Why a provider cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// Its address or certificates.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// Its credentials.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// A path that cannot be.
    #[error("`{0}` cannot stand in a URL; correct the model or the base URL")]
    Path(String),
}

/// A provider, ready to be called from any worker.
#[derive(Debug)]
pub struct Provider {
    name: Arc<str>,
    kind: Box<dyn Kind>,
    origin: Origin,
    base_path: String,
    /// By operation; empty where paths name the model.
    paths: Vec<PathAndQuery>,
    credential_header: HeaderName,
    credentials: CredentialCell,
    /// Those of each request, with room for those that differ.
    headers: HeaderMap,
    images: ImageStore,
}

/// One call.
#[derive(Debug)]
pub struct Call<'a> {
    /// What is asked.
    pub operation: Operation,
    /// The deployment's model.
    pub model: &'a str,
    /// Whether the answer is wanted as a stream.
    pub stream: bool,
    /// The body, in pieces that are sent as they are.
    pub body: Vec<Bytes>,
    /// The `x-request-id` under which the provider sees the call.
    pub request_id: &'a str,
    /// How long to wait.
    pub timeouts: &'a Timeouts,
    /// Headers of the caller that pass to the provider.
    pub extra_headers: &'a HeaderMap,
}

impl Provider {
    /// Sets a provider up. Nothing is connected yet.
    ///
    /// # Errors
    /// When the address, a certificate or a credential cannot be used.
    pub fn new(spec: ProviderSpec) -> Result<Self, ProviderError> {
        let origin = Origin::new(&spec.base_url, spec.origin.clone())?;
        let (credential_header, prefix) = spec.kind.credential_header();
        let credentials = CredentialCell::new(spec.credentials, prefix, spec.origin, &spec.name)?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(ACCEPT, JSON);
        headers.insert(HOST, origin.host_header.clone());
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("llm-proxy/", env!("CARGO_PKG_VERSION"))),
        );
        spec.kind.static_headers(&mut headers);
        headers.extend(spec.headers);
        let base_path = spec.base_url.path().trim_end_matches('/').to_owned();
        let paths = if spec.kind.path_names_model() {
            Vec::new()
        } else {
            let paths =
                Operation::ALL.map(|operation| path_of(&*spec.kind, &base_path, operation, ""));
            paths.into_iter().collect::<Result<_, _>>()?
        };
        Ok(Self {
            origin,
            base_path,
            paths,
            credentials,
            credential_header,
            name: spec.name.into(),
            kind: spec.kind,
            headers,
            images: ImageStore::new(spec.image_hosts),
        })
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The form in which it takes an operation itself; `None` if it does not offer it.
    #[must_use]
    pub fn wire_format(&self, operation: Operation) -> Option<WireFormat> {
        self.kind.wire_format(operation)
    }

    /// The model as it stands in the body of a request.
    #[must_use]
    pub fn model_name<'m>(&self, operation: Operation, model: &'m str) -> Cow<'m, str> {
        self.kind.model_name(operation, model)
    }

    /// Why the proxy cannot identify itself to it at the moment, if it cannot.
    #[must_use]
    pub fn credential_fault(&self) -> Option<String> {
        self.credentials.fault()
    }

    /// Uploads the pictures of a request where the provider wants them so, and puts their ids in
    /// their place.
    ///
    /// # Errors
    /// When a picture cannot be fetched or uploaded.
    pub async fn prepare_images(
        &self,
        http: &HttpClient,
        request: &mut ChatRequest,
        timeouts: &Timeouts,
    ) -> Result<(), ApiError> {
        if self.kind.uploads_images() {
            Box::pin(self.images.upload_all(self, http, request, timeouts)).await?;
        }
        Ok(())
    }

    /// Calls the provider and waits for the head of its answer, whatever its status. A 401 renews
    /// the token, where there is one, and is tried once more.
    ///
    /// # Errors
    /// When no answer came: no connection, no credential, no byte in time.
    pub async fn send(&self, http: &HttpClient, call: Call<'_>) -> Result<Answer, ApiError> {
        let mut headers = self.headers.clone();
        if !call.extra_headers.is_empty() {
            headers.extend(call.extra_headers.clone());
        }
        if let Ok(value) = HeaderValue::try_from(call.request_id) {
            headers.insert(X_REQUEST_ID, value);
        }
        if call.stream {
            headers.insert(ACCEPT, EVENT_STREAM);
        }
        let method = match call.operation {
            Operation::Models => Method::GET,
            _ => Method::POST,
        };
        let path = match self.paths.get(call.operation as usize) {
            Some(path) => path.clone(),
            None => path_of(&*self.kind, &self.base_path, call.operation, call.model)
                .map_err(internal)?,
        };
        let body = Segments::new(call.body);
        let outgoing = Outgoing { method, path, headers, body };
        self.exchange(http, outgoing, call.timeouts).await
    }

    /// Opens connections before there are requests for them: up to `connections`, for the worker
    /// whose `http` it is, or a single one where requests share it. Gets an access token, too.
    /// Logs nothing: what fails here is tried again by the requests.
    ///
    /// # Errors
    /// When there is no connection or no token to be had.
    pub async fn warm(
        &self,
        http: &HttpClient,
        connections: usize,
        timeouts: &Timeouts,
    ) -> Result<(), ApiError> {
        self.credentials.warm(http, timeouts).await?;
        let warming = http.warm(&self.origin, connections, timeouts.connect);
        warming.await.map_err(|error| self.unreachable(&error))
    }

    /// Asks for the list of models, which costs no tokens. Whether the provider is there: it answered,
    /// and not with a fault of its own.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn probe(&self, http: &HttpClient, timeouts: &Timeouts) -> Result<bool, ApiError> {
        let path =
            path_of(&*self.kind, &self.base_path, Operation::Models, "").map_err(internal)?;
        let answer = self.get(http, path, timeouts).await?;
        Ok(!answer.status.is_server_error())
    }

    /// What a local engine says of itself at `/metrics`, beside the version of its API, in the text
    /// format of Prometheus.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn engine_metrics(
        &self,
        http: &HttpClient,
        timeouts: &Timeouts,
    ) -> Result<Answer, ApiError> {
        let base = self.base_path.strip_suffix("/v1").unwrap_or(&self.base_path);
        let path = join(base, "/metrics").map_err(internal)?;
        self.get(http, path, timeouts).await
    }

    async fn get(
        &self,
        http: &HttpClient,
        path: PathAndQuery,
        timeouts: &Timeouts,
    ) -> Result<Answer, ApiError> {
        let headers = self.headers.clone();
        let body = Segments::new(Vec::new());
        let outgoing = Outgoing { method: Method::GET, path, headers, body };
        self.exchange(http, outgoing, timeouts).await
    }

    /// Sends a body of the kind `content_type` to `path` below the base address.
    pub(crate) async fn post(
        &self,
        http: &HttpClient,
        path: &str,
        content_type: HeaderValue,
        body: Segments,
        timeouts: &Timeouts,
    ) -> Result<Answer, ApiError> {
        let mut headers = self.headers.clone();
        headers.insert(CONTENT_TYPE, content_type);
        let path = join(&self.base_path, path).map_err(internal)?;
        let outgoing = Outgoing { method: Method::POST, path, headers, body };
        self.exchange(http, outgoing, timeouts).await
    }

    /// One HTTP exchange with credentials.
    async fn exchange(
        &self,
        http: &HttpClient,
        mut outgoing: Outgoing,
        timeouts: &Timeouts,
    ) -> Result<Answer, ApiError> {
        let deadline = Instant::now() + timeouts.total;
        let credential = self.credentials.current(http, timeouts).await?;
        if let Some(value) = &credential {
            outgoing.headers.insert(self.credential_header.clone(), value.clone());
        }
        if !self.credentials.is_renewable() {
            return self.attempt(http, outgoing, timeouts, deadline).await;
        }
        let again = outgoing.clone();
        let answer = self.attempt(http, outgoing, timeouts, deadline).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let renewing = self.credentials.renew(credential, http, timeouts);
        let Some(renewed) = Box::pin(renewing).await? else {
            return Ok(answer);
        };
        drop(answer);
        let mut outgoing = again;
        outgoing.headers.insert(self.credential_header.clone(), renewed.clone());
        let answer = Box::pin(self.attempt(http, outgoing, timeouts, deadline)).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            self.credentials.refused_anew(renewed);
        }
        Ok(answer)
    }

    async fn attempt(
        &self,
        http: &HttpClient,
        outgoing: Outgoing,
        timeouts: &Timeouts,
        deadline: Instant,
    ) -> Result<Answer, ApiError> {
        let wait = timeouts.first_byte.min(deadline.saturating_duration_since(Instant::now()));
        let sending = http.send(&self.origin, outgoing, timeouts.connect);
        let (response, lease) = match tokio::time::timeout(wait, sending).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(error)) => return Err(self.unreachable(&error)),
            Err(_) => return Err(self.silent(wait)),
        };
        let (parts, incoming) = response.into_parts();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: AnswerBody::new(incoming, lease, Arc::clone(&self.name), timeouts.idle, deadline),
        })
    }

    fn unreachable(&self, reason: &SendError) -> ApiError {
        ApiError::new(
            ErrorKind::BadGateway,
            format!("the provider `{}` could not be reached: {reason}", self.name),
        )
        .with_code("provider_unreachable")
    }

    fn silent(&self, waited: Duration) -> ApiError {
        ApiError::new(
            ErrorKind::Timeout,
            format!("the provider `{}` did not answer within {} ms", self.name, waited.as_millis()),
        )
        .with_code("provider_timeout")
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

fn path_of(
    kind: &dyn Kind,
    base_path: &str,
    operation: Operation,
    model: &str,
) -> Result<PathAndQuery, ProviderError> {
    let base_path = match base_path.rsplit_once('/') {
        Some((before, "v1")) if kind.is_beside_version(operation) => before,
        _ => base_path,
    };
    join(base_path, &kind.path(operation, model))
}

fn join(base_path: &str, path: &str) -> Result<PathAndQuery, ProviderError> {
    let whole = format!("{base_path}{path}");
    PathAndQuery::try_from(whole.as_str()).map_err(|_| ProviderError::Path(whole))
}

fn internal(error: ProviderError) -> ApiError {
    ApiError::new(ErrorKind::Internal, error.to_string())
}
