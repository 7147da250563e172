//! Turns `identity.oidc` of a configuration into issuers that run.

use std::sync::Arc;

use config::{Config, Oidc, OidcClaim};
use gateway::oidc::{IntrospectionOptions, IssuerOptions, OidcIssuers};
use identity::token::{
    Algorithm, ClaimMapping, ClaimRule, ClaimSource, IssuerPolicy, JwksTiming, MfaPolicy,
};

use crate::compose::ComposeError;

/// The issuers of the configuration; those that did not change go on with their keys. Must run
/// within a tokio runtime.
pub(crate) fn issuers(
    config: &Config,
    previous: Option<&Arc<OidcIssuers>>,
) -> Result<Option<Arc<OidcIssuers>>, ComposeError> {
    let options: Vec<_> = config.identity.oidc.iter().map(options).collect();
    if options.is_empty() {
        return Ok(None);
    }
    let started = OidcIssuers::start(options, previous);
    started.map(Some).map_err(|error| format!("identity.oidc: {error}"))
}

fn options(oidc: &Oidc) -> IssuerOptions {
    let algorithms = oidc.resolved_algorithms().iter();
    let mfa = MfaPolicy { acr: oidc.acr_values.clone(), amr: oidc.resolved_amr_values() };
    IssuerOptions {
        policy: IssuerPolicy {
            issuer: oidc.issuer.clone(),
            audiences: oidc.audiences.clone(),
            algorithms: algorithms.filter_map(|one| Algorithm::parse(one.name())).collect(),
            clock_skew_s: oidc.clock_skew_s,
            authorized_parties: oidc.authorized_parties.clone(),
            mapping: ClaimMapping {
                tenant: source(&oidc.claims.tenant),
                tenants: oidc.tenants.clone(),
                team: source(&oidc.claims.team),
                role: source(&oidc.claims.role),
            },
            mfa: oidc.mfa_required.then_some(mfa),
        },
        ca_bundle: oidc.ca_bundle.clone(),
        introspection: oidc.introspection.as_ref().map(|given| IntrospectionOptions {
            url: given.url.clone(),
            client_id: given.client_id.clone(),
            client_secret: given.client_secret.expose().to_owned(),
        }),
        timing: JwksTiming::default(),
    }
}

fn source(claim: &OidcClaim) -> ClaimSource {
    let rules = claim.rules.iter();
    ClaimSource {
        claim: claim.claim.clone(),
        rules: rules
            .map(|rule| ClaimRule { value: rule.value.clone(), means: rule.means.clone() })
            .collect(),
        otherwise: claim.otherwise.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(entry: &str) -> Config {
        let text = format!(
            "providers: {{a: {{kind: vllm, base_url: \"http://v/v1\"}}}}\n\
             models: [{{name: m, deployments: [{{provider: a, model: m}}]}}]\n\
             identity: {{oidc: [{{issuer: \"http://127.0.0.1:1\", audiences: [p], {entry}}}]}}\n"
        );
        config::load_text("x.yaml", &text, &|_| None).unwrap().config
    }

    #[test]
    fn every_role_and_algorithm_of_the_configuration_is_known_to_identity() {
        let roles = identity::Role::ALL.map(|role| role.name());
        let rules = roles.map(|role| format!("{{value: v-{role}, means: {role}}}")).join(", ");
        let algorithms = "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA";
        let config = loaded(&format!(
            "algorithms: [{algorithms}], mfa_required: true, acr_values: [gold], amr_values: [], \
             tenants: [t], authorized_parties: [app], clock_skew_s: 7, claims: {{tenant: {{claim: \
             org}}, team: {{otherwise: x}}, role: {{claim: r, rules: [{rules}]}}}}"
        ));
        let IssuerPolicy { algorithms: known, mapping, mfa, .. } =
            options(&config.identity.oidc[0]).policy;
        let names: Vec<_> = known.iter().map(|one| one.name()).collect();
        assert_eq!(names.join(", "), algorithms);
        let means: Vec<_> = mapping.role.rules.iter().map(|rule| rule.means.as_str()).collect();
        assert_eq!(means, roles);
        assert_eq!(mapping.tenant.claim.as_deref(), Some("org"));
        assert_eq!(mapping.team.otherwise.as_deref(), Some("x"));
        assert_eq!(mapping.tenants, Some(vec!["t".to_owned()]));
        assert_eq!(mfa, Some(MfaPolicy { acr: vec!["gold".to_owned()], amr: Vec::new() }));
    }

    #[tokio::test]
    async fn a_reload_keeps_issuers_that_did_not_change() {
        let config = loaded("claims: {tenant: {claim: org}}");
        let first = issuers(&config, None).unwrap().unwrap();
        let again = issuers(&config, Some(&first)).unwrap().unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        let other = loaded("claims: {tenant: {claim: tenant}}");
        let changed = issuers(&other, Some(&first)).unwrap().unwrap();
        assert!(!Arc::ptr_eq(&first, &changed));
        let plain = options(&config.identity.oidc[0]);
        assert!(plain.policy.mfa.is_none() && plain.introspection.is_none());
        let mut none = config;
        none.identity.oidc.clear();
        assert!(issuers(&none, Some(&first)).unwrap().is_none());
    }
}
