//! Who calls: virtual keys and the principals they stand for. No I/O.

mod key;

pub use key::{KeyDigest, KeyRing, Principal};
