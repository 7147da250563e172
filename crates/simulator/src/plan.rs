//! From prompt to reply: script, defaults, and what the request itself asks for.

use serde_json::{Value, json};

use crate::bill::Charge;
use crate::directive;
use crate::draw::Draw;
use crate::exchange::Exchange;
use crate::prices::list_price;
use crate::prompt::{Prompt, ToolChoice};
use crate::reply::{Choice, Chunked, Finish, Pace, Reply, ToolCall};
use crate::schema;
use crate::script::{Fault, Language, Script, duration};
use crate::text;
use crate::world::{Allowance, World};

/// Decides the answer to `prompt`. Draws the key's next ordinal: call once per request.
///
/// A malformed directive becomes a 400 that names the fault, so that a typo in a test shows.
pub(crate) fn plan(exchange: &Exchange, prompt: &mut Prompt) -> Reply {
    let world = &exchange.world;
    let draw = world.draw_for(prompt.provider, &prompt.key);
    let profile = world.profile();
    for name in profile.header_names() {
        if let Some(value) = exchange.header(name) {
            prompt.headers.push((name.to_owned(), value.to_owned()));
        }
    }
    let mut script = profile.script_for(prompt, draw);
    match directive::parse(&prompt.text) {
        Ok(Some(directives)) => {
            script.get_or_insert_with(Script::default).overlay(directives);
        }
        Ok(None) => {}
        Err(error) => {
            let script = script.get_or_insert_with(Script::default);
            (script.status, script.message) = (Some(400), Some(error.to_string()));
        }
    }
    let allowance = world.admit(prompt.provider, &prompt.key, prompt.prompt_tokens);
    let mut reply = reply_to(world, prompt, &script.unwrap_or_default(), draw, allowance);
    if !allowance.allowed {
        let retry_after = u32::try_from(allowance.reset_s).ok();
        reply.fault = Some(Fault::Status { code: 429, retry_after, message: None });
    }
    reply
}

/// The part of [`plan`] that depends on nothing but its arguments (and once-only token faults).
pub(crate) fn reply_to(
    world: &World,
    prompt: &Prompt,
    script: &Script,
    draw: Draw,
    allowance: Allowance,
) -> Reply {
    let language = script.lang.unwrap_or_else(|| text::language_of(&prompt.text));
    let n = prompt.n.max(1);
    let choices: Vec<Choice> = (0..n as u64)
        .map(|index| choice(world, prompt, script, draw.branch(100 + index), language))
        .collect();
    let count = |text: &Chunked| world.canned.known_tokens(text);
    let reasoning_tokens: u64 =
        choices.iter().filter_map(|choice| choice.reasoning.as_ref()).map(count).sum();
    let completion_tokens: u64 = reasoning_tokens
        + choices
            .iter()
            .map(|choice| {
                let calls = choice.tool_calls.iter();
                let calls: u64 = calls
                    .map(|call| 4 + text::count_tokens(&call.name) + text::count_tokens(&call.raw))
                    .sum();
                calls + count(&choice.text)
            })
            .sum::<u64>();
    let mut fault = script.fault();
    if script.expired_token == Some(true) && world.expires_now(prompt.provider, &prompt.text) {
        fault = Some(Fault::ExpiredToken);
    }
    let cached_tokens = script.cached_tokens.unwrap_or(0).min(prompt.prompt_tokens);
    Reply {
        prompt_tokens: prompt.prompt_tokens,
        cached_tokens,
        completion_tokens,
        reasoning_tokens,
        pace: Pace {
            first: duration(script.first_token_ms.unwrap_or(0.0)),
            between: duration(script.between_ms.unwrap_or(0.0)),
            jitter: script.jitter.unwrap_or(0.0),
            draw: draw.branch(2),
        },
        fault,
        shape: script.shape(),
        draw: draw.branch(1),
        allowance,
        extra: script.x.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        charge: Charge {
            provider: prompt.provider,
            key: prompt.key.clone(),
            model: prompt.model.clone(),
            prompt_tokens: prompt.prompt_tokens,
            cached_tokens,
            completion_tokens,
            reasoning_tokens,
            price: list_price(prompt.provider, &prompt.model),
        },
        choices,
    }
}

