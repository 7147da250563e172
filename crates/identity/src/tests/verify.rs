use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair, RsaPublicKeyComponents,
};
use serde_json::json;

use super::*;
use crate::Role;

const ISSUER: &str = "https://id.example.com/realms/one";
/// 2025-11-24T16:00:00Z
const NOW_S: i64 = 1_764_000_000;
const NOW_MS: i64 = NOW_S * 1000;

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Signed by another library than the one that verifies.
enum Signer {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    /// A key made for these tests.
    fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::from_der(include_bytes!("data/rsa-2048.der")).unwrap())
    }

    fn ec() -> Self {
        let random = SystemRandom::new();
        let way = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::generate_pkcs8(way, &random).unwrap();
        Self::Ec(EcdsaKeyPair::from_pkcs8(way, key.as_ref(), &random).unwrap())
    }

    fn ed(seed: u8) -> Self {
        Self::Ed(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    fn sign(&self, algorithm: &str, message: &str) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let way: &dyn RsaEncoding = match algorithm {
                    "PS256" => &RSA_PSS_SHA256,
                    "RS512" => &RSA_PKCS1_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(way, &random, message.as_bytes(), &mut signature).unwrap();
                signature
            }
            Self::Ec(key) => key.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
            Self::Ed(key) => key.sign(message.as_bytes()).as_ref().to_vec(),
        }
    }

    fn modulus(&self) -> Vec<u8> {
        let Self::Rsa(key) = self else { panic!("not RSA") };
        RsaPublicKeyComponents::<Vec<u8>>::from(key.public()).n
    }

    fn jwk(&self, id: &str) -> Value {
        match self {
            Self::Rsa(key) => {
                let parts = RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({"kty": "RSA", "kid": id, "n": base64(parts.n), "e": base64(parts.e)})
            }
            Self::Ec(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "kid": id, "x": base64(x), "y": base64(y)})
            }
            Self::Ed(key) => {
                let x = base64(key.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": x, "use": "sig"})
            }
        }
    }

    fn token(&self, header: Value, claims: &str) -> String {
        let message = format!("{}.{}", base64(header.to_string()), base64(claims));
        let signature = self.sign(header["alg"].as_str().unwrap_or_default(), &message);
        format!("{message}.{}", base64(signature))
    }
}

fn set(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({"keys": keys}).to_string().as_bytes()).unwrap()
}

fn policy() -> IssuerPolicy {
    serde_json::from_value(json!({
        "issuer": ISSUER,
        "audiences": ["llm-proxy"],
        "mapping": {"tenant": {"claim": "org"}, "role": {"claim": "role"}},
    }))
    .unwrap()
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "user-1", "aud": "llm-proxy", "org": "ten_a",
        "exp": NOW_S + 300, "iat": NOW_S - 10,
    })
}

/// Claims with some members replaced; `null` takes one out.
fn with(changes: Value) -> String {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims.to_string()
}

/// What becomes of such claims under a good signature.
fn outcome(policy: &IssuerPolicy, claims: &str) -> Result<VerifiedToken, TokenError> {
    let signer = Signer::ed(1);
    let token = signer.token(json!({"alg": "EdDSA", "kid": "k"}), claims);
    verify(&token, policy, &set(&[signer.jwk("k")]), NOW_MS)
}

fn refused(changes: Value) -> Option<TokenError> {
    outcome(&policy(), &with(changes)).err()
}

#[test]
fn good_tokens_of_every_kind_are_taken() {
    let (rsa, ec, ed) = (Signer::rsa(), Signer::ec(), Signer::ed(1));
    let keys = set(&[rsa.jwk("r"), ec.jwk("e"), ed.jwk("d")]);
    for (signer, algorithm, id) in
        [(&rsa, "RS256", "r"), (&rsa, "PS256", "r"), (&ec, "ES256", "e"), (&ed, "EdDSA", "d")]
    {
        let header = json!({"alg": algorithm, "kid": id, "typ": "at+JWT"});
        let token = signer.token(header, &claims().to_string());
        assert!(is_jwt(&token));
        assert_eq!(unverified_issuer(&token).as_deref(), Ok(ISSUER));
        let found = verify(&token, &policy(), &keys, NOW_MS).unwrap();
        assert_eq!(
            (found.caller.tenant.as_str(), found.caller.subject.as_str()),
            ("ten_a", "user-1")
        );
        assert_eq!(found.caller.role, None);
        assert_eq!(found.expires_ms, Some(NOW_MS + 300_000));
        assert!(!format!("{found:?}").contains("user-1"));
        // Nothing of it can be changed.
        let mut tampered = token.clone();
        for position in (0..token.len()).step_by(7).chain([token.len() - 1]) {
            let other = if &token[position..=position] == "A" { "B" } else { "A" };
            tampered.replace_range(position..=position, other);
            assert!(verify(&tampered, &policy(), &keys, NOW_MS).is_err(), "{position}");
            tampered.clone_from(&token);
        }
    }
    assert!(!is_jwt("sk-llmp-abc") && !is_jwt("ey") && !is_jwt("a.b.c"));
}

