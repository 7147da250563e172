use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{HeaderValue, Uri};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::egress::EgressProxy;

/// When HTTP/2 is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Http2 {
    /// Over TLS, if the provider offers it (ALPN).
    #[default]
    Auto,
    /// Never.
    Never,
    /// Always, without asking; over cleartext too.
    PriorKnowledge,
}

/// How a provider's address is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OriginOptions {
    /// When HTTP/2 is spoken.
    pub http2: Http2,
    /// Certificates (PEM) trusted besides the public ones: the Russian Trusted Root, say.
    pub ca_bundle: Option<PathBuf>,
    /// The client's own certificate chain and key (PEM), where the provider wants one.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// The proxy that connections go through; the host's name is looked up there.
    pub egress_proxy: Option<EgressProxy>,
    /// Connections kept open without a request, for each worker.
    pub max_idle: usize,
    /// How long they are kept.
    pub idle_timeout: Duration,
}

impl OriginOptions {
    /// The defaults: 64 idle connections a worker, kept 60 s.
    #[must_use]
    pub fn new() -> Self {
        Self { max_idle: 64, idle_timeout: Duration::from_secs(60), ..Self::default() }
    }
}

/// Why an address cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// Not an absolute `http` or `https` URL.
    #[error("`{0}` is not an http:// or https:// address")]
    Url(String),
    /// A user or password in the URL.
    #[error("a user and password cannot stand in an address; give them as credentials")]
    UserInfo,
    /// A certificate or key that cannot be read or used.
    #[error("{path}: {reason}; give a PEM file")]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS that cannot be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// A scheme, a host and a port, and how to get there.
pub struct Origin {
    pub(crate) id: u64,
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    pub(crate) host_header: HeaderValue,
    pub(crate) options: OriginOptions,
    /// Tells pools when there is no such origin any more.
    pub(super) alive: Arc<()>,
    host: String,
    port: u16,
    /// Addresses to use instead of asking the resolver.
    pinned: Option<Vec<SocketAddr>>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl fmt::Debug for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.scheme, self.authority)
    }
}

impl Origin {
    /// The origin of `url`.
    ///
    /// # Errors
    /// When the URL or a certificate cannot be used.
    pub fn new(url: &Uri, options: OriginOptions) -> Result<Self, OriginError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let fault = || OriginError::Url(url.to_string());
        let scheme = url.scheme().cloned().ok_or_else(fault)?;
        let authority = url.authority().cloned().ok_or_else(fault)?;
        if authority.as_str().contains('@') {
            return Err(OriginError::UserInfo);
        }
        let secure = match scheme.as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(fault()),
        };
        let bare = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = if secure {
            let name = ServerName::try_from(bare.clone()).map_err(|_| fault())?;
            Some((TlsConnector::from(Arc::new(client_config(&options)?)), name))
        } else {
            None
        };
        Ok(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            host_header: HeaderValue::from_str(authority.as_str()).map_err(|_| fault())?,
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            host: bare,
            alive: Arc::new(()),
            pinned: None,
            scheme,
            authority,
            options,
            tls,
        })
    }

    pub(super) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// The addresses of the host.
    pub(crate) async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        match &self.pinned {
            Some(addresses) => Ok(addresses.clone()),
            None => Ok(tokio::net::lookup_host((self.host.as_str(), self.port)).await?.collect()),
        }
    }

    /// Connects to these addresses from now on, whatever the name stands for later.
    pub(crate) fn pin(&mut self, addresses: Vec<SocketAddr>) {
        self.pinned = Some(addresses);
    }

    /// Opens a connection.
    pub(crate) async fn connect(&self) -> io::Result<Transport> {
        let stream = match &self.options.egress_proxy {
            None => connect_tcp(self.addresses().await?).await?,
            Some(proxy) => self.connect_through(proxy).await?,
        };
        stream.set_nodelay(true)?;
        match &self.tls {
            None => Ok(Transport::Plain(stream)),
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await?;
                Ok(Transport::Tls(Box::new(stream)))
            }
        }
    }

    /// Opens a connection that a proxy passes on.
    async fn connect_through(&self, proxy: &EgressProxy) -> io::Result<TcpStream> {
        let connecting = async {
            let addresses = tokio::net::lookup_host((proxy.host.as_str(), proxy.port)).await?;
            connect_tcp(addresses.collect()).await
        };
        let mut stream = connecting.await.map_err(|error| proxy.unreachable(error))?;
        // As it stands in the URL: with brackets, where there are some.
        let target = format!("{}:{}", self.authority.host(), self.port);
        proxy.tunnel(&mut stream, &target).await?;
        Ok(stream)
    }
}

/// Tries the addresses of a host in turn; one that does not answer holds up the next by a
/// quarter of a second (after RFC 8305).
async fn connect_tcp(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    const HEAD_START: Duration = Duration::from_millis(250);
    let mut attempts = tokio::task::JoinSet::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    let mut rest = addresses.into_iter();
    if let Some(only) = rest.next() {
        if rest.len() == 0 {
            return TcpStream::connect(only).await;
        }
        attempts.spawn(TcpStream::connect(only));
    }
    loop {
        let finished = tokio::time::timeout(HEAD_START, attempts.join_next()).await;
        match finished {
            Ok(Some(Ok(Ok(stream)))) => return Ok(stream),
            Ok(Some(Ok(Err(error)))) => last = error,
            Ok(Some(Err(_)) | None) | Err(_) => {}
        }
        match rest.next() {
            Some(address) => {
                attempts.spawn(TcpStream::connect(address));
            }
            None if attempts.is_empty() => return Err(last),
            None => {}
        }
    }
}

/// An open connection.
pub(crate) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    /// Whether the other side chose HTTP/2.
    pub(crate) fn negotiated_http2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// Mozilla's roots and those of this machine. Read once: it takes milliseconds.
static PUBLIC_ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Arc::new(roots)
});

fn client_config(options: &OriginOptions) -> Result<ClientConfig, OriginError> {
    let fault =
        |path: &PathBuf, reason: String| OriginError::Certificate { path: path.clone(), reason };
    let certificates = |path: &PathBuf| {
        CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| fault(path, error.to_string()))
    };
    let mut roots = Arc::clone(&PUBLIC_ROOTS);
    if let Some(path) = &options.ca_bundle {
        let bundle = certificates(path)?;
        if bundle.is_empty() {
            return Err(fault(path, "no certificate in it".to_owned()));
        }
        for certificate in bundle {
            Arc::make_mut(&mut roots)
                .add(certificate)
                .map_err(|error| fault(path, error.to_string()))?;
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match &options.client_certificate {
        None => builder.with_no_client_auth(),
        Some((chain, key_path)) => {
            let key = PrivateKeyDer::from_pem_file(key_path)
                .map_err(|error| fault(key_path, error.to_string()))?;
            builder.with_client_auth_cert(certificates(chain)?, key)?
        }
    };
    config.alpn_protocols = match options.http2 {
        Http2::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Http2::Never => vec![b"http/1.1".to_vec()],
        Http2::PriorKnowledge => vec![b"h2".to_vec()],
    };
    Ok(config)
}
