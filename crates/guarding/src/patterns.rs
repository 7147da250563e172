//! Packs of patterns of attacks.