#[test]
fn unsigned_tokens_are_refused() {
    let body = base64(claims().to_string());
    for algorithm in ["none", "None", "NONE", "nOnE", ""] {
        let header = base64(json!({"alg": algorithm, "kid": "k"}).to_string());
        for signature in ["", "AA"] {
            let token = format!("{header}.{body}.{signature}");
            let keys = set(&[Signer::ed(1).jwk("k")]);
            let result = verify(&token, &policy(), &keys, NOW_MS);
            assert_eq!(result.unwrap_err(), TokenError::Algorithm);
        }
    }
}

#[test]
fn a_public_key_is_no_secret_to_sign_with() {
    let rsa = Signer::rsa();
    let keys = set(&[rsa.jwk("k")]);
    let jwk = rsa.jwk("k").to_string();
    for secret in [rsa.modulus(), base64(rsa.modulus()).into_bytes(), jwk.into_bytes()] {
        let header = base64(json!({"alg": "HS256", "kid": "k"}).to_string());
        let message = format!("{header}.{}", base64(claims().to_string()));
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret);
        let token = format!("{message}.{}", base64(ring::hmac::sign(&key, message.as_bytes())));
        let result = verify(&token, &policy(), &keys, NOW_MS);
        assert_eq!(result.unwrap_err(), TokenError::Algorithm);
    }
    // It cannot be allowed by configuration, and a symmetric key in a set is not one.
    for name in ["HS256", "none"] {
        assert!(serde_json::from_value::<Algorithm>(json!(name)).is_err());
    }
    let symmetric = json!({"keys": [{"kty": "oct", "k": "AAAA", "kid": "k"}]}).to_string();
    let error = KeySet::parse(symmetric.as_bytes()).unwrap_err();
    assert_eq!(error, crate::token::DocumentError::NoKeys);
}

#[test]
fn only_listed_algorithms_and_those_of_the_key_count() {
    let rsa = Signer::rsa();
    let token =
        |algorithm: &str| rsa.token(json!({"alg": algorithm, "kid": "k"}), &claims().to_string());
    let result =
        |algorithm, keys: &KeySet| verify(&token(algorithm), &policy(), keys, NOW_MS).err();
    assert_eq!(result("RS512", &set(&[rsa.jwk("k")])), Some(TokenError::Algorithm));
    let mut bound = rsa.jwk("k");
    bound["alg"] = json!("PS256");
    assert_eq!(result("PS256", &set(&[bound.clone()])), None);
    assert_eq!(result("RS256", &set(&[bound])), Some(TokenError::Algorithm));
    // The key of that id is of another family.
    assert_eq!(result("RS256", &set(&[Signer::ed(1).jwk("k")])), Some(TokenError::Algorithm));
}

#[test]
fn keys_rotate() {
    let (old, new) = (Signer::ed(1), Signer::ed(2));
    let token = |signer: &Signer, header: Value| signer.token(header, &claims().to_string());
    let of = |signer, id| token(signer, json!({"alg": "EdDSA", "kid": id}));
    let result = |token: &str, keys: &[&Value]| {
        let keys: Vec<Value> = keys.iter().copied().cloned().collect();
        verify(token, &policy(), &set(&keys), NOW_MS).err()
    };
    let (one, two) = (old.jwk("one"), new.jwk("two"));
    assert_eq!(result(&of(&new, "two"), &[&one]), Some(TokenError::UnknownKey));
    assert_eq!(result(&of(&new, "two"), &[&one, &two]), None);
    assert_eq!(result(&of(&old, "one"), &[&two]), Some(TokenError::UnknownKey));
    assert_eq!(result(&of(&new, "one"), &[&one, &two]), Some(TokenError::Signature));
    // Without an id there must be no choice.
    let nameless = token(&old, json!({"alg": "EdDSA"}));
    assert_eq!(result(&nameless, &[&one]), None);
    assert_eq!(result(&nameless, &[&one, &two]), Some(TokenError::UnknownKey));
}

