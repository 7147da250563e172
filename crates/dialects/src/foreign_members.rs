//! Top-level members of one API in a request that is converted to another.

use chat::{ApiError, Audience, ExtraMembers, Json};

use crate::{Adaptation, EncodedRequest, Unsupported};

/// Members that APIs document and that mean nothing elsewhere; they are named one by one.
const DOCUMENTED: [&str; 22] = [
    // Anthropic's.
    "betas",
    "container",
    "context_management",
    "inference_geo",
    "mcp_servers",
    "output_config.task_budget",
    "speed",
    // OpenAI's, and those of engines that speak its API.
    "audio",
    "chat_template_kwargs",
    "include",
    "max_tool_calls",
    "min_p",
    "modalities",
    "moderation",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "store",
    "verbosity",
    "web_search_options",
    // Of both.
    "service_tier",
];

/// Applies the policy to the members that `takes` does not want; all that are not documented
/// count as one, `others`.
///
/// # Errors
/// Under [`Unsupported::Strict`], a 400 that names the first of them.
pub(crate) fn drop_foreign(
    extra: &ExtraMembers,
    takes: impl Fn(&str) -> bool,
    others: &'static str,
    policy: Unsupported,
    provider: &str,
    adaptations: &mut Vec<Adaptation>,
) -> Result<(), ApiError> {
    for (name, value) in &extra.members {
        if name == "llm_proxy" || takes(name) || asks_for_nothing(extra.audience, name, value) {
            continue;
        }
        let documented = DOCUMENTED.iter().find(|known| **known == name);
        let member = documented.copied().unwrap_or(others);
        EncodedRequest::drop_member(adaptations, policy, member, provider)
            .map_err(|error| ApiError { param: Some(name.clone()), ..error })?;
    }
    Ok(())
}

/// Whether doing without a member changes nothing: it is absent, empty, says what holds anyway, or
/// is a hint for a cache, as those within messages are.
fn asks_for_nothing(audience: Option<Audience>, name: &str, value: &Json) -> bool {
    let text = value.get();
    if text == "null" {
        return true;
    }
    match (audience, name) {
        (Some(Audience::Anthropic), "cache_control") => true,
        // `auto` takes what there is; the tier that it may not leave is the only one elsewhere.
        (_, "service_tier") => {
            matches!(text, r#""auto""# | r#""default""# | r#""standard_only""# | r#""standard""#)
        }
        (_, "speed") => text == r#""standard""#,
        (_, "mcp_servers" | "betas") => is_empty(text, "[", "]"),
        (_, "context_management") => is_empty(text, "{", "}"),
        (_, "store") => text == "false",
        _ => false,
    }
}

fn is_empty(text: &str, open: &str, close: &str) -> bool {
    let inner = text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
    inner.is_some_and(|inner| inner.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(members: &[(&str, &str)], policy: Unsupported) -> Result<Vec<String>, ApiError> {
        let members = members
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Json::parse(*value).unwrap()))
            .collect();
        let extra = ExtraMembers { audience: Some(Audience::Anthropic), members };
        let mut adaptations = Vec::new();
        let takes = |name: &str| name == "flags";
        drop_foreign(&extra, takes, "members unheard of", policy, "X", &mut adaptations)?;
        Ok(adaptations.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn each_documented_member_is_named_and_the_others_together() {
        let members = [
            ("container", r#""c_1""#),
            ("flags", "[]"),
            ("a", "1"),
            ("mcp_servers", r#"[{"type":"url"}]"#),
            ("b", "2"),
            ("llm_proxy", "{}"),
        ];
        let wanted = ["dropped=container", "dropped=members unheard of", "dropped=mcp_servers"];
        assert_eq!(dropped(&members, Unsupported::Emulate).unwrap(), wanted);
        let refused = dropped(&members[2..], Unsupported::Strict).unwrap_err();
        assert_eq!(refused.param.as_deref(), Some("a"));
    }

    #[test]
    fn what_asks_for_nothing_is_not_lost() {
        let members = [
            ("container", "null"),
            ("service_tier", r#""auto""#),
            ("cache_control", r#"{"type":"ephemeral"}"#),
            ("mcp_servers", "[ ]"),
            ("context_management", "{}"),
            ("speed", r#""standard""#),
        ];
        assert_eq!(dropped(&members, Unsupported::Strict).unwrap(), Vec::<String>::new());
        let asked = [("service_tier", r#""priority""#), ("speed", r#""fast""#)];
        let wanted = ["dropped=service_tier", "dropped=speed"];
        assert_eq!(dropped(&asked, Unsupported::Drop).unwrap(), wanted);
    }
}
