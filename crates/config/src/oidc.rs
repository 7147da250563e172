//! Identity providers whose tokens are taken instead of keys.

use std::collections::BTreeSet;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secret::Secret;
use crate::syntax::is_url;

/// The roles that a claim may give.
const ROLES: [&str; 5] = ["user", "developer", "finance", "auditor", "admin"];

/// An identity provider (OpenID Connect) whose tokens are taken instead of keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    /// The issuer, exactly as in `iss` of its tokens. Its discovery document is found below it.
    pub issuer: String,
    /// Names of this service; `aud` of a token must hold one.
    pub audiences: Vec<String>,
    /// How its tokens may be signed; default `RS256`, `PS256`, `ES256` and `EdDSA`.
    pub algorithms: Option<Vec<TokenAlgorithm>>,
    /// Who its claims say is calling.
    pub claims: OidcClaims,
    /// Ids of the tenants that it may speak for; without it, all. Name them wherever the provider
    /// is not your own.
    pub tenants: Option<Vec<String>>,
    /// Applications (`azp`, else `client_id`) that tokens may have been issued to; without it, all.
    pub authorized_parties: Option<Vec<String>>,
    /// Whether a token must prove a second factor, by one of `acr_values` or `amr_values`.
    #[serde(default)]
    pub mfa_required: bool,
    /// Values of `acr` that prove a second factor.
    #[serde(default)]
    pub acr_values: Vec<String>,
    /// Values of `amr` that prove a second factor; default `mfa`.
    pub amr_values: Option<Vec<String>>,
    /// How far its clock may be from ours, seconds.
    #[serde(default = "clock_skew_s")]
    #[schemars(range(min = 0, max = 600))]
    pub clock_skew_s: u32,
    /// Certificates (PEM) trusted besides the public ones.
    pub ca_bundle: Option<PathBuf>,
    /// Looks opaque tokens up; without it, its tokens must be signed JWTs.
    pub introspection: Option<Introspection>,
}

fn clock_skew_s() -> u32 {
    60
}

impl Oidc {
    /// How its tokens may be signed.
    #[must_use]
    pub fn resolved_algorithms(&self) -> &[TokenAlgorithm] {
        use TokenAlgorithm::{ES256, EdDSA, PS256, RS256};
        self.algorithms.as_deref().unwrap_or(&[RS256, PS256, ES256, EdDSA])
    }

    /// Values of `amr` that prove a second factor.
    #[must_use]
    pub fn resolved_amr_values(&self) -> Vec<String> {
        self.amr_values.clone().unwrap_or_else(|| vec!["mfa".to_owned()])
    }
}

/// How a token may be signed (RFC 7518, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "the standards say it")]
pub enum TokenAlgorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl TokenAlgorithm {
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
}

/// Which claims say who is calling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OidcClaims {
    /// Gives the tenant's id; a token that gives none is refused.
    pub tenant: OidcClaim,
    /// Gives the team's id.
    #[serde(default)]
    pub team: OidcClaim,
    /// Gives the role; if it gives none, that of the user with the token's `sub` counts, or `user`.
    #[serde(default)]
    pub role: OidcClaim,
}

/// How a claim is read. It may hold one string or a list of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OidcClaim {
    /// A claim's name, a path with dots (`realm_access.roles`) or a JSON pointer.
    pub claim: Option<String>,
    /// What its values mean; the first that fits counts. Without rules the claim's only value means
    /// itself.
    pub rules: Vec<OidcRule>,
    /// What is taken if the claim is missing or no rule fits.
    pub otherwise: Option<String>,
}

/// What a value of a claim means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OidcRule {
    /// The value in the token, exactly.
    pub value: String,
    /// Id of the tenant or team, or the role: `user`, `developer`, `finance`, `auditor`, `admin`.
    pub means: String,
}

/// Where opaque tokens are looked up (RFC 7662).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Introspection {
    /// Where; default: where the discovery document says.
    pub url: Option<String>,
    /// Who asks.
    pub client_id: String,
    /// Its secret, sent by HTTP Basic.
    pub client_secret: Secret,
}