fn choice(
    world: &World,
    prompt: &Prompt,
    script: &Script,
    draw: Draw,
    language: Language,
) -> Choice {
    let reasoning = match (&script.reasoning, prompt.reasoning) {
        (Some(text), _) => Some(cut(text, script)),
        (None, true) => Some(cut(canned_reasoning(language), script)),
        (None, false) => None,
    };
    let tool_calls = calls(prompt, script, draw, language);
    let (mut chunked, mut finish) = if tool_calls.is_empty() {
        (content(world, prompt, script, draw, language), Finish::Stop)
    } else {
        // A script that gives both a text and calls gets both.
        let beside = script.text.as_deref().map_or_else(Chunked::empty, |text| cut(text, script));
        (beside, Finish::ToolCalls)
    };
    let mut stop_sequence = None;
    if let Some((at, stop)) = earliest_stop(chunked.as_str(), &prompt.stop) {
        chunked = cut(&chunked.as_str()[..at], script);
        stop_sequence = Some(stop.to_owned());
    }
    if let Some(most) = prompt.max_tokens
        && world.canned.known_tokens(&chunked) > most
    {
        chunked = cut(text::truncated(chunked.as_str(), most), script);
        (finish, stop_sequence) = (Finish::Length, None);
    }
    if let Some(word) = &script.finish {
        finish = match word.as_str() {
            "stop" => Finish::Stop,
            "length" => Finish::Length,
            "tool_calls" => Finish::ToolCalls,
            "content_filter" => Finish::ContentFilter,
            other => Finish::Other(other.into()),
        };
    }
    let refusal = script.refusal.is_some();
    Choice { reasoning, text: chunked, tool_calls, finish, refusal, stop_sequence }
}

fn canned_reasoning(language: Language) -> &'static str {
    match language {
        Language::Ru => "Пользователь задал вопрос. Отвечу коротко и по делу.",
        Language::En => "The user asked a question. A short and plain answer will do.",
    }
}

/// What is said when no tool is called.
fn content(
    world: &World,
    prompt: &Prompt,
    script: &Script,
    draw: Draw,
    language: Language,
) -> Chunked {
    if let Some(text) = script.refusal.as_ref().or(script.text.as_ref()) {
        return cut(text, script);
    }
    if script.badjson == Some(true) {
        return cut("{\"answer\": \"оборвано\", \"items\": [1, 2,", script);
    }
    if !prompt.tool_results.is_empty() {
        let opening = match language {
            Language::Ru => "Инструменты вернули: ",
            Language::En => "The tools returned: ",
        };
        return cut(&format!("{opening}{}", prompt.tool_results.join("; ")), script);
    }
    if script.echo == Some(true) {
        return cut(&directive::without_directives(&prompt.text), script);
    }
    if let Some(schema) = &prompt.schema {
        return cut(&schema::generate(schema, draw, language).to_string(), script);
    }
    if prompt.json_object || script.json == Some(true) {
        let sample = match language {
            Language::Ru => json!({"ответ": "да", "число": 42, "список": ["а", "б"]}),
            Language::En => json!({"answer": "yes", "number": 42, "list": ["a", "b"]}),
        };
        return cut(&sample.to_string(), script);
    }
    if let Some(chunks) = script.chunks {
        let tokens = chunks.saturating_mul(script.chunk_tokens.unwrap_or(1)).min(1_000_000);
        let filler = text::filler(language, tokens);
        return text::by_tokens(&filler, script.chunk_tokens.unwrap_or(1));
    }
    if prompt.images > 0 {
        let seen = match language {
            Language::Ru => "Получено изображений: ",
            Language::En => "Images received: ",
        };
        return cut(&format!("{seen}{}.", prompt.images), script);
    }
    match script.chunk_tokens {
        None => world.canned.answer(language).0.clone(),
        Some(size) => text::by_tokens(world.canned.answer(language).0.as_str(), size),
    }
}

