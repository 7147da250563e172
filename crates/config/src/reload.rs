use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::types::{Config, Tls};

/// Keys whose change needs a restart, among those that differ between two configurations.
#[must_use]
pub fn restart_required(old: &Config, new: &Config) -> Vec<&'static str> {
    let log_format = old.telemetry.log_format != new.telemetry.log_format;
    let storage = old.storage != new.storage;
    let serves_admin = |config: &Config| !config.identity.admin_keys.is_empty();
    let admin = serves_admin(old) != serves_admin(new);
    let (old, new) = (&old.server, &new.server);
    let differences = [
        ("server.listen", old.listen != new.listen),
        ("server.ops_listen", old.ops_listen != new.ops_listen),
        ("server.admin_listen", old.admin_listen != new.admin_listen),
        ("server.admin_addresses", old.admin_addresses != new.admin_addresses),
        ("server.workers", old.workers != new.workers),
        ("server.tls", listening(old.tls.as_ref()) != listening(new.tls.as_ref())),
        ("server.max_header_bytes", old.max_header_bytes != new.max_header_bytes),
        ("server.max_connections", old.max_connections != new.max_connections),
        ("server.header_read_timeout_ms", old.header_read_timeout_ms != new.header_read_timeout_ms),
        ("server.idle_timeout_s", old.idle_timeout_s != new.idle_timeout_s),
        ("server.unread_timeout_s", old.unread_timeout_s != new.unread_timeout_s),
        ("server.stream_buffer_bytes", old.stream_buffer_bytes != new.stream_buffer_bytes),
        ("server.drain_delay_s", old.drain_delay_s != new.drain_delay_s),
        ("server.drain_timeout_s", old.drain_timeout_s != new.drain_timeout_s),
        ("telemetry.log_format", log_format),
        ("storage", storage),
        ("identity.admin_keys (the first or the last)", admin),
    ];
    differences.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

/// What of TLS the listener is made of: all but the header that answers carry.
fn listening(tls: Option<&Tls>) -> Option<(&Path, &Path, bool)> {
    tls.map(|tls| (tls.certificate.as_path(), tls.key.as_path(), tls.allow_tls12))
}

/// Time of the last change, length, and the number that tells a file from one put in its place.
type Look = (SystemTime, u64, u64);

/// What files looked like, to notice when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(Vec<(PathBuf, Option<Look>)>);

impl Fingerprint {
    /// What `files` look like now.
    #[must_use]
    pub fn of(files: &[PathBuf]) -> Self {
        Self(files.iter().map(|file| (file.clone(), look(file))).collect())
    }

    /// The same for `files`: those that it knows as they looked, others as they look now. A change
    /// since the fingerprint was taken is still noticed.
    #[must_use]
    pub fn widened(&self, files: &[PathBuf]) -> Self {
        let known = |file: &PathBuf| self.0.iter().find(|(known, _)| known == file);
        let looks = files.iter().map(|file| match known(file) {
            Some(known) => known.clone(),
            None => (file.clone(), look(file)),
        });
        Self(looks.collect())
    }

    /// The same files as they look now.
    #[must_use]
    pub fn again(&self) -> Self {
        Self(self.0.iter().map(|(file, _)| (file.clone(), look(file))).collect())
    }

    /// Whether a file looks otherwise now.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.0.iter().any(|(file, seen)| look(file) != *seen)
    }
}

/// `None` for a file that is not there.
fn look(file: &Path) -> Option<Look> {
    let metadata = file.metadata().ok()?;
    Some((metadata.modified().ok()?, metadata.len(), inode(&metadata)))
}

#[cfg(unix)]
fn inode(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_metadata: &std::fs::Metadata) -> u64 {
    0
}