#[test]
fn keys_that_cannot_check_signatures_are_passed_over() {
    let (rsa, ed) = (Signer::rsa(), Signer::ed(1));
    let changed = |signer: &Signer, name: &str, value: Value| {
        let mut jwk = signer.jwk("x");
        jwk[name] = value;
        jwk
    };
    let weak = base64([&[0x80][..], &[1; 127]].concat());
    let bad = [
        changed(&rsa, "n", json!(weak)),
        changed(&rsa, "n", json!(base64([1; 1_024]))),
        changed(&rsa, "n", json!("!")),
        changed(&rsa, "n", json!(base64([0xfe; 256]))),
        changed(&rsa, "e", json!("")),
        changed(&rsa, "e", json!(base64([1]))),
        changed(&rsa, "e", json!(base64([4]))),
        changed(&rsa, "e", json!(base64([1; 5]))),
        changed(&rsa, "use", json!("enc")),
        changed(&rsa, "key_ops", json!(["encrypt"])),
        changed(&rsa, "alg", json!("RSA-OAEP")),
        changed(&rsa, "alg", json!("ES256")),
        changed(&ed, "x", json!("AAAA")),
        changed(&ed, "crv", json!("Ed448")),
        changed(&Signer::ec(), "y", json!("AAAA")),
        json!({"kty": "future"}),
        json!("text"),
    ];
    for jwk in &bad {
        let document = json!({"keys": [jwk]}).to_string();
        assert!(KeySet::parse(document.as_bytes()).is_err(), "{jwk}");
    }
    let mut all = bad.to_vec();
    all.push(changed(&ed, "key_ops", json!(["verify"])));
    let keys = set(&all);
    assert_eq!((keys.usable(), keys.skipped()), (1, bad.len()));
    for (document, error) in [
        (vec![b' '; (256 << 10) + 1], crate::token::DocumentError::TooLarge),
        (b"{}".to_vec(), crate::token::DocumentError::Malformed),
        (b"{\"keys\": []}".to_vec(), crate::token::DocumentError::NoKeys),
    ] {
        assert_eq!(KeySet::parse(&document).unwrap_err(), error);
    }
}

#[test]
fn issuer_and_audience_are_exact() {
    for issuer in ["https://id.example.com/realms/one/", "https://id.example.com", "", "x"] {
        assert_eq!(refused(json!({"iss": issuer})), Some(TokenError::Issuer), "{issuer}");
    }
    assert_eq!(refused(json!({"iss": null})), Some(TokenError::MissingClaim("iss")));
    assert_eq!(refused(json!({"iss": [ISSUER]})), Some(TokenError::InvalidClaim("iss")));
    for audience in [json!("other"), json!(["other", "LLM-proxy"]), json!([]), json!("llm")] {
        assert_eq!(refused(json!({"aud": audience})), Some(TokenError::Audience), "{audience}");
    }
    assert_eq!(refused(json!({"aud": null})), Some(TokenError::MissingClaim("aud")));
    assert_eq!(refused(json!({"aud": {"a": 1}})), Some(TokenError::InvalidClaim("aud")));
    assert_eq!(refused(json!({"aud": ["other", "llm-proxy"]})), None);
    let nobody = IssuerPolicy { audiences: Vec::new(), ..policy() };
    assert_eq!(outcome(&nobody, &with(json!({}))).unwrap_err(), TokenError::Audience);
}

#[test]
fn times_hold_to_the_second_of_the_skew() {
    for (changes, expected) in [
        (json!({"exp": NOW_S - 59}), None),
        (json!({"exp": NOW_S - 60}), Some(TokenError::Expired)),
        (json!({"exp": NOW_S as f64 - 59.5}), None),
        (json!({"exp": 0}), Some(TokenError::Expired)),
        (json!({"nbf": NOW_S + 60}), None),
        (json!({"nbf": NOW_S + 61}), Some(TokenError::NotYetValid)),
        (json!({"iat": NOW_S + 60}), None),
        (json!({"iat": NOW_S + 61}), Some(TokenError::IssuedInFuture)),
        (json!({"iat": null}), None),
        (json!({"exp": null}), Some(TokenError::MissingClaim("exp"))),
        (json!({"exp": "1764000300"}), Some(TokenError::InvalidClaim("exp"))),
        (json!({"exp": -1}), Some(TokenError::InvalidClaim("exp"))),
        (json!({"exp": 1e300}), Some(TokenError::InvalidClaim("exp"))),
        (json!({"nbf": true}), Some(TokenError::InvalidClaim("nbf"))),
    ] {
        assert_eq!(refused(changes.clone()), expected, "{changes}");
    }
    let exact = IssuerPolicy { clock_skew_s: 0, ..policy() };
    let at = |exp: i64| outcome(&exact, &with(json!({"exp": exp}))).err();
    assert_eq!((at(NOW_S), at(NOW_S + 1)), (Some(TokenError::Expired), None));
}

