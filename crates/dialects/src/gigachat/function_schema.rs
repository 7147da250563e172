//! Schemas of functions' parameters in the part of JSON Schema that GigaChat takes.

use chat::{ApiError, Json};
use serde_json::Value;

use crate::schema_inline::{self, Allowance};

const MEMBER: &str = "tools.function.parameters";

/// What a function without parameters gets: every function must have some.
const NOTHING: &str = r#"{"type":"object","properties":{}}"#;

/// The schemas of a request's functions, one after the other.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    allowance: Allowance,
    /// Whether a schema says less than the caller's because its references could not be followed
    /// to their end.
    pub(super) lossy: bool,
}

impl Schemas {
    /// The schema that GigaChat takes for `parameters`; untouched text where it takes that.
    ///
    /// # Errors
    /// A 400 for a schema that is nested too deep to be read, or whose references lead to too much.
    pub(super) fn parameters(&mut self, parameters: Option<&Json>) -> Result<String, ApiError> {
        let Some(given) = parameters else { return Ok(NOTHING.to_owned()) };
        let mut schema: Value = given
            .decode()
            .map_err(|_| ApiError::invalid(MEMBER, "the schema of a tool is nested too deep"))?;
        let mut inlined = false;
        if schema_inline::may_refer(given.get()) {
            let found = schema_inline::inline(&schema, &mut self.allowance).map_err(|_| {
                ApiError::invalid(
                    MEMBER,
                    "the schemas of the tools become too large when what `$ref` leads to is put in \
                     its place, as GigaChat needs it; refer to less",
                )
                .with_code("unsupported_value")
            })?;
            inlined = found.schema != schema;
            self.lossy |= found.lossy;
            schema = found.schema;
        }
        let Value::Object(members) = &mut schema else { return Ok(NOTHING.to_owned()) };
        let untyped = !members.contains_key("type");
        if untyped {
            members.insert("type".to_owned(), "object".into());
        }
        // The order of properties tells a model something; only what must change loses it.
        let changed = fit(&mut schema) | untyped | inlined;
        Ok(if changed { schema.to_string() } else { given.get().to_owned() })
    }
}

/// Fits a schema and those in it; whether anything changed. GigaChat refuses objects without
/// `properties`, and does not know `anyOf`, which optional members are commonly written with.
fn fit(schema: &mut Value) -> bool {
    let Value::Object(members) = schema else { return false };
    let mut changed = false;
    for name in ["anyOf", "oneOf", "allOf"] {
        if let Some(only) = members.get_mut(name).and_then(only_schema) {
            members.remove(name);
            for (member, value) in only {
                members.entry(member).or_insert(value);
            }
            changed = true;
        }
    }
    if members.get("type").is_some_and(|kind| kind == "object")
        && !members.contains_key("properties")
    {
        members.insert("properties".to_owned(), Value::Object(serde_json::Map::new()));
        changed = true;
    }
    for (name, value) in members {
        match (name.as_str(), value) {
            // By name; and these names may be any, keywords included.
            (
                "properties" | "patternProperties" | "$defs" | "definitions",
                Value::Object(inner),
            ) => {
                for schema in inner.values_mut() {
                    changed |= fit(schema);
                }
            }
            // Values, which only look like schemas.
            ("enum" | "const" | "default" | "examples" | "example", _) => {}
            (_, Value::Array(schemas)) => {
                for schema in schemas {
                    changed |= fit(schema);
                }
            }
            (_, schema) => changed |= fit(schema),
        }
    }
    changed
}

/// The only schema of a choice besides `null`.
fn only_schema(choice: &mut Value) -> Option<serde_json::Map<String, Value>> {
    let schemas = choice.as_array_mut()?;
    let is_null = |schema: &Value| schema.get("type").is_some_and(|kind| kind == "null");
    let mut others = schemas.iter_mut().filter(|schema| !is_null(schema));
    match (others.next(), others.next()) {
        (Some(Value::Object(members)), None) => Some(std::mem::take(members)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(schema: &str) -> String {
        Schemas::default().parameters(Some(&Json::parse(schema).unwrap())).unwrap()
    }

    #[test]
    fn what_fits_stays_as_it_is_written() {
        let schema = r#"{"type": "object", "properties": {"я": {"type":"string"}, "а": {"const": {"type": "object"}}}}"#;
        assert_eq!(fitted(schema), schema);
    }

    #[test]
    fn what_does_not_fit_is_completed() {
        let nothing: Value = serde_json::from_str(NOTHING).unwrap();
        for schema in ["{}", "null", "true", r#"{"type":"object"}"#] {
            let value: Value = serde_json::from_str(&fitted(schema)).unwrap();
            assert_eq!(value, nothing, "{schema}");
        }
        let nested = fitted(
            r#"{"type":"object","properties":{
                "default":{"type":"object"},
                "list":{"type":"array","items":{"type":"object"}},
                "maybe":{"anyOf":[{"type":"string","description":"b"},{"type":"null"}],"description":"a"},
                "either":{"anyOf":[{"type":"string"},{"type":"integer"}]}}}"#,
        );
        let wanted = serde_json::json!({"type": "object", "properties": {
            "default": {"type": "object", "properties": {}},
            "list": {"type": "array", "items": {"type": "object", "properties": {}}},
            "maybe": {"type": "string", "description": "a"},
            "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}});
        assert_eq!(serde_json::from_str::<Value>(&nested).unwrap(), wanted);
    }

    #[test]
    fn a_schema_that_cannot_be_read_is_refused() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
        let deep = Json::parse(deep).unwrap();
        let refused = Schemas::default().parameters(Some(&deep)).unwrap_err();
        assert_eq!(refused.param.as_deref(), Some("tools.function.parameters"));
    }
}
