//! The packs that are shipped.

use super::{Pack, PackError};

/// Names of files and texts of the packs that are shipped.
pub const BUILT_IN: [(&str, &str); 5] = [
    ("injection.yaml", include_str!("../../packs/injection.yaml")),
    ("extraction.yaml", include_str!("../../packs/extraction.yaml")),
    ("disguise.yaml", include_str!("../../packs/disguise.yaml")),
    ("indirect.yaml", include_str!("../../packs/indirect.yaml")),
    ("moderation.yaml", include_str!("../../packs/moderation.yaml")),
];

/// The packs that are shipped, parsed.
///
/// # Errors
///
/// None that the tests of this crate would let pass.
pub fn built_in() -> Result<Vec<Pack>, PackError> {
    BUILT_IN.iter().map(|(file, text)| Pack::parse(file, text)).collect()
}
