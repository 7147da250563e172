//! Verification of service-account tokens: JWS compact form, PS256 only.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use serde::Deserialize;

/// The audience every service-account token must name, whatever host is called.
pub(crate) const AUDIENCE: &str = "https://iam.api.cloud.yandex.net/iam/v1/tokens";

/// Longest life a token may claim, seconds.
const MAX_LIFE_S: i64 = 3600;

/// Clock difference forgiven between issuer and service, seconds.
const LEEWAY_S: i64 = 60;

/// Why a service-account token was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum JwtError {
    #[error("JWT is malformed")]
    Malformed,
    #[error("JWT algorithm must be PS256")]
    Algorithm,
    #[error("JWT 'kid' header is missing")]
    NoKeyId,
    #[error("JWT key '{0}' is unknown")]
    UnknownKey(String),
    #[error("JWT issuer does not own the key")]
    Issuer,
    #[error("JWT audience must be '{AUDIENCE}'")]
    Audience,
    #[error("JWT is expired")]
    Expired,
    #[error("JWT is issued in the future")]
    Future,
    #[error("JWT lifetime must not exceed one hour")]
    TooLong,
    #[error("JWT signature is invalid")]
    Signature,
}

/// A registered public key of a service account.
#[derive(Debug, Clone)]
pub(crate) struct RegisteredKey {
    pub(crate) service_account_id: String,
    /// `RSAPublicKey` of PKCS#1, DER.
    pub(crate) public_key: Vec<u8>,
    /// The folder the account lives in; none accepts any folder.
    pub(crate) folder_id: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    iat: f64,
    exp: f64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Checks `token` against the key its header names; `now_s` is Unix time.
///
/// # Errors
/// The first rule of the identity service that the token breaks.
pub(crate) fn verify(
    token: &str,
    find_key: impl Fn(&str) -> Option<RegisteredKey>,
    now_s: i64,
) -> Result<RegisteredKey, JwtError> {
    let mut parts = token.split('.');
    let (Some(header64), Some(claims64), Some(signature64), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(JwtError::Malformed);
    };
    let header: Header = decode(header64)?;
    if header.alg != "PS256" {
        return Err(JwtError::Algorithm);
    }
    let kid = header.kid.ok_or(JwtError::NoKeyId)?;
    let key = find_key(&kid).ok_or(JwtError::UnknownKey(kid))?;
    let signature = URL_SAFE_NO_PAD.decode(signature64).map_err(|_| JwtError::Malformed)?;
    let signed = &token.as_bytes()[..header64.len() + 1 + claims64.len()];
    UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, &key.public_key)
        .verify(signed, &signature)
        .map_err(|_| JwtError::Signature)?;
    let claims: Claims = decode(claims64)?;
    if claims.iss != key.service_account_id {
        return Err(JwtError::Issuer);
    }
    let audience_ok = match &claims.aud {
        Audience::One(one) => one == AUDIENCE,
        Audience::Many(many) => many.iter().any(|one| one == AUDIENCE),
    };
    if !audience_ok {
        return Err(JwtError::Audience);
    }
    // Claims are NumericDate, so fractions are legal; whole seconds suffice.
    let (issued, expires) = (claims.iat as i64, claims.exp as i64);
    if issued > now_s + LEEWAY_S {
        return Err(JwtError::Future);
    }
    if expires <= now_s - LEEWAY_S {
        return Err(JwtError::Expired);
    }
    if expires - issued > MAX_LIFE_S {
        return Err(JwtError::TooLong);
    }
    Ok(key)
}

fn decode<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, JwtError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| JwtError::Malformed)
}

/// Reads an RSA public key in PEM (`PUBLIC KEY` or `RSA PUBLIC KEY`) into PKCS#1 DER.
pub(crate) fn public_key_from_pem(pem: &str) -> Option<Vec<u8>> {
    let body: String =
        pem.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(body).ok()?;
    if pem.contains("BEGIN RSA PUBLIC KEY") {
        return Some(der);
    }
    // SubjectPublicKeyInfo is SEQUENCE { SEQUENCE { algorithm }, BIT STRING }.
    let (info, _) = element(&der, 0x30)?;
    let (_, rest) = element(info, 0x30)?;
    let (bits, _) = element(rest, 0x03)?;
    // The first octet of a BIT STRING counts its unused bits: none here.
    bits.strip_prefix(&[0]).map(<[u8]>::to_vec)
}

