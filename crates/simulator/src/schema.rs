//! Values that satisfy a JSON schema: arguments of tools, structured answers.

use serde_json::{Map, Value, json};

use crate::draw::Draw;
use crate::script::Language;

/// Deeper than this, optional members and array items are left out.
const DEPTH: usize = 12;

/// A value for `schema`; `{}` when it says nothing useful.
pub(crate) fn generate(schema: &Value, draw: Draw, language: Language) -> Value {
    Generator { root: schema, draw, language }.value(schema, "", 0)
}

struct Generator<'a> {
    root: &'a Value,
    draw: Draw,
    language: Language,
}

impl Generator<'_> {
    fn value(&mut self, schema: &Value, name: &str, depth: usize) -> Value {
        if depth > 2 * DEPTH {
            return Value::Null;
        }
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let target =
                reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer)).cloned();
            return target.map_or(Value::Null, |target| self.value(&target, name, depth + 1));
        }
        if let Some(constant) = schema.get("const") {
            return constant.clone();
        }
        if let Some(options) = schema.get("enum").and_then(Value::as_array)
            && !options.is_empty()
        {
            return options[self.draw.below(options.len() as u64) as usize].clone();
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(options) = schema.get(keyword).and_then(Value::as_array) {
                // Recursive schemas end through their null branch.
                let chosen = if depth >= DEPTH {
                    options.iter().find(|option| option["type"] == "null").or(options.last())
                } else {
                    options.iter().find(|option| option["type"] != "null").or(options.first())
                };
                return chosen.map_or(Value::Null, |option| self.value(option, name, depth + 1));
            }
        }
        if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
            let mut whole = Map::new();
            for part in parts {
                match self.value(part, name, depth + 1) {
                    Value::Object(members) => whole.extend(members),
                    other => return other,
                }
            }
            return Value::Object(whole);
        }
        match type_of(schema, depth) {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, name, depth),
            "string" => Value::String(self.string(schema, name)),
            "integer" => self.integer(schema),
            "number" => self.number(schema),
            "boolean" => Value::Bool(self.draw.below(2) == 1),
            "null" => Value::Null,
            _ => json!({}),
        }
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Value {
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let mut object = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, property) in properties.into_iter().flatten() {
            if required.contains(&name.as_str()) || depth < 2 {
                object.insert(name.clone(), self.value(property, name, depth + 1));
            }
        }
        Value::Object(object)
    }

    fn array(&mut self, schema: &Value, name: &str, depth: usize) -> Value {
        if let Some(prefix) = schema.get("prefixItems").and_then(Value::as_array) {
            return prefix.iter().map(|item| self.value(item, name, depth + 1)).collect();
        }
        let least = schema.get("minItems").and_then(Value::as_u64);
        let most = schema.get("maxItems").and_then(Value::as_u64).unwrap_or(64);
        let wanted = if depth >= DEPTH { 0 } else { 2 };
        let count = least.unwrap_or(wanted.min(most)).max(least.unwrap_or(0)).min(256);
        let null = Value::Null;
        let items = schema.get("items").unwrap_or(&null);
        (0..count).map(|_| self.value(items, name, depth + 1)).collect()
    }

    fn string(&mut self, schema: &Value, name: &str) -> String {
        let formatted = match schema.get("format").and_then(Value::as_str) {
            Some("date") => Some("2026-03-14".to_owned()),
            Some("date-time") => Some("2026-03-14T09:26:53Z".to_owned()),
            Some("time") => Some("09:26:53Z".to_owned()),
            Some("duration") => Some("PT1H".to_owned()),
            Some("email") => Some("ivan@example.com".to_owned()),
            Some("hostname") => Some("example.com".to_owned()),
            Some("ipv4") => Some("192.0.2.1".to_owned()),
            Some("ipv6") => Some("2001:db8::1".to_owned()),
            Some("uri") => Some("https://example.com/".to_owned()),
            Some("uuid") => Some(self.draw.uuid()),
            _ => None,
        };
        if let Some(text) = formatted {
            return text;
        }
        let name = name.to_lowercase();
        let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
        let samples: [&str; 3] = match (self.language, name.as_str()) {
            (Language::Ru, _) if has(&["city", "location", "place", "город"]) => {
                ["Москва", "Санкт-Петербург", "Казань"]
            }
            (Language::En, _) if has(&["city", "location", "place"]) => ["Paris", "London", "Oslo"],
            (Language::Ru, _) if has(&["name", "имя"]) => ["Анна", "Иван", "Мария"],
            (Language::En, _) if has(&["name"]) => ["Ann", "John", "Mary"],
            (Language::Ru, _) => ["строка", "значение", "пример «текста»"],
            (Language::En, _) => ["string", "value", "a \"sample\""],
        };
        let mut text = samples[self.draw.below(3) as usize].to_owned();
        let least = schema.get("minLength").and_then(Value::as_u64).unwrap_or(0).min(4096) as usize;
        let most = schema.get("maxLength").and_then(Value::as_u64).unwrap_or(u64::MAX);
        while text.chars().count() < least {
            text.push('.');
        }
        if (text.chars().count() as u64) > most {
            text = text.chars().take(usize::try_from(most).unwrap_or(usize::MAX)).collect();
        }
        text
    }

    fn integer(&mut self, schema: &Value) -> Value {
        let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_f64);
        let step = schema.get("multipleOf").and_then(Value::as_u64).filter(|step| *step > 0);
        let low = bound("minimum")
            .map(f64::ceil)
            .or_else(|| bound("exclusiveMinimum").map(|least| least.floor() + 1.0))
            .map(|least| least as i64);
        let high = bound("maximum")
            .map(f64::floor)
            .or_else(|| bound("exclusiveMaximum").map(|most| most.ceil() - 1.0))
            .map(|most| most as i64);
        let (low, high) = match (low, high) {
            (Some(low), Some(high)) => (low, high.max(low)),
            (Some(low), None) => (low, low.saturating_add(100)),
            (None, Some(high)) => (high.saturating_sub(100), high),
            (None, None) => (1, 100),
        };
        let span = high.abs_diff(low).saturating_add(1);
        let number = low.saturating_add_unsigned(self.draw.below(span));
        match step {
            Some(step) => {
                let step = i64::try_from(step).unwrap_or(1);
                let up = low.div_euclid(step) * step;
                json!(if up < low { up + step } else { up })
            }
            None => json!(number),
        }
    }

    fn number(&mut self, schema: &Value) -> Value {
        let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_f64);
        let low = bound("minimum").or_else(|| bound("exclusiveMinimum")).unwrap_or(0.0);
        let high = bound("maximum").or_else(|| bound("exclusiveMaximum")).unwrap_or(low + 100.0);
        let middle = low + (high - low) * (0.25 + self.draw.unit() / 2.0);
        let rounded = (middle * 100.0).round() / 100.0;
        json!(if rounded > low && rounded < high { rounded } else { middle })
    }
}

