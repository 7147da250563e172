use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion, version};
use tokio_rustls::TlsAcceptor;

/// Where the certificate and its key are, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, own certificate first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// Whether TLS 1.2 is taken too; 1.3 always is.
    pub allow_tls12: bool,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read or is not PEM.
    #[error("{path}: {reason}; give a PEM file")]
    File {
        /// Which.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },
    /// Certificate and key that do not fit, or a key of an unknown kind.
    #[error("the certificate cannot be used: {0}")]
    Certificate(#[from] rustls::Error),
    /// No random numbers for session tickets.
    #[error("session tickets: {0}")]
    Tickets(String),
}

/// The server's side of TLS. The certificate can be replaced while connections are open.
#[derive(Clone)]
pub struct TlsIdentity {
    acceptor: TlsAcceptor,
    current: Arc<Current>,
}

struct Current {
    files: TlsFiles,
    key: ArcSwap<CertifiedKey>,
}

impl fmt::Debug for Current {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Current").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key.load_full())
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.current.fmt(formatter)
    }
}

fn load(files: &TlsFiles) -> Result<CertifiedKey, TlsError> {
    let fault = |path: &PathBuf, reason: String| TlsError::File { path: path.clone(), reason };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| fault(&files.certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(fault(&files.certificate, "no certificate in it".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| fault(&files.key, error.to_string()))?;
    Ok(CertifiedKey::from_der(chain, key, &ring::default_provider())?)
}

impl TlsIdentity {
    /// Reads the files.
    ///
    /// # Errors
    /// When a file cannot be read or certificate and key do not fit.
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
        const LATEST: &[&SupportedProtocolVersion] = &[&version::TLS13];
        let versions = if files.allow_tls12 { BOTH } else { LATEST };
        let key = ArcSwap::from_pointee(load(&files)?);
        let current = Arc::new(Current { files, key });
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer =
            ring::Ticketer::new().map_err(|error| TlsError::Tickets(error.to_string()))?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), current })
    }

    /// Reads the files again; connections that are open keep what they have.
    ///
    /// # Errors
    /// As [`TlsIdentity::open`]; the old certificate stays then.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.current.key.store(Arc::new(load(&self.current.files)?));
        Ok(())
    }

    /// When the files were last changed, to notice that they were.
    ///
    /// # Errors
    /// When a file is not there.
    pub fn modified(&self) -> io::Result<[std::time::SystemTime; 2]> {
        let files = &self.current.files;
        Ok([files.certificate.metadata()?.modified()?, files.key.metadata()?.modified()?])
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }
}
