use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::TokenError;
use crate::{Role, TokenCaller};

/// Longest id or name taken from a claim, bytes.
const MAX_NAME: usize = 255;

/// How a claim is read. A claim may hold one string or a list of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimSource {
    /// Where it stands: a claim's name, a path with dots (`realm_access.roles`) or a JSON pointer
    /// (`/realm_access/roles`). A claim that has the whole name goes before a path. `None`: only
    /// `otherwise` counts.
    #[serde(default)]
    pub claim: Option<String>,
    /// What its values mean: the first rule counts of which the claim holds the value. Empty: the
    /// claim's only value means itself.
    #[serde(default)]
    pub rules: Vec<ClaimRule>,
    /// What is taken if the claim is missing or no rule fits.
    #[serde(default)]
    pub otherwise: Option<String>,
}

/// What a value of a claim means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimRule {
    /// The value in the token, exactly.
    pub value: String,
    /// Id of the tenant or team, or the role.
    pub means: String,
}

/// How the claims of an issuer say who is calling.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimMapping {
    /// Gives the tenant's id; a token without is refused.
    pub tenant: ClaimSource,
    /// Tenants that the issuer may speak for; `None`: any. Name them wherever the issuer is not the
    /// operator's own.
    #[serde(default)]
    pub tenants: Option<Vec<String>>,
    /// Gives the team's id.
    #[serde(default)]
    pub team: ClaimSource,
    /// Gives the role. If it gives none, the role of the user with the token's subject counts, or
    /// `user` if there is none.
    #[serde(default)]
    pub role: ClaimSource,
}

/// What proves a second factor: one of either list is enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MfaPolicy {
    /// Values of `acr` (authentication context class).
    pub acr: Vec<String>,
    /// Values of `amr` (authentication methods, RFC 8176).
    pub amr: Vec<String>,
}

impl Default for MfaPolicy {
    fn default() -> Self {
        Self { acr: Vec::new(), amr: vec!["mfa".to_owned()] }
    }
}

impl MfaPolicy {
    /// Refuses claims that prove no second factor.
    pub(super) fn demand(&self, claims: &Map<String, Value>) -> Result<(), TokenError> {
        let proves = |claim: &str, accepted: &[String]| {
            values(claims.get(claim)).any(|value| accepted.iter().any(|good| good == value))
        };
        if proves("acr", &self.acr) || proves("amr", &self.amr) {
            Ok(())
        } else {
            Err(TokenError::MfaRequired)
        }
    }
}

impl ClaimMapping {
    /// Who is calling.
    pub(super) fn caller(
        &self,
        subject: &str,
        claims: &Map<String, Value>,
    ) -> Result<TokenCaller, TokenError> {
        let tenant = self.tenant.read(claims, "tenant")?.ok_or(TokenError::Unmapped("tenant"))?;
        let may_speak = self.tenants.as_ref().is_none_or(|tenants| tenants.contains(&tenant));
        if !may_speak {
            return Err(TokenError::Unmapped("tenant"));
        }
        let role = match self.role.read(claims, "role")? {
            Some(name) => Some(Role::parse(&name).ok_or(TokenError::Unmapped("role"))?),
            None => None,
        };
        let team = self.team.read(claims, "team")?;
        Ok(TokenCaller { tenant, team, subject: subject.to_owned(), role })
    }
}

impl ClaimSource {
    fn read(
        &self,
        claims: &Map<String, Value>,
        what: &'static str,
    ) -> Result<Option<String>, TokenError> {
        let found = self.claim.as_deref().and_then(|path| find(claims, path));
        let meant = if self.rules.is_empty() {
            let mut all = values(found);
            match (all.next(), all.next()) {
                // Which of several would be a guess.
                (Some(_), Some(_)) => return Err(TokenError::Unmapped(what)),
                (only, _) => only,
            }
        } else {
            let fits = |rule: &&ClaimRule| values(found).any(|value| value == rule.value);
            self.rules.iter().find(fits).map(|rule| rule.means.as_str())
        };
        match meant.or(self.otherwise.as_deref()) {
            Some(name) if name.is_empty() || name.len() > MAX_NAME => {
                Err(TokenError::Unmapped(what))
            }
            name => Ok(name.map(str::to_owned)),
        }
    }
}

fn find<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    if let Some(pointer) = path.strip_prefix('/') {
        let (first, rest) = match pointer.find('/') {
            Some(end) => pointer.split_at(end),
            None => (pointer, ""),
        };
        return claims.get(&first.replace("~1", "/").replace("~0", "~"))?.pointer(rest);
    }
    let mut parts = path.split('.');
    let first = claims.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

/// The strings of a claim; anything else in it counts for nothing.
fn values(claim: Option<&Value>) -> impl Iterator<Item = &str> {
    let list = match claim {
        Some(Value::Array(list)) => list.as_slice(),
        Some(single) => std::slice::from_ref(single),
        None => &[],
    };
    list.iter().filter_map(Value::as_str)
}

#[cfg(test)]
#[path = "../tests/mapping.rs"]
mod tests;