fn cut(text: &str, script: &Script) -> Chunked {
    match (script.chunks, script.chunk_tokens) {
        (Some(count), _) => text::into_chunks(text, count),
        (None, size) => text::by_tokens(text, size.unwrap_or(1)),
    }
}

fn earliest_stop<'a>(text: &str, stops: &'a [String]) -> Option<(usize, &'a str)> {
    stops
        .iter()
        .filter(|stop| !stop.is_empty())
        .filter_map(|stop| text.find(stop.as_str()).map(|at| (at, stop.as_str())))
        .min_by_key(|(at, _)| *at)
}

fn calls(prompt: &Prompt, script: &Script, draw: Draw, language: Language) -> Vec<ToolCall> {
    if !prompt.tool_results.is_empty()
        || prompt.tool_choice == ToolChoice::None
        || script.refusal.is_some()
    {
        return Vec::new();
    }
    if !script.tool.is_empty() {
        let scripted = script.tool.iter().enumerate().map(|(index, call)| {
            let offered = prompt.tools.iter().find(|tool| tool.name == call.name);
            let arguments = call.arguments.clone().unwrap_or_else(|| {
                let parameters = offered.map_or(&Value::Null, |tool| &tool.parameters);
                schema::generate(parameters, draw.branch(index as u64), language)
            });
            tool_call(&call.name, arguments, script)
        });
        return scripted.collect();
    }
    if prompt.tools.is_empty() {
        return Vec::new();
    }
    let speaks = script.text.is_some() || script.echo == Some(true);
    let (first, count) = match &prompt.tool_choice {
        ToolChoice::Named(name) => {
            (prompt.tools.iter().position(|tool| tool.name == *name).unwrap_or(0), 1)
        }
        ToolChoice::Required => (0, 1),
        _ if script.tools.is_some() => (0, 1),
        _ if !speaks && asks_for_weather(&prompt.text) => (0, 1),
        _ => return Vec::new(),
    };
    let mut count = script.tools.unwrap_or(count);
    if !prompt.parallel_tools {
        count = count.min(1);
    }
    (0..count)
        .map(|index| {
            let tool = &prompt.tools[(first + index) % prompt.tools.len()];
            let tool = if matches!(prompt.tool_choice, ToolChoice::Named(_)) {
                &prompt.tools[first]
            } else {
                tool
            };
            let arguments = schema::generate(&tool.parameters, draw.branch(index as u64), language);
            tool_call(&tool.name, arguments, script)
        })
        .collect()
}

fn tool_call(name: &str, arguments: Value, script: &Script) -> ToolCall {
    let mut raw = arguments.to_string();
    if script.badjson == Some(true) {
        raw.pop();
        raw.push_str(",,");
    }
    ToolCall { name: name.to_owned(), arguments, raw }
}

