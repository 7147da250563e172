//! One received request with the world it came into.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;

use crate::request_log::Record;
use crate::world::WorldHandle;

/// What a provider's `handle` gets.
pub(crate) struct Exchange {
    pub(crate) world: WorldHandle,
    pub(crate) record: Arc<Record>,
    /// Length of the provider's prefix in the path.
    pub(crate) prefix: usize,
}

impl Exchange {
    pub(crate) fn method(&self) -> &Method {
        &self.record.method
    }

    /// The path after the provider's prefix, with its leading slash: `/v1/messages`.
    pub(crate) fn path(&self) -> &str {
        self.record.uri.path().get(self.prefix..).unwrap_or("")
    }

    /// The value of `name` in the query string, undecoded.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.record.uri.query()?.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then_some(value)
        })
    }

    /// A header's value; `None` when absent or not visible ASCII.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.record.headers.get(name)?.to_str().ok()
    }

    /// The credential of `Authorization: Bearer ...` (scheme in any case).
    pub(crate) fn bearer(&self) -> Option<&str> {
        self.credential("bearer")
    }

    /// The credential of the given `Authorization` scheme (lower-case).
    pub(crate) fn credential(&self, scheme: &str) -> Option<&str> {
        let value = self.header("authorization")?;
        let (found, credential) = value.split_once(' ')?;
        found.eq_ignore_ascii_case(scheme).then_some(credential.trim())
    }

    pub(crate) fn body(&self) -> &Bytes {
        &self.record.body
    }
}
