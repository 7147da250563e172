//! The classifier of attacks.