/// Paths below `identity.oidc` and what is wrong there, but for files.
pub(crate) fn faults(all: &[Oidc]) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for (number, oidc) in all.iter().enumerate() {
        let mut fault = |key: &str, message: &str| {
            faults.push((format!("identity.oidc[{number}].{key}"), message.to_owned()));
        };
        const URL: &str =
            "must be a URL that begins with http:// or https://, with a host, without user";
        if !is_url(&oidc.issuer) || oidc.issuer.contains(['?', '#']) {
            fault("issuer", "must be a URL with http:// or https:// and a host, without a query");
        } else if !seen.insert(&oidc.issuer) {
            fault("issuer", "this issuer stands twice; put both entries together");
        }
        let lists = [
            ("audiences", Some(&oidc.audiences), "is empty, so that no token is for this service"),
            ("tenants", oidc.tenants.as_ref(), "is empty, so that no tenant can call"),
            ("authorized_parties", oidc.authorized_parties.as_ref(), "is empty, so that none may"),
        ];
        for (key, list, message) in lists {
            match list {
                Some(list) if list.is_empty() => fault(key, &format!("{message}; name one")),
                Some(list) if list.iter().any(String::is_empty) => {
                    fault(key, "holds an empty text; remove it");
                }
                _ => {}
            }
        }
        if oidc.resolved_algorithms().is_empty() {
            fault("algorithms", "is empty; name one, or remove it");
        }
        if oidc.mfa_required && oidc.acr_values.is_empty() && oidc.resolved_amr_values().is_empty()
        {
            fault("mfa_required", "nothing proves it; give acr_values or amr_values");
        }
        let claims = &oidc.claims;
        let sources = [("tenant", &claims.tenant), ("team", &claims.team), ("role", &claims.role)];
        for (name, source) in sources {
            let key = format!("claims.{name}");
            if source.claim.as_ref().is_some_and(String::is_empty) {
                fault(&format!("{key}.claim"), "is empty; name the claim, or remove it");
            }
            if source.claim.is_none() && !source.rules.is_empty() {
                fault(&format!("{key}.rules"), "there is no `claim` to read them by; name it");
            }
            let means = source.rules.iter().map(|rule| &rule.means).chain(&source.otherwise);
            for meant in means {
                if meant.is_empty() || (name == "role" && !ROLES.contains(&meant.as_str())) {
                    let known = if name == "role" { ROLES.join(", ") } else { "an id".to_owned() };
                    fault(&key, &format!("means what does not exist; give {known}"));
                }
            }
        }
        if claims.tenant.claim.is_none() && claims.tenant.otherwise.is_none() {
            fault("claims.tenant", "gives no tenant; name the claim, or give `otherwise`");
        }
        if let Some(introspection) = &oidc.introspection {
            if introspection.url.as_ref().is_some_and(|url| !is_url(url)) {
                fault("introspection.url", URL);
            }
            if introspection.client_id.is_empty() {
                fault("introspection.client_id", "is empty; give it");
            }
            if introspection.client_secret.expose().is_empty() {
                fault("introspection.client_secret", "is empty; give it");
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {

    fn said(entry: &str) -> Vec<String> {
        let text = format!(
            "providers: {{a: {{kind: vllm, base_url: \"http://v/v1\"}}}}\n\
             models: [{{name: m, deployments: [{{provider: a, model: m}}]}}]\n\
             identity: {{oidc: [{entry}]}}\n"
        );
        match crate::load_text("x.yaml", &text, &|_| None) {
            Ok(_) => Vec::new(),
            Err(faults) => {
                let told = |fault: &crate::Fault| format!("{}: {}", fault.path, fault.message);
                faults.faults.iter().map(told).collect()
            }
        }
    }

    #[test]
    fn issuers_need_no_keys_beside_them() {
        let whole = "{issuer: \"https://id/realms/a\", audiences: [p], algorithms: [ES256], \
                     claims: {tenant: {claim: org}, role: {claim: r, rules: \
                     [{value: x, means: auditor}]}}, tenants: [ten_a], mfa_required: true, \
                     acr_values: [\"2\"], clock_skew_s: 5, introspection: {client_id: a, \
                     client_secret: b}}";
        assert_eq!(said(whole), Vec::<String>::new());
        let short = "{issuer: \"http://id\", audiences: [p], claims: {tenant: {otherwise: t}}}";
        assert_eq!(said(short), Vec::<String>::new());
        assert_eq!(said(&format!("{short}, {short}")).len(), 1, "twice the same");
    }

    #[test]
    fn what_could_let_nobody_or_everybody_in_is_a_fault() {
        let good = "issuer: \"https://id\"";
        let tenant = "claims: {tenant: {claim: org}}";
        for (entry, place) in [
            (format!("{{issuer: id, audiences: [p], {tenant}}}"), "issuer"),
            (format!("{{issuer: \"https://id?a\", audiences: [p], {tenant}}}"), "issuer"),
            (format!("{{{good}, audiences: [], {tenant}}}"), "audiences"),
            (format!("{{{good}, audiences: [\"\"], {tenant}}}"), "audiences"),
            (format!("{{{good}, audiences: [p], algorithms: [], {tenant}}}"), "algorithms"),
            (format!("{{{good}, audiences: [p], algorithms: [HS256], {tenant}}}"), "algorithms[0]"),
            (format!("{{{good}, audiences: [p], algorithms: [none], {tenant}}}"), "algorithms[0]"),
            (format!("{{{good}, audiences: [p], tenants: [], {tenant}}}"), "tenants"),
            (
                format!("{{{good}, audiences: [p], {tenant}, mfa_required: true, amr_values: []}}"),
                "mfa_required",
            ),
            (format!("{{{good}, audiences: [p], claims: {{tenant: {{}}}}}}"), "claims.tenant"),
            (
                format!(
                    "{{{good}, audiences: [p], claims: {{tenant: {{claim: o}}, role: {{claim: r, \
                     rules: [{{value: a, means: root}}]}}}}}}"
                ),
                "claims.role",
            ),
            (
                format!(
                    "{{{good}, audiences: [p], {tenant}, introspection: {{url: x, client_id: a, \
                     client_secret: b}}}}"
                ),
                "introspection.url",
            ),
            (
                format!("{{{good}, audiences: [p], {tenant}, ca_bundle: /does/not/exist}}"),
                "ca_bundle",
            ),
        ] {
            let said = said(&entry);
            let path = format!("identity.oidc[0].{place}: ");
            assert!(said.len() == 1 && said[0].starts_with(&path), "{entry}: {said:?}");
        }
    }
}