fn asks_for_weather(text: &str) -> bool {
    let lower = text.to_lowercase();
    lower.contains("погод") || lower.contains("weather")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;
    use crate::prompt::ToolOffer;

    fn planned(prompt: &Prompt) -> Reply {
        let world = World::new(Some(1), Profile::default());
        let script = directive::parse(&prompt.text).expect("directives").unwrap_or_default();
        let draw = world.draw_for(prompt.provider, &prompt.key);
        let allowance = world.admit(prompt.provider, &prompt.key, 1);
        reply_to(&world, prompt, &script, draw, allowance)
    }

    fn prompt(text: &str) -> Prompt {
        let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
        let tools = ["weather", "time"]
            .map(|name| ToolOffer { name: name.to_owned(), parameters: parameters.clone() });
        Prompt {
            text: text.to_owned(),
            tools: tools.to_vec(),
            parallel_tools: true,
            prompt_tokens: 10,
            ..Prompt::default()
        }
    }

    fn text(reply: &Reply) -> &str {
        reply.first_choice().text.as_str()
    }

    #[test]
    fn language_follows_the_prompt_unless_told() {
        assert!(text(&planned(&prompt("Привет"))).contains("симулированной"));
        assert!(text(&planned(&prompt("Hello"))).contains("simulated"));
        assert!(text(&planned(&prompt("Hello [[sim: lang=ru]]"))).contains("симулированной"));
    }

    #[test]
    fn tools_are_called_when_asked_for_and_only_then() {
        let names = |prompt: &Prompt| {
            let reply = planned(prompt);
            let calls = &reply.first_choice().tool_calls;
            calls.iter().map(|call| call.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&prompt("Какая погода?")), ["weather"]);
        assert_eq!(names(&prompt("Привет [[sim: tools=2]]")), ["weather", "time"]);
        assert!(names(&prompt("Привет")).is_empty());
        assert!(names(&prompt("погода [[sim: echo]]")).is_empty());
        let mut choosing = prompt("Привет");
        choosing.tool_choice = ToolChoice::Named("time".to_owned());
        assert_eq!(names(&choosing), ["time"]);
        choosing.tool_choice = ToolChoice::None;
        choosing.text = "погода [[sim: tool=weather]]".to_owned();
        assert!(names(&choosing).is_empty());
        let mut single = prompt("[[sim: tools=2]]");
        single.parallel_tools = false;
        assert_eq!(names(&single), ["weather"]);
        let mut answered = prompt("Какая погода?");
        answered.tool_results = vec!["снег".to_owned(), "дождь".to_owned()];
        assert!(names(&answered).is_empty());
        assert!(text(&planned(&answered)).ends_with("снег; дождь"));
    }

    #[test]
    fn ends_are_where_the_request_puts_them() {
        let mut stopping = prompt("[[sim: text=раз два три]]");
        stopping.stop = vec!["три".to_owned(), "два".to_owned()];
        let reply = planned(&stopping);
        assert_eq!(text(&reply), "раз ");
        assert_eq!(reply.first_choice().stop_sequence.as_deref(), Some("два"));
        let mut short = prompt("[[sim: text=раз два три]]");
        short.max_tokens = Some(2);
        let reply = planned(&short);
        assert_eq!((text(&reply), reply.completion_tokens), ("раз два", 2));
        assert_eq!(reply.first_choice().finish, Finish::Length);
        let reply = planned(&prompt("[[sim: finish=blacklist]]"));
        assert_eq!(reply.first_choice().finish, Finish::Other("blacklist".into()));
    }

    #[test]
    fn structured_answers_satisfy_or_break() {
        let mut schema = prompt("Реши");
        schema.schema = Some(json!({"type": "object", "properties": {"a": {"type": "integer"}}}));
        let value: Value = serde_json::from_str(text(&planned(&schema))).expect("JSON");
        assert!(value["a"].is_i64());
        schema.text = "[[sim: badjson]]".to_owned();
        assert!(serde_json::from_str::<Value>(text(&planned(&schema))).is_err());
        let broken = planned(&prompt("[[sim: badjson; tool=weather]]"));
        let call = &broken.first_choice().tool_calls[0];
        assert!(serde_json::from_str::<Value>(&call.raw).is_err());
    }

    #[test]
    fn reasoning_is_counted_apart() {
        let reply = planned(&prompt("[[sim: reasoning=думаю, думаю; text=да]]"));
        assert!(reply.reasoning_tokens > 0);
        assert_eq!(reply.completion_tokens, reply.reasoning_tokens + 1);
        assert_eq!(reply.charge.completion_tokens, reply.completion_tokens);
    }
}
