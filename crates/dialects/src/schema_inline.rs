//! References in JSON Schemas, put in place, for providers that do not know `$ref`.
//!
//! What comes out holds no `$ref`, `$defs` or `definitions`. It is bounded whatever went in: the
//! depth by [`MAX_DEPTH`], the size by an [`Allowance`] that all schemas of a request share.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// How many times a definition is opened within itself; deeper ones are cut.
const MAX_RECURSION: usize = 2;

/// Levels below which no reference is followed. A definition adds the levels it has itself, which
/// the parser of JSON limits to 128.
const MAX_DEPTH: usize = 64;

/// What following references may add to the schemas of one request, in bytes of JSON, roughly.
const MAX_ADDED_BYTES: usize = 256 * 1024;

/// Members that describe, beside a `$ref`: the ones that stand nearer are meant.
const ANNOTATIONS: [&str; 8] = [
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$comment",
];

/// What references may still add.
#[derive(Debug)]
pub(crate) struct Allowance(usize);

impl Default for Allowance {
    fn default() -> Self {
        Self(MAX_ADDED_BYTES)
    }
}

/// The references of a request's schemas lead to more than [`MAX_ADDED_BYTES`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// A schema without references.
#[derive(Debug, PartialEq)]
pub(crate) struct Inlined {
    /// The schema.
    pub(crate) schema: Value,
    /// Whether it says less than the one that was given: recursion was cut, or a reference leads
    /// to nothing that stands in the schema.
    pub(crate) lossy: bool,
}

/// Whether a schema has references or definitions in it, or a member that is named so: a cheap
/// look at its text.
pub(crate) fn may_refer(text: &str) -> bool {
    // An escaped name could be any.
    ["Ref\"", "$ref\"", "$defs\"", "\"definitions\"", "\\u"].iter().any(|name| text.contains(name))
}

/// Puts what references in `root` lead to in their place.
///
/// # Errors
/// When that is more than `allowance` leaves.
pub(crate) fn inline(root: &Value, allowance: &mut Allowance) -> Result<Inlined, TooLarge> {
    let mut inliner = Inliner { root, allowance, open: Vec::new(), lossy: false };
    let schema = inliner.schema(root, 0)?;
    Ok(Inlined { schema, lossy: inliner.lossy })
}

struct Inliner<'s, 'a> {
    root: &'s Value,
    allowance: &'a mut Allowance,
    /// The definitions that the current place is within, outermost first.
    open: Vec<&'s Value>,
    lossy: bool,
}

