//! Where tokens come from: what is asked of each token service, and how its answer is read.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::{Bytes, BytesMut};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PSS_SHA256, RsaKeyPair};
use serde::Deserialize;

use super::{CredentialError, rfc3339};
use crate::http::{AnswerBody, HttpClient, Origin, OriginOptions, Outgoing, Segments};
use crate::provider::Timeouts;

/// Longest answer of a token service that is read.
const MAX_GRANT_BYTES: usize = 64 * 1024;
/// Yandex wants this audience whatever host is asked (IAM documentation, "JWT").
const YANDEX_AUDIENCE: &str = "https://iam.api.cloud.yandex.net/iam/v1/tokens";
/// Longest life that Yandex grants a JWT.
const YANDEX_JWT_LIFE: Duration = Duration::from_secs(3600);
/// Life of a token whose service does not say readably how long it lives: Yandex's live up to 12
/// hours, and asking for a new one each hour is advised.
const DEFAULT_LIFE: Duration = Duration::from_secs(3600);

/// Where tokens come from. All hold secrets and show none.
pub enum TokenSource {
    /// GigaChat.
    GigaChat {
        /// The token service.
        url: String,
        /// How to log in there.
        login: GigaChatLogin,
    },
    /// Yandex IAM, for a service account.
    YandexIam {
        /// The token service.
        url: String,
        /// Its key.
        key: ServiceAccountKey,
    },
    /// Cloud.ru IAM.
    CloudRu {
        /// The token service.
        url: String,
        /// Id of the key.
        key_id: String,
        /// Its secret.
        secret: String,
    },
    /// Microsoft Entra ID, client credentials.
    Entra {
        /// `https://login.microsoftonline.com/TENANT/oauth2/v2.0/token`
        url: String,
        /// The application.
        client_id: String,
        /// Its secret.
        client_secret: String,
        /// `https://cognitiveservices.azure.com/.default`
        scope: String,
    },
}

/// How to log in to GigaChat.
pub enum GigaChatLogin {
    /// The authorization key: base64 of `id:secret`, with the scope of the contract.
    Key {
        /// The key.
        credentials: String,
        /// `GIGACHAT_API_PERS`, `_B2B` or `_CORP`.
        scope: String,
    },
    /// User and password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
}

/// A service account's key as Yandex Cloud exports it.
#[derive(Clone, Deserialize)]
pub struct ServiceAccountKey {
    /// Id of the key.
    pub id: String,
    /// Id of the service account.
    pub service_account_id: String,
    /// PEM, PKCS#8; a line of warning may stand before it.
    pub private_key: String,
}

impl fmt::Debug for ServiceAccountKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ServiceAccountKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a token service granted.
pub(super) struct Grant {
    pub(super) token: String,
    pub(super) life: Duration,
}

/// Why there is no token.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum SourceError {
    #[error("the token service could not be reached: {0}")]
    Unreachable(String),
    #[error("the token service did not answer in time")]
    Silent,
    #[error("the token service refused the credentials with status {status}{said}")]
    Refused { status: u16, said: String },
    #[error("the token service answered with {0}")]
    Unexpected(&'static str),
    #[error("the key could not sign")]
    Signing,
}

/// A source that is ready to be asked.
pub(super) struct PreparedSource {
    source: TokenSource,
    origin: Origin,
    path: PathAndQuery,
    signer: Option<RsaKeyPair>,
}

