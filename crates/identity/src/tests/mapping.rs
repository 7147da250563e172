use serde_json::json;

use super::*;

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other}"),
    }
}

fn source(value: Value) -> ClaimSource {
    serde_json::from_value(value).unwrap()
}

fn read(source_json: Value, claims: Value) -> Result<Option<String>, TokenError> {
    source(source_json).read(&object(claims), "tenant")
}

fn found(name: &str) -> Result<Option<String>, TokenError> {
    Ok(Some(name.to_owned()))
}

#[test]
fn claims_are_found_by_name_path_and_pointer() {
    let claims = json!({
        "org": "a",
        "https://example.com/org.id": "b",
        "realm_access": {"roles": ["c"], "x.y": "d"},
        "a/b": {"~": "e"},
    });
    for (path, expected) in [
        ("org", Some("a")),
        ("/org", Some("a")),
        ("https://example.com/org.id", Some("b")),
        ("realm_access.roles", Some("c")),
        ("/realm_access/roles", Some("c")),
        ("/realm_access/roles/0", Some("c")),
        ("/realm_access/x.y", Some("d")),
        ("/a~1b/~0", Some("e")),
        ("realm_access", None),
        ("org.name", None),
        ("/none", None),
        ("/", None),
        ("", None),
        ("realm_access.none.roles", None),
    ] {
        let expected = Ok(expected.map(str::to_owned));
        assert_eq!(read(json!({"claim": path}), claims.clone()), expected, "{path}");
    }
}

#[test]
fn the_first_rule_that_fits_counts() {
    let rules = json!({
        "claim": "groups",
        "rules": [{"value": "boss", "means": "admin"}, {"value": "dev", "means": "developer"}],
        "otherwise": "user",
    });
    let with = |groups: Value| read(rules.clone(), json!({"groups": groups}));
    assert_eq!(with(json!(["dev", "boss", 7])), found("admin"));
    assert_eq!(with(json!("dev")), found("developer"));
    assert_eq!(with(json!(["Boss", "other"])), found("user"), "values are exact");
    assert_eq!(with(json!({"boss": true})), found("user"));
    assert_eq!(read(rules.clone(), json!({})), found("user"));
    // Without rules a value means itself, if there is one.
    let plain = json!({"claim": "groups"});
    assert_eq!(read(plain.clone(), json!({"groups": ["one"]})), found("one"));
    let two = read(plain.clone(), json!({"groups": ["one", "two"]}));
    assert_eq!(two, Err(TokenError::Unmapped("tenant")));
    for bad in [String::new(), "x".repeat(256)] {
        let bad = read(plain.clone(), json!({"groups": bad}));
        assert_eq!(bad, Err(TokenError::Unmapped("tenant")));
    }
}

#[test]
fn an_issuer_speaks_only_for_its_tenants() {
    let mapping: ClaimMapping = serde_json::from_value(json!({
        "tenant": {"claim": "org"}, "tenants": ["ten_a"], "team": {"claim": "team"},
        "role": {"claim": "role"},
    }))
    .unwrap();
    let caller = |claims: Value| mapping.caller("s", &object(claims));
    let full = caller(json!({"org": "ten_a", "team": "team_1", "role": "finance"})).unwrap();
    let expected = TokenCaller {
        tenant: "ten_a".to_owned(),
        team: Some("team_1".to_owned()),
        subject: "s".to_owned(),
        role: Some(Role::Finance),
    };
    assert_eq!(full, expected);
    let least = caller(json!({"org": "ten_a"})).unwrap();
    assert_eq!((least.team, least.role), (None, None));
    let tenant = Err(TokenError::Unmapped("tenant"));
    assert_eq!(caller(json!({"org": "ten_b"})), tenant);
    assert_eq!(caller(json!({})), tenant);
    let unknown = caller(json!({"org": "ten_a", "role": "root"}));
    assert_eq!(unknown, Err(TokenError::Unmapped("role")));
    // A tenant fixed by configuration is not the token's to choose.
    let fixed = ClaimMapping { tenant: source(json!({"otherwise": "ten_a"})), ..mapping };
    assert_eq!(fixed.caller("s", &object(json!({"org": "ten_b"}))).unwrap().tenant, "ten_a");
}

#[test]
fn a_second_factor_is_proven_by_acr_or_amr() {
    let policy = MfaPolicy { acr: vec!["gold".to_owned()], ..MfaPolicy::default() };
    let proves = |claims: Value| policy.demand(&object(claims)).is_ok();
    assert!(proves(json!({"amr": ["pwd", "mfa"]})));
    assert!(proves(json!({"amr": "mfa"})));
    assert!(proves(json!({"acr": "gold", "amr": ["pwd"]})));
    for claims in [
        json!({}),
        json!({"amr": ["pwd", "otp"], "acr": "silver"}),
        json!({"acr": "mfa", "amr": "gold"}),
        json!({"amr": {"mfa": true}, "acr": 1}),
        json!({"amr": ["mfa "]}),
    ] {
        let refused = policy.demand(&object(claims.clone()));
        assert_eq!(refused, Err(TokenError::MfaRequired), "{claims}");
    }
}
