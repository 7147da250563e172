//! What files that the configuration names must hold.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde_json::Value;

/// Most bytes of such a file that are looked at.
const MAX_BYTES: u64 = 4 << 20;

/// What a file must hold. This is a look, not a proof: whether key and certificate fit shows when
/// they are used.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Content {
    Certificates,
    PrivateKey,
    /// Yandex Cloud's authorized key.
    ServiceAccountKey,
}

impl Content {
    /// Whether the file holds it.
    pub(crate) fn look(self, file: &Path) -> io::Result<bool> {
        let mut bytes = Vec::new();
        File::open(file)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
        Ok(std::str::from_utf8(&bytes).is_ok_and(|text| self.fits(text)))
    }

    fn fits(self, text: &str) -> bool {
        match self {
            Self::Certificates => text.contains("-----BEGIN CERTIFICATE-----"),
            Self::PrivateKey => text.lines().any(|line| {
                line.starts_with("-----BEGIN ") && line.trim_end().ends_with("PRIVATE KEY-----")
            }),
            Self::ServiceAccountKey => {
                let key: Value = serde_json::from_str(text).unwrap_or_default();
                ["id", "service_account_id", "private_key"]
                    .iter()
                    .all(|name| key.get(name).is_some_and(Value::is_string))
            }
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Certificates => "certificate in PEM",
            Self::PrivateKey => "private key in PEM",
            Self::ServiceAccountKey => "authorized key in JSON (`yc iam key create --output FILE`)",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Content;

    #[test]
    fn each_kind_of_file_is_known_by_its_content() {
        let certificate = "Root\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        let key = "-----BEGIN EC PRIVATE KEY-----\r\nMIIB\r\n-----END EC PRIVATE KEY-----\r\n";
        let account = r#"{"id": "a", "service_account_id": "b", "private_key": "c"}"#;
        for (text, kinds) in [
            (certificate, [true, false, false]),
            (key, [false, true, false]),
            (account, [false, false, true]),
            (r#"{"id": "a", "private_key": "c"}"#, [false, false, false]),
            ("", [false, false, false]),
        ] {
            let found = [Content::Certificates, Content::PrivateKey, Content::ServiceAccountKey]
                .map(|content| content.fits(text));
            assert_eq!(found, kinds, "{text}");
        }
    }
}
