//! Pictures for providers that talk only about files they hold (GigaChat): fetched where they are
//! an address, uploaded once, and referred to by the id that the provider gave.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use chat::{ApiError, ChatRequest, ErrorKind, Image, MediaSource, Part};
use http::header::CONTENT_TYPE;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Uri};
use parking_lot::Mutex;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::time::Instant as TokioInstant;

use crate::http::{AnswerBody, HttpClient, Origin, OriginOptions, Outgoing, Segments};
use crate::provider::{Provider, Timeouts};

/// Largest picture that is fetched or uploaded (GigaChat's limit).
const MAX_BYTES: usize = 15 << 20;
/// Uploads that are remembered.
const MAX_REMEMBERED: usize = 4096;
/// How long an upload is referred to before the picture is uploaded anew.
const REMEMBERED_FOR: Duration = Duration::from_secs(3600);

type Fingerprint = [u8; 32];

/// What was uploaded lately, and whence pictures may be fetched.
#[derive(Debug)]
pub(crate) struct ImageStore {
    allowed_hosts: Vec<String>,
    uploaded: Mutex<HashMap<Fingerprint, (String, Instant)>>,
}

struct Picture {
    media_type: String,
    bytes: Bytes,
}

impl ImageStore {
    /// `allowed_hosts` are fetched from although their addresses are not public.
    pub(crate) fn new(allowed_hosts: Vec<String>) -> Self {
        Self { allowed_hosts, uploaded: Mutex::new(HashMap::new()) }
    }

    pub(crate) async fn upload_all(
        &self,
        provider: &Provider,
        http: &HttpClient,
        request: &mut ChatRequest,
        timeouts: &Timeouts,
    ) -> Result<(), ApiError> {
        for (number, message) in request.messages.iter_mut().enumerate() {
            for part in &mut message.parts {
                if let Part::Image(image) = part {
                    self.upload(provider, http, image, timeouts)
                        .await
                        .map_err(|error| blame(error, number))?;
                }
            }
        }
        Ok(())
    }

    async fn upload(
        &self,
        provider: &Provider,
        http: &HttpClient,
        image: &mut Image,
        timeouts: &Timeouts,
    ) -> Result<(), ApiError> {
        let picture = match &image.source {
            MediaSource::FileId(_) => return Ok(()),
            MediaSource::Base64 { media_type, data } => {
                let bytes = STANDARD
                    .decode(data)
                    .map_err(|_| invalid("the picture is not valid base64"))?;
                Picture { media_type: media_type.clone(), bytes: bytes.into() }
            }
            MediaSource::Url(url) => self.fetch(http, url, timeouts).await?,
        };
        if picture.bytes.len() > MAX_BYTES {
            return Err(invalid("the picture is larger than 15 MiB"));
        }
        let fingerprint: Fingerprint = Sha256::digest(&picture.bytes).into();
        if let Some(id) = self.remembered(&fingerprint) {
            image.source = MediaSource::FileId(id);
            return Ok(());
        }
        let id = send_file(provider, http, &picture, timeouts).await?;
        self.remember(fingerprint, id.clone());
        image.source = MediaSource::FileId(id);
        Ok(())
    }

    fn remembered(&self, fingerprint: &Fingerprint) -> Option<String> {
        let uploaded = self.uploaded.lock();
        let (id, since) = uploaded.get(fingerprint)?;
        (since.elapsed() < REMEMBERED_FOR).then(|| id.clone())
    }

    fn remember(&self, fingerprint: Fingerprint, id: String) {
        let mut uploaded = self.uploaded.lock();
        if uploaded.len() >= MAX_REMEMBERED {
            uploaded.retain(|_, (_, since)| since.elapsed() < REMEMBERED_FOR);
        }
        if uploaded.len() >= MAX_REMEMBERED {
            let oldest = uploaded.iter().min_by_key(|(_, (_, since))| *since);
            if let Some(oldest) = oldest.map(|(fingerprint, _)| *fingerprint) {
                uploaded.remove(&oldest);
            }
        }
        uploaded.insert(fingerprint, (id, Instant::now()));
    }