#[test]
fn what_is_too_large_is_not_looked_at() {
    let keys = set(&[Signer::ed(1).jwk("k")]);
    let header = base64(r#"{"alg":"EdDSA","kid":"k"}"#);
    let token = format!("{header}.{}.AA", "A".repeat(8 << 20));
    assert_eq!(verify(&token, &policy(), &keys, NOW_MS).unwrap_err(), TokenError::TooLarge);
    assert_eq!(unverified_issuer(&token).unwrap_err(), TokenError::TooLarge);
    // A token within its bound whose claims are not within theirs.
    let long = with(json!({"groups": "x".repeat(MAX_CLAIMS_BYTES)}));
    assert_eq!(outcome(&policy(), &long).unwrap_err(), TokenError::TooLarge);
    assert_eq!(refused(json!({"groups": "x".repeat(MAX_CLAIMS_BYTES - 500)})), None);
}

#[test]
fn what_is_named_twice_is_refused() {
    let twice = with(json!({})).replacen('{', "{\"sub\": \"admin\", ", 1);
    assert_eq!(outcome(&policy(), &twice).unwrap_err(), TokenError::Malformed);
    let signer = Signer::ed(1);
    let header = base64(r#"{"alg":"none","alg":"EdDSA","kid":"k"}"#);
    let message = format!("{header}.{}", base64(claims().to_string()));
    let token = format!("{message}.{}", base64(signer.sign("EdDSA", &message)));
    let result = verify(&token, &policy(), &set(&[signer.jwk("k")]), NOW_MS);
    assert_eq!(result.unwrap_err(), TokenError::Malformed);
}

#[test]
fn tokens_for_other_ends_and_malformed_ones_are_refused() {
    let signer = Signer::ed(1);
    let keys = set(&[signer.jwk("k")]);
    for (name, value) in [
        ("typ", json!("logout+jwt")),
        ("typ", json!("dpop+jwt")),
        ("typ", json!(1)),
        ("crit", json!(["exp"])),
        ("kid", json!(7)),
        ("alg", json!(7)),
    ] {
        let mut header = json!({"alg": "EdDSA", "kid": "k"});
        header[name] = value;
        let token = signer.token(header.clone(), &claims().to_string());
        let result = verify(&token, &policy(), &keys, NOW_MS);
        assert_eq!(result.unwrap_err(), TokenError::Malformed, "{header}");
    }
    let token = signer.token(json!({"alg": "EdDSA", "kid": "k"}), &claims().to_string());
    for bad in ["", ".", "..", "...", "a.b", &format!("{token}.x"), &format!("{token}="), "я.я.я"]
    {
        assert!(verify(bad, &policy(), &keys, NOW_MS).is_err(), "{bad}");
    }
    assert_eq!(outcome(&policy(), "[]").unwrap_err(), TokenError::Malformed);
    for (subject, error) in [
        (json!(null), TokenError::MissingClaim("sub")),
        (json!(""), TokenError::InvalidClaim("sub")),
        (json!("s".repeat(256)), TokenError::InvalidClaim("sub")),
        (json!(1), TokenError::InvalidClaim("sub")),
    ] {
        assert_eq!(refused(json!({"sub": subject})), Some(error));
    }
}

#[test]
fn parties_and_second_factors_are_demanded_by_policy() {
    let narrow = IssuerPolicy {
        authorized_parties: Some(vec!["app".to_owned()]),
        mfa: Some(MfaPolicy::default()),
        ..policy()
    };
    let result = |changes: Value| outcome(&narrow, &with(changes)).err();
    assert_eq!(result(json!({"azp": "app", "amr": ["mfa"]})), None);
    assert_eq!(result(json!({"client_id": "app", "amr": ["mfa"]})), None);
    let other = json!({"azp": "other", "client_id": "app", "amr": ["mfa"]});
    assert_eq!(result(other), Some(TokenError::Party));
    assert_eq!(result(json!({"amr": ["mfa"]})), Some(TokenError::Party));
    assert_eq!(result(json!({"azp": "app"})), Some(TokenError::MfaRequired));
    assert_eq!(refused(json!({"org": null})), Some(TokenError::Unmapped("tenant")));
    let admin = outcome(&policy(), &with(json!({"role": "admin"}))).unwrap();
    assert_eq!(admin.caller.role, Some(Role::Admin));
}

#[test]
fn introspection_says_whether_an_opaque_token_holds() {
    let open = policy();
    let narrow = IssuerPolicy { authorized_parties: Some(vec!["app".to_owned()]), ..policy() };
    let ask = |policy: &IssuerPolicy, answer: Value| {
        accept_introspection(answer.to_string().as_bytes(), policy, NOW_MS)
    };
    let answer = |changes: Value| {
        let mut answer: Value = serde_json::from_str(&with(changes)).unwrap();
        answer["active"] = json!(true);
        answer
    };
    let found = ask(&open, answer(json!({}))).unwrap();
    assert_eq!(
        (found.caller.subject.as_str(), found.expires_ms),
        ("user-1", Some(NOW_MS + 300_000))
    );
    assert_eq!(ask(&open, answer(json!({"exp": null, "iss": null}))).unwrap().expires_ms, None);
    for (policy, changes, error) in [
        (&open, json!({"exp": NOW_S - 60}), TokenError::Expired),
        (&open, json!({"iss": "other"}), TokenError::Issuer),
        (&open, json!({"aud": "other"}), TokenError::Audience),
        (&open, json!({"aud": null}), TokenError::Audience),
        (&narrow, json!({"aud": null}), TokenError::Party),
        (&narrow, json!({"aud": null, "client_id": "other"}), TokenError::Party),
        (&open, json!({"sub": null}), TokenError::MissingClaim("sub")),
    ] {
        assert_eq!(ask(policy, answer(changes.clone())).unwrap_err(), error, "{changes}");
    }
    assert!(ask(&narrow, answer(json!({"aud": null, "client_id": "app"}))).is_ok());
    for inactive in [json!({"active": false}), json!({}), json!({"active": "true"})] {
        assert_eq!(ask(&open, inactive).unwrap_err(), TokenError::Inactive);
    }
    let long = vec![b' '; MAX_INTROSPECTION_BYTES + 1];
    assert_eq!(accept_introspection(&long, &open, NOW_MS).unwrap_err(), TokenError::TooLarge);
    let twice = br#"{"active": false, "active": true}"#;
    assert_eq!(accept_introspection(twice, &open, NOW_MS).unwrap_err(), TokenError::Malformed);
}

#[test]
fn a_key_that_is_no_point_of_its_curve_verifies_nothing() {
    let ec = Signer::ec();
    let mut jwk = ec.jwk("k");
    jwk["x"] = json!(base64([0; 32]));
    let token = ec.token(json!({"alg": "ES256", "kid": "k"}), &claims().to_string());
    let result = verify(&token, &policy(), &set(&[jwk]), NOW_MS);
    assert_eq!(result.unwrap_err(), TokenError::Signature);
}

proptest::proptest! {
    #[test]
    fn nothing_from_outside_makes_it_panic(
        text in ".{0,60}",
        parts in proptest::collection::vec("[A-Za-z0-9_-]{0,40}", 0..5),
        header in "[{}\\[\\]\":,a-z0-9]{0,40}",
    ) {
        let keys = set(&[Signer::ed(1).jwk("k")]);
        let encoded = format!("{}.{}.{}", base64(&header), base64(&text), base64(&text));
        for token in [text.clone(), parts.join("."), encoded] {
            proptest::prop_assert!(verify(&token, &policy(), &keys, NOW_MS).is_err());
            let _ = (unverified_issuer(&token), is_jwt(&token));
        }
        let bytes = header.as_bytes();
        proptest::prop_assert!(accept_introspection(bytes, &policy(), NOW_MS).is_err());
        let _ = (KeySet::parse(bytes), crate::is_well_formed_key(&text));
    }
}

#[test]
fn codes_are_stable_documented_and_different() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    let documented = std::fs::read_to_string(path).unwrap();
    let mut codes = std::collections::BTreeSet::new();
    for error in TokenError::ALL {
        assert!(documented.contains(&format!("`{}`", error.code())), "{}", error.code());
        assert!(codes.insert(error.code()));
    }
}