impl fmt::Debug for PreparedSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PreparedSource")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl PreparedSource {
    pub(super) fn new(
        source: TokenSource,
        options: OriginOptions,
    ) -> Result<Self, CredentialError> {
        let (url, signer) = match &source {
            TokenSource::YandexIam { url, key } => (url, Some(key_pair(key)?)),
            TokenSource::GigaChat { url, .. }
            | TokenSource::CloudRu { url, .. }
            | TokenSource::Entra { url, .. } => (url, None),
        };
        let uri: Uri = url.parse().map_err(|_| CredentialError::Url(url.clone()))?;
        let path = uri.path_and_query().cloned();
        let origin = Origin::new(&uri, options)?;
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Self { source, origin, path, signer })
    }

    /// Asks for a token. `random` makes the id of the request.
    pub(super) async fn fetch(
        &self,
        http: &HttpClient,
        timeouts: &Timeouts,
        now: SystemTime,
        random: u128,
    ) -> Result<Grant, SourceError> {
        let (headers, body) = self.request(now, random)?;
        let outgoing = Outgoing {
            method: Method::POST,
            path: self.path.clone(),
            headers,
            body: Segments::new([Bytes::from(body)]),
        };
        let exchange = async {
            let sent = http.send(&self.origin, outgoing, timeouts.connect).await;
            let (response, lease) =
                sent.map_err(|error| SourceError::Unreachable(error.to_string()))?;
            let status = response.status();
            // The body moves the connection that it comes over.
            let deadline = tokio::time::Instant::now() + timeouts.total;
            let name = Arc::from("token service");
            let mut body =
                AnswerBody::new(response.into_body(), lease, name, timeouts.idle, deadline);
            let mut whole = BytesMut::new();
            while let Some(piece) = body.next().await {
                let piece = piece.map_err(|error| SourceError::Unreachable(error.message))?;
                if whole.len() + piece.len() > MAX_GRANT_BYTES {
                    let reason = "its answer is too large".to_owned();
                    return Err(SourceError::Unreachable(reason));
                }
                whole.extend_from_slice(&piece);
            }
            Ok((status.as_u16(), whole.freeze()))
        };
        let limit = timeouts.first_byte.min(Duration::from_secs(30));
        let (status, body) =
            tokio::time::timeout(limit, exchange).await.map_err(|_| SourceError::Silent)??;
        if !(200..300).contains(&status) {
            return Err(SourceError::Refused { status, said: said(&body) });
        }
        read_grant(&body, now)
    }

    fn request(&self, now: SystemTime, random: u128) -> Result<(HeaderMap, String), SourceError> {
        const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
        const JSON: HeaderValue = HeaderValue::from_static("application/json");
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, JSON);
        let body = match &self.source {
            TokenSource::GigaChat { login, .. } => {
                headers.insert(HeaderName::from_static("rquid"), uuid4(random));
                headers.insert(header::CONTENT_TYPE, FORM);
                match login {
                    GigaChatLogin::Key { credentials, scope } => {
                        headers.insert(header::AUTHORIZATION, basic(credentials.trim())?);
                        form(&[("scope", scope)])
                    }
                    GigaChatLogin::Password { user, password } => {
                        let pair = STANDARD.encode(format!("{user}:{password}"));
                        headers.insert(header::AUTHORIZATION, basic(&pair)?);
                        String::new()
                    }
                }
            }
            TokenSource::YandexIam { key, .. } => {
                headers.insert(header::CONTENT_TYPE, JSON);
                serde_json::json!({ "jwt": self.jwt(key, now)? }).to_string()
            }
            TokenSource::CloudRu { key_id, secret, .. } => {
                headers.insert(header::CONTENT_TYPE, JSON);
                serde_json::json!({ "keyId": key_id, "secret": secret }).to_string()
            }
            TokenSource::Entra { client_id, client_secret, scope, .. } => {
                headers.insert(header::CONTENT_TYPE, FORM);
                form(&[
                    ("grant_type", "client_credentials"),
                    ("client_id", client_id),
                    ("client_secret", client_secret),
                    ("scope", scope),
                ])
            }
        };
        Ok((headers, body))
    }

    /// The signed request of a service account (RFC 7519; PS256 of RFC 7518).
    fn jwt(&self, key: &ServiceAccountKey, now: SystemTime) -> Result<String, SourceError> {
        let signer = self.signer.as_ref().ok_or(SourceError::Signing)?;
        let issued = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let header = serde_json::json!({ "typ": "JWT", "alg": "PS256", "kid": key.id });
        let claims = serde_json::json!({
            "iss": key.service_account_id,
            "aud": YANDEX_AUDIENCE,
            "iat": issued,
            "exp": issued + YANDEX_JWT_LIFE.as_secs(),
        });
        let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
        let signed = format!(
            "{}.{}",
            encode(header.to_string().as_bytes()),
            encode(claims.to_string().as_bytes())
        );
        let mut signature = vec![0; signer.public().modulus_len()];
        signer
            .sign(&RSA_PSS_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| SourceError::Signing)?;
        Ok(format!("{signed}.{}", encode(&signature)))
    }
}

fn key_pair(key: &ServiceAccountKey) -> Result<RsaKeyPair, CredentialError> {
    let fault = |reason: &str| CredentialError::ServiceAccountKey(reason.to_owned());
    let pem: String = key
        .private_key
        .lines()
        .map(str::trim)
        .skip_while(|line| !line.starts_with("-----BEGIN"))
        .skip(1)
        .take_while(|line| !line.starts_with("-----END"))
        .collect();
    let der = STANDARD.decode(pem).map_err(|_| fault("`private_key` is not PEM"))?;
    RsaKeyPair::from_pkcs8(&der).map_err(|_| fault("`private_key` is not an RSA key in PKCS#8"))
}

#[derive(Deserialize)]
struct GrantBody {
    #[serde(alias = "tok", alias = "iamToken", alias = "access_token", alias = "accessToken")]
    token: Option<String>,
    /// Seconds (GigaChat's `exp`) or milliseconds (its `expires_at`) since 1970.
    #[serde(alias = "exp", alias = "expires_at")]
    expires: Option<u64>,
    /// A moment (RFC 3339): Yandex. Of any type, so that one that cannot be read costs no token.
    #[serde(rename = "expiresAt")]
    expires_at: Option<serde_json::Value>,
    /// Seconds from now (OAuth 2.0, RFC 6749, 5.1).
    expires_in: Option<u64>,
}