/// One DER element with `tag`: its contents and what follows it.
fn element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = input.split_first()?;
    if first != tag {
        return None;
    }
    let (&short, mut rest) = rest.split_first()?;
    let length = if short < 0x80 {
        usize::from(short)
    } else {
        let count = usize::from(short & 0x7f);
        if count > 4 || rest.len() < count {
            return None;
        }
        let (octets, after) = rest.split_at(count);
        rest = after;
        octets.iter().fold(0_usize, |sum, octet| sum << 8 | usize::from(*octet))
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::SERVICE_ACCOUNT_KEY;
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{RSA_PSS_SHA256, RsaKeyPair};
    use serde_json::{Value, json};

    const NOW: i64 = 1_800_000_000;

    fn test_key() -> Value {
        serde_json::from_str(SERVICE_ACCOUNT_KEY).expect("the bundled key is JSON")
    }

    fn registered(id: &str) -> Option<RegisteredKey> {
        let key = test_key();
        (id == key["id"]).then(|| RegisteredKey {
            service_account_id: key["service_account_id"].as_str().unwrap().to_owned(),
            public_key: public_key_from_pem(key["public_key"].as_str().unwrap()).unwrap(),
            folder_id: None,
        })
    }

    pub(in super::super) fn sign(header: &Value, claims: &Value) -> String {
        let key = test_key();
        let pem: String = key["private_key"]
            .as_str()
            .unwrap()
            .lines()
            .skip(1)
            .filter(|line| !line.starts_with("-----"))
            .collect();
        let pair = RsaKeyPair::from_pkcs8(&STANDARD.decode(pem).unwrap()).unwrap();
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(&RSA_PSS_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature)
            .unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    pub(in super::super) fn header() -> Value {
        json!({"typ": "JWT", "alg": "PS256", "kid": test_key()["id"]})
    }

    fn claims() -> Value {
        claims_at(NOW)
    }

    pub(in super::super) fn claims_at(now: i64) -> Value {
        json!({"iss": test_key()["service_account_id"], "aud": AUDIENCE, "iat": now, "exp": now + 3600})
    }

    #[test]
    fn accepts_what_the_key_signed() {
        let key = verify(&sign(&header(), &claims()), registered, NOW).unwrap();
        assert_eq!(key.service_account_id, "ajesimulatoracct0001");
    }

    #[test]
    fn refuses_a_changed_claim_under_an_old_signature() {
        let good = sign(&header(), &claims());
        let mut other = claims();
        other["exp"] = json!(NOW + 10);
        let mut parts: Vec<String> = good.split('.').map(str::to_owned).collect();
        parts[1] = URL_SAFE_NO_PAD.encode(other.to_string());
        assert_eq!(verify(&parts.join("."), registered, NOW).unwrap_err(), JwtError::Signature);
    }

    #[test]
    fn refuses_each_broken_rule_by_name() {
        let cases: [(&str, Value, JwtError); 6] = [
            ("iss", json!("someone"), JwtError::Issuer),
            ("aud", json!("https://elsewhere"), JwtError::Audience),
            ("exp", json!(NOW - 3600), JwtError::Expired),
            ("exp", json!(NOW + 7200), JwtError::TooLong),
            ("iat", json!(NOW + 600), JwtError::Future),
            ("iat", json!("now"), JwtError::Malformed),
        ];
        for (name, value, expected) in cases {
            let mut claims = claims();
            claims[name] = value;
            assert_eq!(
                verify(&sign(&header(), &claims), registered, NOW).unwrap_err(),
                expected,
                "{name}"
            );
        }
        let mut rs256 = header();
        rs256["alg"] = json!("RS256");
        assert_eq!(
            verify(&sign(&rs256, &claims()), registered, NOW).unwrap_err(),
            JwtError::Algorithm
        );
        let mut unknown = header();
        unknown["kid"] = json!("other");
        assert_eq!(
            verify(&sign(&unknown, &claims()), registered, NOW).unwrap_err(),
            JwtError::UnknownKey("other".to_owned())
        );
        assert_eq!(verify("a.b", registered, NOW).unwrap_err(), JwtError::Malformed);
    }
}
