//! Directives in a prompt: `[[sim: key=value; key; ...]]`.
//!
//! Values end at `;` or `]]`; inside them `\;`, `\]`, `\n` and `\\` are escapes, and a value that
//! starts with a double quote is a JSON string. `tool=name{...}` takes a JSON object that may
//! contain anything.

use serde_json::Value;

use crate::script::{Language, Script, ScriptedCall};

const OPENING: &str = "[[sim:";

/// The first fault of a directive, in words.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("simulator directive: {0}")]
pub(crate) struct DirectiveError(pub(crate) String);

/// All directives of `text` merged in order; `None` when there is none.
pub(crate) fn parse(text: &str) -> Result<Option<Script>, DirectiveError> {
    let mut script = None;
    let mut rest = text;
    while let Some(at) = memchr::memmem::find(rest.as_bytes(), OPENING.as_bytes()) {
        let body = &rest[at + OPENING.len()..];
        let used = parse_one(body, script.get_or_insert_with(Script::default))?;
        rest = &body[used..];
    }
    Ok(script)
}

/// `text` without its directives, trimmed.
pub(crate) fn without_directives(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memmem::find(rest.as_bytes(), OPENING.as_bytes()) {
        let body = &rest[at + OPENING.len()..];
        let Ok(used) = parse_one(body, &mut Script::default()) else { break };
        kept.push_str(&rest[..at]);
        rest = &body[used..];
    }
    kept.push_str(rest);
    kept.trim().to_owned()
}

/// Reads up to and including `]]`; the number of bytes read.
fn parse_one(body: &str, script: &mut Script) -> Result<usize, DirectiveError> {
    let mut at = 0;
    loop {
        let rest = &body[at..];
        let skipped = rest.len() - rest.trim_start_matches([' ', '\n', '\t', ';']).len();
        at += skipped;
        let rest = &body[at..];
        if rest.starts_with("]]") {
            return Ok(at + 2);
        }
        let key_length = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'))
            .ok_or_else(|| DirectiveError("no closing ]]".to_owned()))?;
        let key = &rest[..key_length];
        at += key_length;
        let rest = body[at..].trim_start_matches(' ');
        at = body.len() - rest.len();
        let value = match rest.strip_prefix('=') {
            Some(_) => {
                at += 1;
                let (value, used) = read_value(&body[at..], key == "tool")?;
                at += used;
                Some(value)
            }
            None if rest.starts_with(';') || rest.starts_with("]]") => None,
            None => return Err(DirectiveError(format!("after '{key}' expected =, ; or ]]"))),
        };
        set(script, key, value)?;
    }
}

enum RawValue {
    Text(String),
    Call(ScriptedCall),
}

fn read_value(rest: &str, call: bool) -> Result<(RawValue, usize), DirectiveError> {
    if call {
        return read_call(rest);
    }
    let trimmed = rest.trim_start_matches(' ');
    let skipped = rest.len() - trimmed.len();
    if trimmed.starts_with('"') {
        let mut values = serde_json::Deserializer::from_str(trimmed).into_iter::<String>();
        if let Some(Ok(text)) = values.next() {
            return Ok((RawValue::Text(text), skipped + values.byte_offset()));
        }
    }
    let mut text = String::new();
    let mut characters = trimmed.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            ';' => return Ok((RawValue::Text(text.trim_end().to_owned()), skipped + at)),
            ']' if trimmed[at..].starts_with("]]") => {
                return Ok((RawValue::Text(text.trim_end().to_owned()), skipped + at));
            }
            '\\' => match characters.next() {
                Some((_, 'n')) => text.push('\n'),
                Some((_, escaped)) => text.push(escaped),
                None => break,
            },
            other => text.push(other),
        }
    }
    Err(DirectiveError("no closing ]]".to_owned()))
}

fn read_call(rest: &str) -> Result<(RawValue, usize), DirectiveError> {
    let end = rest
        .char_indices()
        .find(|(at, c)| matches!(c, '{' | ';') || rest[*at..].starts_with("]]"))
        .map(|(at, _)| at)
        .ok_or_else(|| DirectiveError("no closing ]]".to_owned()))?;
    let name = rest[..end].trim().to_owned();
    if !rest[end..].starts_with('{') {
        return Ok((RawValue::Call(ScriptedCall { name, arguments: None }), end));
    }
    let mut values = serde_json::Deserializer::from_str(&rest[end..]).into_iter::<Value>();
    match values.next() {
        Some(Ok(arguments)) => {
            let call = ScriptedCall { name, arguments: Some(arguments) };
            Ok((RawValue::Call(call), end + values.byte_offset()))
        }
        _ => Err(DirectiveError(format!("arguments of tool '{name}' are not JSON"))),
    }
}