fn read_grant(body: &[u8], now: SystemTime) -> Result<Grant, SourceError> {
    /// Later than any second and earlier than any millisecond that can stand here.
    const MILLISECONDS_FROM: u64 = 100_000_000_000;
    let grant: GrantBody =
        serde_json::from_slice(body).map_err(|_| SourceError::Unexpected("no token in it"))?;
    let token = grant
        .token
        .filter(|token| !token.is_empty())
        .ok_or(SourceError::Unexpected("no token in it"))?;
    let said = grant.expires_at.as_ref().and_then(serde_json::Value::as_str);
    let said = said.and_then(rfc3339::parse);
    let life = match (grant.expires, grant.expires_in) {
        (_, Some(seconds)) => Duration::from_secs(seconds),
        (Some(moment), None) => {
            let moment = if moment < MILLISECONDS_FROM {
                Duration::from_secs(moment)
            } else {
                Duration::from_millis(moment)
            };
            moment.saturating_sub(now.duration_since(UNIX_EPOCH).unwrap_or_default())
        }
        (None, None) => {
            said.map_or(DEFAULT_LIFE, |moment| moment.duration_since(now).unwrap_or_default())
        }
    };
    if life.is_zero() {
        return Err(SourceError::Unexpected(
            "a token that has expired already; compare the clocks",
        ));
    }
    // Far beyond any real one, and within what a clock can add.
    Ok(Grant { token, life: life.min(Duration::from_secs(7 * 24 * 3600)) })
}

/// What a refusing service says of itself, without what it may repeat of the request.
fn said(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Said {
        message: Option<String>,
        error: Option<serde_json::Value>,
        code: Option<i64>,
    }
    let Ok(said) = serde_json::from_slice::<Said>(body) else { return String::new() };
    let error = said.error.as_ref().and_then(serde_json::Value::as_str);
    let code = said.code.map(|code| format!(" (code {code})")).unwrap_or_default();
    let text = said.message.as_deref().or(error).unwrap_or_default();
    let short: String = text.chars().take(120).collect();
    if short.is_empty() { code } else { format!("{code}: {short}") }
}

fn basic(pair: &str) -> Result<HeaderValue, SourceError> {
    let mut value = HeaderValue::try_from(format!("Basic {pair}"))
        .map_err(|_| SourceError::Unexpected("nothing: the key cannot stand in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A version 4 UUID (RFC 9562, 5.4).
fn uuid4(random: u128) -> HeaderValue {
    let version = (random & !(0xf << 76) & !(0x3 << 62)) | (4 << 76) | (2 << 62);
    let hex = format!("{version:032x}");
    let text =
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// `application/x-www-form-urlencoded`
fn form(fields: &[(&str, &str)]) -> String {
    let encoded: Vec<String> = fields
        .iter()
        .map(|(name, value)| {
            let value: String = value
                .bytes()
                .map(|byte| match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                        char::from(byte).to_string()
                    }
                    _ => format!("%{byte:02X}"),
                })
                .collect();
            format!("{name}={value}")
        })
        .collect();
    encoded.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn grants_of_all_services_are_read() {
        let now = at(1_700_000_000);
        for (body, seconds) in [
            (r#"{"access_token":"t","expires_at":1700001800000}"#, 1800),
            (r#"{"tok":"t","exp":1700001800}"#, 1800),
            (r#"{"access_token":"t","expires_in":3599,"token_type":"Bearer"}"#, 3599),
            (r#"{"iamToken":"t","expiresAt":"2023-11-15T10:13:20.123456789Z"}"#, 12 * 3600),
            (r#"{"iamToken":"t","expiresAt":"2023-11-14T22:20:00Z"}"#, 400),
            (r#"{"iamToken":"t","expiresAt":"2026-11-24T00:00:00Z"}"#, 7 * 24 * 3600),
            (r#"{"iamToken":"t","expiresAt":"tomorrow"}"#, 3600),
            (r#"{"iamToken":"t","expiresAt":1700001800}"#, 3600),
            (r#"{"iamToken":"t","expiresAt":null}"#, 3600),
            (r#"{"iamToken":"t"}"#, 3600),
        ] {
            let grant = read_grant(body.as_bytes(), now).ok().unwrap();
            assert_eq!((grant.token.as_str(), grant.life.as_secs()), ("t", seconds), "{body}");
        }
        let past = r#"{"iamToken":"t","expiresAt":"2023-11-14T22:13:20Z"}"#;
        for body in ["{}", "[]", r#"{"tok":"","exp":1}"#, r#"{"tok":"t","exp":1}"#, past] {
            assert!(read_grant(body.as_bytes(), now).is_err(), "{body}");
        }
    }

    #[test]
    fn ids_are_uuids_of_version_4() {
        let id = uuid4(u128::MAX).to_str().unwrap().to_owned();
        assert_eq!(id, "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid4(0).to_str().unwrap(), "00000000-0000-4000-8000-000000000000");
    }

    #[test]
    fn forms_are_encoded() {
        assert_eq!(form(&[("a", "б c"), ("d", "e/f")]), "a=%D0%B1%20c&d=e%2Ff");
    }
}
