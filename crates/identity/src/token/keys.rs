use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{DocumentError, TokenError};

/// Longest JWKS that is read, bytes.
const MAX_BYTES: usize = 256 << 10;
/// Most keys of a set that are looked at.
const MAX_KEYS: usize = 100;

/// How tokens may be signed. There is no `none` and no HMAC: what is not here cannot be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[allow(missing_docs, reason = "RFC 7518 and RFC 8037 say it")]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    /// With Ed25519.
    EdDSA,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl Algorithm {
    const ALL: [Self; 9] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    /// The name in the header of a token.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    /// The algorithm of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    fn family(self) -> Family {
        match self {
            Self::RS256 | Self::RS384 | Self::RS512 => Family::Rsa,
            Self::PS256 | Self::PS384 | Self::PS512 => Family::Rsa,
            Self::ES256 => Family::P256,
            Self::ES384 => Family::P384,
            Self::EdDSA => Family::Ed25519,
        }
    }

    fn of_library(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::RS256 => jsonwebtoken::Algorithm::RS256,
            Self::RS384 => jsonwebtoken::Algorithm::RS384,
            Self::RS512 => jsonwebtoken::Algorithm::RS512,
            Self::PS256 => jsonwebtoken::Algorithm::PS256,
            Self::PS384 => jsonwebtoken::Algorithm::PS384,
            Self::PS512 => jsonwebtoken::Algorithm::PS512,
            Self::ES256 => jsonwebtoken::Algorithm::ES256,
            Self::ES384 => jsonwebtoken::Algorithm::ES384,
            Self::EdDSA => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    /// The only algorithm that it is for, where the set says so.
    algorithm: Option<Algorithm>,
    family: Family,
    public: DecodingKey,
}

/// Public keys of an issuer (RFC 7517), those that can check signatures.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Key>,
    skipped: usize,
}

#[derive(Deserialize)]
struct RawSet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct RawKey {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a JWKS. Keys that cannot be used here are passed over: symmetric ones, those for
    /// encryption, of unknown kinds, RSA with fewer than 2048 or more than 4096 bits.
    ///
    /// # Errors
    ///
    /// The document is longer than 256 KiB, is no JWKS, or no key can be used.
    pub fn parse(document: &[u8]) -> Result<Self, DocumentError> {
        if document.len() > MAX_BYTES {
            return Err(DocumentError::TooLarge);
        }
        let raw: RawSet = serde_json::from_slice(document).map_err(|_| DocumentError::Malformed)?;
        let all = raw.keys.len();
        let keys: Vec<Key> = raw.keys.into_iter().take(MAX_KEYS).filter_map(read).collect();
        if keys.is_empty() {
            return Err(DocumentError::NoKeys);
        }
        Ok(Self { skipped: all - keys.len(), keys })
    }

    /// How many keys can be used.
    #[must_use]
    pub fn usable(&self) -> usize {
        self.keys.len()
    }

    /// How many keys were passed over.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Checks a signature (base64url) over `message`. A token that names no key is checked if only
    /// one key of the set fits its algorithm.
    pub(super) fn check(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
        message: &[u8],
        signature: &str,
    ) -> Result<(), TokenError> {
        let named = self.keys.iter().filter(|key| id.is_none() || key.id.as_deref() == id);
        let mut fitting = named.clone().filter(|key| {
            key.family == algorithm.family() && key.algorithm.is_none_or(|only| only == algorithm)
        });
        let key = match (fitting.next(), fitting.next()) {
            (Some(key), None) => key,
            // The key is there, but for something else: fetching the set anew will not help.
            (None, _) if id.is_some() && named.count() > 0 => return Err(TokenError::Algorithm),
            (Some(_), Some(_)) | (None, _) => return Err(TokenError::UnknownKey),
        };
        // The library verifies the signature alone: its validation reads the clock.
        let result =
            jsonwebtoken::crypto::verify(signature, message, &key.public, algorithm.of_library());
        if result == Ok(true) { Ok(()) } else { Err(TokenError::Signature) }
    }
}

fn read(value: Value) -> Option<Key> {
    let raw: RawKey = serde_json::from_value(value).ok()?;
    if raw.usage.as_deref().is_some_and(|usage| usage != "sig")
        || raw.key_ops.as_ref().is_some_and(|list| !list.iter().any(|item| item == "verify"))
    {
        return None;
    }
    let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
    let (family, public) = match (raw.kty.as_str(), raw.crv.as_deref()) {
        ("RSA", _) => {
            let (modulus, exponent) = (bytes(&raw.n)?, bytes(&raw.e)?);
            let leading = modulus.first()?.leading_zeros() as usize;
            let odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
            // Wider exponents only make each check slower.
            let good_exponent = exponent.len() <= 4 && odd(&exponent) && exponent != [1];
            let bits = modulus.len() * 8 - leading;
            if !(2048..=4096).contains(&bits) || !odd(&modulus) || !good_exponent {
                return None;
            }
            (Family::Rsa, DecodingKey::from_rsa_raw_components(&modulus, &exponent))
        }
        ("EC", Some(curve @ ("P-256" | "P-384"))) => {
            let (family, length) =
                if curve == "P-256" { (Family::P256, 32) } else { (Family::P384, 48) };
            if bytes(&raw.x)?.len() != length || bytes(&raw.y)?.len() != length {
                return None;
            }
            let public = DecodingKey::from_ec_components(raw.x.as_deref()?, raw.y.as_deref()?);
            (family, public.ok()?)
        }
        ("OKP", Some("Ed25519")) if bytes(&raw.x)?.len() == 32 => {
            (Family::Ed25519, DecodingKey::from_ed_components(raw.x.as_deref()?).ok()?)
        }
        _ => return None,
    };
    let algorithm = match raw.alg.as_deref() {
        None => None,
        // A key for an algorithm that is not known here is for nothing here.
        Some(name) => Some(Algorithm::parse(name).filter(|only| only.family() == family)?),
    };
    Some(Key { id: raw.kid, algorithm, family, public })
}