fn set(script: &mut Script, key: &str, value: Option<RawValue>) -> Result<(), DirectiveError> {
    let value = match value {
        Some(RawValue::Call(call)) => {
            script.tool.push(call);
            return Ok(());
        }
        Some(RawValue::Text(text)) => Some(text),
        None => None,
    };
    let value = value.as_deref();
    match key {
        "echo" => script.echo = Some(flag(key, value)?),
        "text" => script.text = Some(required(key, value)?.to_owned()),
        "lang" => {
            script.lang = Some(match required(key, value)? {
                "ru" => Language::Ru,
                "en" => Language::En,
                other => return Err(DirectiveError(format!("lang is ru or en, not '{other}'"))),
            });
        }
        "tools" => script.tools = Some(number(key, value)?),
        "json" => script.json = Some(flag(key, value)?),
        "badjson" => script.badjson = Some(flag(key, value)?),
        "reasoning" => script.reasoning = Some(required(key, value)?.to_owned()),
        "refusal" => script.refusal = Some(required(key, value)?.to_owned()),
        "chunks" => script.chunks = Some(number(key, value)?),
        "chunk_tokens" => script.chunk_tokens = Some(number(key, value)?),
        "cached_tokens" => script.cached_tokens = Some(number(key, value)?),
        "first_token_ms" => script.first_token_ms = Some(milliseconds(key, value)?),
        "between_ms" => script.between_ms = Some(milliseconds(key, value)?),
        "jitter" => script.jitter = Some(milliseconds(key, value)?),
        "finish" => script.finish = Some(required(key, value)?.to_owned()),
        "status" => script.status = Some(number(key, value)?),
        "retry_after" => script.retry_after = Some(number(key, value)?),
        "message" => script.message = Some(required(key, value)?.to_owned()),
        "hang" => script.hang = Some(flag(key, value)?),
        "reset" => script.reset = Some(flag(key, value)?),
        "reset_after" => script.reset_after = Some(number(key, value)?),
        "cut_after" => script.cut_after = Some(number(key, value)?),
        "garbage" => script.garbage = Some(flag(key, value)?),
        "garbage_after" => script.garbage_after = Some(number(key, value)?),
        "empty" => script.empty = Some(flag(key, value)?),
        "expired_token" => script.expired_token = Some(flag(key, value)?),
        "error_in_stream_after" => script.error_in_stream_after = Some(number(key, value)?),
        "ok_with_error_body" => script.ok_with_error_body = Some(flag(key, value)?),
        "split_utf8" => script.split_utf8 = Some(flag(key, value)?),
        "split_escapes" => script.split_escapes = Some(flag(key, value)?),
        "slow_loris" => script.slow_loris = Some(milliseconds(key, value)?),
        other => match other.strip_prefix("x.") {
            Some(name) => {
                script.x.insert(name.to_owned(), value.unwrap_or("true").to_owned());
            }
            None => return Err(DirectiveError(format!("unknown key '{other}'"))),
        },
    }
    Ok(())
}

fn required<'a>(key: &str, value: Option<&'a str>) -> Result<&'a str, DirectiveError> {
    value.ok_or_else(|| DirectiveError(format!("'{key}' needs a value")))
}

fn flag(key: &str, value: Option<&str>) -> Result<bool, DirectiveError> {
    match value {
        None | Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(other) => Err(DirectiveError(format!("'{key}' is true or false, not '{other}'"))),
    }
}

fn number<T: std::str::FromStr>(key: &str, value: Option<&str>) -> Result<T, DirectiveError> {
    let text = required(key, value)?;
    text.trim().parse().map_err(|_| DirectiveError(format!("'{key}': '{text}' is no number")))
}

fn milliseconds(key: &str, value: Option<&str>) -> Result<f64, DirectiveError> {
    let number: f64 = number(key, value)?;
    if (0.0..=3_600_000.0).contains(&number) {
        Ok(number)
    } else {
        Err(DirectiveError(format!("'{key}' is from 0 to 3600000")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn script(text: &str) -> Script {
        parse(text).expect("valid").expect("present")
    }

    #[test]
    fn plain_text_has_no_script() {
        assert_eq!(parse("Привет [[не директива]] [sim: echo]"), Ok(None));
    }

    #[test]
    fn keys_and_values() {
        let script =
            script("до [[sim: echo; chunks=3;first_token_ms=12.5; finish = length ]] после");
        assert_eq!(script.echo, Some(true));
        assert_eq!(script.chunks, Some(3));
        assert_eq!(script.first_token_ms, Some(12.5));
        assert_eq!(script.finish.as_deref(), Some("length"));
    }

    #[test]
    fn texts_may_hold_anything() {
        let escaped = script(r"[[sim: text=Привет\; мир\n\]\] 🙂; lang=ru]]");
        assert_eq!(escaped.text.as_deref(), Some("Привет; мир\n]] 🙂"));
        assert_eq!(escaped.lang, Some(Language::Ru));
        let quoted = script(r#"[[sim: text="a; ]] \u043f\ud83d\ude42"; echo=false]]"#);
        assert_eq!(quoted.text.as_deref(), Some("a; ]] п🙂"));
        assert_eq!(quoted.echo, Some(false));
    }

    #[test]
    fn parallel_calls_with_nested_arguments() {
        let script =
            script(r#"[[sim: tool=weather{"city":"]]; Москва","days":[[1]]}; tool=time]]"#);
        assert_eq!(script.tool.len(), 2);
        assert_eq!(script.tool[0].arguments, Some(json!({"city": "]]; Москва", "days": [[1]]})));
        assert_eq!((script.tool[1].name.as_str(), &script.tool[1].arguments), ("time", &None));
    }

    #[test]
    fn several_directives_merge() {
        let script = script("[[sim: status=429]] и [[sim: retry_after=2; x.flag=on]]");
        assert_eq!((script.status, script.retry_after), (Some(429), Some(2)));
        assert_eq!(script.x["flag"], "on");
    }

    #[test]
    fn faults_are_named() {
        for (text, part) in [
            ("[[sim: ekho]]", "unknown key 'ekho'"),
            ("[[sim: echo", "no closing"),
            ("[[sim: chunks=many]]", "is no number"),
            ("[[sim: text]]", "needs a value"),
            ("[[sim: tool=f{bad}]]", "not JSON"),
            ("[[sim: hang=maybe]]", "true or false"),
            ("[[sim: slow_loris=-1]]", "from 0"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn directives_are_taken_out() {
        assert_eq!(without_directives("a [[sim: echo]] b [[sim: chunks=2]]"), "a  b");
        assert_eq!(without_directives("[[sim: echo]]\nПривет 🙂"), "Привет 🙂");
    }
}