impl<'s> Inliner<'s, '_> {
    /// Text that is written is charged once it is there by reference only.
    fn charge(&mut self, bytes: usize) -> Result<(), TooLarge> {
        if !self.open.is_empty() {
            self.allowance.0 = self.allowance.0.checked_sub(bytes).ok_or(TooLarge)?;
        }
        Ok(())
    }

    fn schema(&mut self, schema: &'s Value, depth: usize) -> Result<Value, TooLarge> {
        match schema {
            Value::Object(members) => match members.get("$ref") {
                Some(reference) => self.reference(reference, members, depth),
                None => self.members(members, depth).map(Value::Object),
            },
            Value::Array(schemas) => {
                self.charge(2)?;
                let schemas = schemas.iter().map(|schema| self.schema(schema, depth + 1));
                schemas.collect::<Result<_, _>>().map(Value::Array)
            }
            other => self.value(other),
        }
    }

    /// What is copied as it is.
    fn value(&mut self, value: &Value) -> Result<Value, TooLarge> {
        if !self.open.is_empty() {
            self.charge(value.to_string().len() + 1)?;
        }
        Ok(value.clone())
    }

    /// The members of a schema but for its reference and definitions.
    fn members(
        &mut self,
        members: &'s Map<String, Value>,
        depth: usize,
    ) -> Result<Map<String, Value>, TooLarge> {
        self.charge(2)?;
        let mut written = Map::new();
        for (name, value) in members {
            let value = match (name.as_str(), value) {
                ("$ref" | "$defs" | "definitions", _) => continue,
                ("$dynamicRef" | "$recursiveRef", _) => {
                    self.lossy = true;
                    continue;
                }
                // Values, which only look like schemas.
                ("enum" | "const" | "default" | "examples" | "example", value) => {
                    self.value(value)?
                }
                // By name; and these names may be any, keywords included.
                (
                    "properties" | "patternProperties" | "dependentSchemas" | "dependencies",
                    Value::Object(schemas),
                ) => {
                    let mut by_name = Map::new();
                    for (name, schema) in schemas {
                        self.charge(name.len() + 4)?;
                        by_name.insert(name.clone(), self.schema(schema, depth + 2)?);
                    }
                    Value::Object(by_name)
                }
                (_, value) => self.schema(value, depth + 1)?,
            };
            self.charge(name.len() + 4)?;
            written.insert(name.clone(), value);
        }
        Ok(written)
    }

    /// What a reference leads to, with the members that stand beside it.
    fn reference(
        &mut self,
        reference: &Value,
        beside: &'s Map<String, Value>,
        depth: usize,
    ) -> Result<Value, TooLarge> {
        let reference = reference.as_str().unwrap_or_default();
        // Following a long pointer takes its time, although nothing of it is written.
        self.charge(reference.len())?;
        let target = find(self.root, reference);
        let mut own = self.members(beside, depth)?;
        let Some(target) = target else {
            self.lossy = true;
            return Ok(Value::Object(own));
        };
        let times = self.open.iter().filter(|open| std::ptr::eq(**open, target)).count();
        self.open.push(target);
        let led_to = if times > MAX_RECURSION || depth > MAX_DEPTH {
            self.lossy = true;
            self.outline(target)
        } else {
            self.schema(target, depth + 1)
        };
        self.open.pop();
        match led_to? {
            Value::Object(mut led_to) => {
                for (name, value) in own {
                    let nearer = ANNOTATIONS.contains(&name.as_str());
                    match led_to.get(&name) {
                        Some(there) if !nearer => self.lossy |= *there != value,
                        _ => _ = led_to.insert(name, value),
                    }
                }
                Ok(Value::Object(led_to))
            }
            // `true` allows anything; what stands beside it still counts.
            Value::Bool(true) => Ok(Value::Object(own)),
            // `false` allows nothing, which an object says with `not`.
            Value::Bool(false) => {
                own.insert("not".to_owned(), Value::Object(Map::new()));
                Ok(Value::Object(own))
            }
            _ => {
                self.lossy = true;
                Ok(Value::Object(own))
            }
        }
    }

    /// What is left of a definition where it is cut: its type and what describes it.
    fn outline(&mut self, target: &Value) -> Result<Value, TooLarge> {
        let mut left = Map::new();
        for name in ["type", "title", "description"] {
            if let Some(value @ (Value::String(_) | Value::Array(_))) = target.get(name) {
                self.charge(name.len() + 4)?;
                left.insert(name.to_owned(), self.value(value)?);
            }
        }
        Ok(Value::Object(left))
    }
}

/// What a reference within the document leads to: a JSON pointer (RFC 6901) in a URI's fragment.
fn find<'s>(root: &'s Value, reference: &str) -> Option<&'s Value> {
    root.pointer(&percent_decoded(reference.strip_prefix('#')?)?)
}