    /// Fetches a picture from an address that the caller chose: only over HTTP(S), only from public
    /// addresses, without following redirects, so that nobody reaches the inside of the network
    /// through the proxy.
    async fn fetch(
        &self,
        http: &HttpClient,
        url: &str,
        timeouts: &Timeouts,
    ) -> Result<Picture, ApiError> {
        let uri: Uri = url.parse().map_err(|_| invalid("the address of the picture is no URL"))?;
        let options = OriginOptions { http2: crate::Http2::Never, ..OriginOptions::new() };
        let mut origin = Origin::new(&uri, OriginOptions { max_idle: 0, ..options })
            .map_err(|_| invalid("a picture's address must begin with https:// or http://"))?;
        let addresses = tokio::time::timeout(timeouts.connect, origin.addresses())
            .await
            .map_err(|_| unfetched("its host was not found in time"))?
            .map_err(|_| unfetched("its host was not found"))?;
        let allowed = self.allowed_hosts.iter().any(|host| Some(host.as_str()) == uri.host());
        if !allowed && !addresses.iter().map(SocketAddr::ip).all(is_public) {
            return Err(invalid("pictures are fetched from public addresses only"));
        }
        origin.pin(addresses);
        let path = uri.path_and_query().cloned();
        let outgoing = Outgoing {
            method: Method::GET,
            path: path.unwrap_or_else(|| PathAndQuery::from_static("/")),
            headers: HeaderMap::new(),
            body: Segments::default(),
        };
        let limit = timeouts.first_byte.min(Duration::from_secs(20));
        let sending = http.send(&origin, outgoing, timeouts.connect);
        let (response, lease) = tokio::time::timeout(limit, sending)
            .await
            .map_err(|_| unfetched("its host did not answer in time"))?
            .map_err(|_| unfetched("its host could not be reached"))?;
        if !response.status().is_success() {
            return Err(unfetched(&format!("its host answered {}", response.status().as_u16())));
        }
        let media_type = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .filter(|value| value.starts_with("image/"))
            .ok_or_else(|| invalid("what stands at the picture's address is not a picture"))?
            .to_owned();
        let deadline = TokioInstant::now() + limit;
        let body =
            AnswerBody::new(response.into_body(), lease, "of the picture".into(), limit, deadline);
        Ok(Picture { media_type, bytes: read(body, MAX_BYTES).await? })
    }
}

async fn read(mut body: AnswerBody, limit: usize) -> Result<Bytes, ApiError> {
    let mut whole = BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|_| unfetched("it broke off"))?;
        if whole.len() + piece.len() > limit {
            return Err(invalid("the picture is larger than 15 MiB"));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

async fn send_file(
    provider: &Provider,
    http: &HttpClient,
    picture: &Picture,
    timeouts: &Timeouts,
) -> Result<String, ApiError> {
    #[derive(Deserialize)]
    struct Uploaded {
        id: String,
    }
    let boundary = format!("llm-proxy-{:032x}", fastrand::u128(..));
    let extension = picture.media_type.rsplit('/').next().unwrap_or("bin");
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\ngeneral\r\n\
         --{boundary}\r\nContent-Disposition: form-data; name=\"file\"; \
         filename=\"image.{extension}\"\r\nContent-Type: {}\r\n\r\n",
        picture.media_type
    );
    let tail = format!("\r\n--{boundary}--\r\n");
    let body = Segments::new([head.into(), picture.bytes.clone(), tail.into()]);
    let content_type = HeaderValue::try_from(format!("multipart/form-data; boundary={boundary}"))
        .map_err(|_| {
        ApiError::new(ErrorKind::Internal, "a boundary that no header can carry")
    })?;
    let answer = provider.post(http, "/files", content_type, body, timeouts).await?;
    let status = answer.status;
    let text = read(answer.body, 64 * 1024).await?;
    if !status.is_success() {
        return Err(ApiError {
            provider_status: Some(status.as_u16()),
            ..ApiError::new(
                if status.is_server_error() {
                    ErrorKind::BadGateway
                } else {
                    ErrorKind::InvalidRequest
                },
                format!(
                    "the provider `{}` did not take the picture (status {})",
                    provider.name(),
                    status.as_u16()
                ),
            )
        });
    }
    let uploaded: Uploaded = serde_json::from_slice(&text).map_err(|_| {
        ApiError::new(ErrorKind::BadGateway, "the provider gave the uploaded picture no id")
    })?;
    Ok(uploaded.id)
}

fn blame(error: ApiError, message: usize) -> ApiError {
    if error.kind == ErrorKind::InvalidRequest {
        error.with_param(format!("messages[{message}].content"))
    } else {
        error
    }
}

fn invalid(reason: &str) -> ApiError {
    ApiError::new(ErrorKind::InvalidRequest, reason).with_code("invalid_image")
}

fn unfetched(reason: &str) -> ApiError {
    invalid(&format!("the picture could not be fetched: {reason}; send it as base64"))
}

/// Whether an address belongs to the public internet (IANA special-purpose registries).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => is_public_v4(mapped),
            None => is_public_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || first == 0
        || first >= 240
        || (first == 100 && (64..128).contains(&second))
        || (first == 192 && second == 0 && third == 0)
        || (first == 192 && second == 88 && third == 99)
        || (first == 198 && (second & 0xfe) == 18);
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let global_unicast = segments[0] & 0xe000 == 0x2000;
    let documentation = (segments[0] == 0x2001 && segments[1] == 0xdb8)
        || (segments[0] == 0x3fff && segments[1] < 0x1000);
    // 6to4 and Teredo wrap IPv4 addresses that may be private; Teredo's are among 2001::/23, of
    // which nothing is a host's own.
    let wrapping = segments[0] == 0x2002 || (segments[0] == 0x2001 && segments[1] < 0x200);
    global_unicast && !documentation && !wrapping
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "198.18.0.1",
            "255.255.255.255",
            "::1",
            "fe80::1",
            "fc00::1",
            "::ffff:10.0.0.1",
            "2002:0a00:0001::1",
            "64:ff9b::a00:1",
            "2001:db8::1",
            "2001:0:a00:1::1",
            "3fff::1",
            "192.88.99.1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["8.8.8.8", "77.88.8.8", "2a02:6b8::feed:ff"] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }
}
