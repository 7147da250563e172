use serde::Deserialize;

use super::DocumentError;

/// Longest discovery document that is read, bytes.
const MAX_BYTES: usize = 256 << 10;

/// What is used of the metadata of an identity provider (OpenID Connect Discovery 1.0).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Discovery {
    /// The issuer, as in its tokens.
    pub issuer: String,
    /// Where its keys are.
    pub jwks_uri: String,
    /// Where opaque tokens are looked up (RFC 7662).
    pub introspection_endpoint: Option<String>,
}

/// Where an issuer has its discovery document.
#[must_use]
pub fn discovery_url(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))
}

impl Discovery {
    /// Reads the document of `issuer`. The names must be equal to the byte, or one issuer could
    /// stand in for another.
    ///
    /// # Errors
    ///
    /// The document is longer than 256 KiB, is not of that form, is another issuer's, or an issuer
    /// with TLS leads to an address without.
    pub fn parse(document: &[u8], issuer: &str) -> Result<Self, DocumentError> {
        if document.len() > MAX_BYTES {
            return Err(DocumentError::TooLarge);
        }
        let found: Self = serde_json::from_slice(document).map_err(|_| DocumentError::Malformed)?;
        if found.issuer != issuer {
            return Err(DocumentError::Issuer);
        }
        let secure = |address: &str| address.starts_with("https://");
        for address in [Some(&found.jwks_uri), found.introspection_endpoint.as_ref()] {
            match address.map(String::as_str) {
                Some(address) if !secure(address) && secure(issuer) => {
                    return Err(DocumentError::Insecure);
                }
                Some(address) if !secure(address) && !address.starts_with("http://") => {
                    return Err(DocumentError::Malformed);
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_discovery_document_is_its_issuer_s_own() {
        let issuer = "https://id.example.com/realms/one";
        let parse = |issuer: &str, document: serde_json::Value| {
            Discovery::parse(document.to_string().as_bytes(), issuer)
        };
        let good = json!({
            "issuer": issuer, "jwks_uri": "https://keys.example.com/", "scopes_supported": [],
        });
        assert_eq!(parse(issuer, good.clone()).unwrap().jwks_uri, "https://keys.example.com/");
        for other in ["https://id.example.com/realms/one/", "https://ID.example.com/realms/one"] {
            assert_eq!(parse(other, good.clone()), Err(DocumentError::Issuer));
        }
        let plain = json!({"issuer": issuer, "jwks_uri": "http://keys.example.com/"});
        assert_eq!(parse(issuer, plain), Err(DocumentError::Insecure));
        let plain = json!({
            "issuer": issuer, "jwks_uri": "https://k/", "introspection_endpoint": "http://i/",
        });
        assert_eq!(parse(issuer, plain), Err(DocumentError::Insecure));
        let local = json!({"issuer": "http://localhost:1", "jwks_uri": "http://localhost:1/k"});
        assert!(parse("http://localhost:1", local).is_ok());
        let file = json!({"issuer": "http://localhost:1", "jwks_uri": "file:///etc/passwd"});
        assert_eq!(parse("http://localhost:1", file), Err(DocumentError::Malformed));
        assert_eq!(parse(issuer, json!({"issuer": issuer})), Err(DocumentError::Malformed));
        let long = vec![b' '; MAX_BYTES + 1];
        assert_eq!(Discovery::parse(&long, issuer), Err(DocumentError::TooLarge));
    }

    #[test]
    fn the_address_of_the_document_follows_the_issuer() {
        let expected = "https://id.example.com/a/.well-known/openid-configuration";
        assert_eq!(discovery_url("https://id.example.com/a"), expected);
        assert_eq!(discovery_url("https://id.example.com/a/"), expected);
    }
}