fn percent_decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        decoded.push(match byte {
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn inlined(schema: &Value) -> Inlined {
        inline(schema, &mut Allowance::default()).unwrap()
    }

    #[test]
    fn definitions_stand_where_they_were_referred_to() {
        let schema = json!({
            "type": "object",
            "properties": {
                "from": {"$ref": "#/$defs/City", "description": "Откуда"},
                "to": {"type": "array", "items": {"$ref": "#/definitions/a~1b%20c"}},
                "definitions": {"type": "string"},
                "$ref": {"const": {"$ref": "#/nowhere"}},
            },
            "$defs": {"City": {"type": "object", "description": "Город",
                "properties": {"code": {"$ref": "#/$defs/Code"}}}, "Code": {"type": "integer"}},
            "definitions": {"a/b c": {"$ref": "#/$defs/Code"}},
        });
        let wanted = json!({
            "type": "object",
            "properties": {
                "from": {"type": "object", "description": "Откуда",
                    "properties": {"code": {"type": "integer"}}},
                "to": {"type": "array", "items": {"type": "integer"}},
                "definitions": {"type": "string"},
                "$ref": {"const": {"$ref": "#/nowhere"}},
            },
        });
        assert_eq!(inlined(&schema), Inlined { schema: wanted, lossy: false });
    }

    #[test]
    fn recursion_is_cut_and_said_to_be() {
        let schema = json!({
            "$ref": "#/$defs/Node",
            "$defs": {"Node": {"type": "object", "description": "узел", "required": ["next"],
                "properties": {"next": {"$ref": "#/$defs/Node"}}}},
        });
        let cut = json!({"type": "object", "description": "узел"});
        let level = |next: &Value| {
            json!({"type": "object", "description": "узел", "required": ["next"],
                "properties": {"next": next}})
        };
        let wanted = level(&level(&level(&cut)));
        assert_eq!(inlined(&schema), Inlined { schema: wanted, lossy: true });
    }

    #[test]
    fn what_leads_nowhere_or_in_a_circle_is_said_to_be_lost() {
        for schema in [
            json!({"$ref": "https://example.com/schema"}),
            json!({"$ref": "#/$defs/absent"}),
            json!({"$ref": 7}),
            json!({"$ref": "#"}),
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
            json!({"items": {"$dynamicRef": "#node"}}),
            json!({"$ref": "#/$defs/a", "type": "string", "$defs": {"a": {"type": "integer"}}}),
        ] {
            assert!(inlined(&schema).lossy, "{schema}");
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut definitions = Map::new();
        definitions.insert("d0".to_owned(), json!({"type": "string"}));
        for number in 1..30 {
            let below = json!({"$ref": format!("#/$defs/d{}", number - 1)});
            let bomb = json!({"properties": {"a": below, "b": below}});
            definitions.insert(format!("d{number}"), bomb);
        }
        let bomb = json!({"$ref": "#/$defs/d29", "$defs": definitions});
        assert_eq!(inline(&bomb, &mut Allowance::default()), Err(TooLarge));
    }

    #[test]
    fn schemas_of_one_request_share_an_allowance() {
        let large =
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"description": "я".repeat(80_000)}}});
        let mut allowance = Allowance::default();
        assert!(inline(&large, &mut allowance).is_ok());
        assert_eq!(inline(&large, &mut allowance), Err(TooLarge));
    }

    #[test]
    fn a_long_chain_does_not_go_deep() {
        let mut definitions = Map::new();
        for number in 0..10_000 {
            let next = format!("#/$defs/d{}", number + 1);
            definitions.insert(format!("d{number}"), json!({"items": {"$ref": next}}));
        }
        let chain = json!({"$ref": "#/$defs/d0", "$defs": definitions});
        let inlined = inlined(&chain);
        assert!(inlined.lossy && depth(&inlined.schema) <= MAX_DEPTH + 3);
    }

    fn depth(value: &Value) -> usize {
        match value {
            Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
            Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }

    fn refers(value: &Value) -> bool {
        match value {
            Value::Object(members) => {
                ["$ref", "$defs", "definitions"].iter().any(|name| members.contains_key(*name))
                    || members.values().any(refers)
            }
            Value::Array(values) => values.iter().any(refers),
            _ => false,
        }
    }

    /// Schemas whose references lead to each other in any way.
    fn schemas() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!({"type": "string"})),
            Just(json!(true)),
            Just(json!({"$ref": "#"})),
            (0..6u8).prop_map(|number| json!({"$ref": format!("#/$defs/d{number}")})),
            (0..6u8).prop_map(|number| {
                json!({"$ref": format!("#/$defs/d{number}/properties/p0"), "title": "t"})
            }),
        ];
        let schema = leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|schemas| {
                    let named = schemas.into_iter().enumerate();
                    let named: Map<_, _> =
                        named.map(|(number, schema)| (format!("p{number}"), schema)).collect();
                    json!({"type": "object", "properties": named})
                }),
                prop::collection::vec(inner.clone(), 0..4)
                    .prop_map(|schemas| json!({"anyOf": schemas})),
                inner.prop_map(|schema| json!({"items": schema})),
            ]
        });
        prop::collection::vec(schema, 1..7).prop_map(|mut schemas| {
            let mut root = json!({"properties": {"root": schemas.pop()}});
            let definitions = schemas.into_iter().enumerate();
            root["$defs"] =
                definitions.map(|(number, schema)| (format!("d{number}"), schema)).collect();
            root
        })
    }

    proptest! {
        #[test]
        fn every_schema_ends_within_its_bounds(schema in schemas()) {
            if let Ok(inlined) = inline(&schema, &mut Allowance::default()) {
                let given = schema.to_string().len();
                prop_assert!(inlined.schema.to_string().len() <= MAX_ADDED_BYTES + given);
                prop_assert!(depth(&inlined.schema) <= MAX_DEPTH + 128);
                prop_assert!(!refers(&inlined.schema));
                if !inlined.lossy {
                    let again = inline(&inlined.schema, &mut Allowance::default());
                    prop_assert_eq!(again, Ok(inlined));
                }
            }
        }
    }
}