fn type_of(schema: &Value, depth: usize) -> &str {
    match schema.get("type") {
        Some(Value::String(name)) => name,
        Some(Value::Array(names)) => {
            let mut names = names.iter().filter_map(Value::as_str);
            let wanted = |name: &&str| (*name == "null") == (depth >= DEPTH);
            names.clone().find(wanted).or_else(|| names.next()).unwrap_or("")
        }
        _ if schema.get("properties").is_some() => "object",
        _ if schema.get("items").is_some() => "array",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(schema: &Value) -> Value {
        generate(schema, Draw::new(3), Language::Ru)
    }

    #[test]
    fn object_has_its_members_in_order() {
        let value = made(&json!({"type": "object", "properties": {
            "city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 5},
            "unit": {"enum": ["c"]}, "at": {"type": "string", "format": "date"},
            "list": {"type": "array", "items": {"type": "boolean"}, "minItems": 3},
            "maybe": {"type": ["null", "number"]}
        }, "required": ["city"]}));
        assert!(["Москва", "Санкт-Петербург", "Казань"].contains(&value["city"].as_str().unwrap()));
        assert!((1..=5).contains(&value["days"].as_i64().unwrap()));
        assert_eq!(value["unit"], "c");
        assert_eq!(value["list"].as_array().unwrap().len(), 3);
        assert!(value["maybe"].is_number());
    }

    #[test]
    fn references_and_recursion_end() {
        let schema = json!({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object",
            "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
            "required": ["next"]}}});
        let mut value = &made(&schema);
        let mut depth = 0;
        while value.is_object() {
            value = &value["next"];
            depth += 1;
        }
        assert!(value.is_null() && depth > 1);
        assert_eq!(made(&json!({"$ref": "#"})), Value::Null);
    }

    #[test]
    fn bounds_hold() {
        assert_eq!(made(&json!({"type": "integer", "exclusiveMinimum": 4, "maximum": 5})), 5);
        assert_eq!(made(&json!({"type": "integer", "minimum": 7, "multipleOf": 5})), 10);
        let text = made(&json!({"type": "string", "maxLength": 2}));
        assert_eq!(text.as_str().unwrap().chars().count(), 2);
    }
}
