//! Answers of the model service: one object, or lines of cumulative text.

use serde_json::{Value, json};

use crate::answer::WireEvent;
use crate::reply::{Choice, Finish, Reply};

/// Version the service reports with every answer.
pub(crate) const MODEL_VERSION: &str = "23.10.2024";

/// The answer object of `completion`.
pub(crate) fn whole(reply: &Reply) -> Vec<u8> {
    let choice = reply.first_choice();
    let usage = usage(reply, reply.completion_tokens);
    result(&message(choice), final_status(choice), &usage).into_bytes()
}

/// One line per chunk, each with all the text so far; the last has the final status.
pub(crate) fn lines(reply: &Reply) -> impl Iterator<Item = WireEvent> + Send + 'static {
    let choice = reply.first_choice().clone();
    let reply = reply.clone();
    let chunks = choice.text.len();
    let calls = choice.tool_calls.len();
    // Hidden reasoning takes its time but shows nothing: it has no lines.
    let text_lines = if calls > 0 { chunks } else { chunks.saturating_sub(1) };
    let end = {
        let usage = usage(&reply, reply.completion_tokens);
        let mut line = result(&message(&choice), final_status(&choice), &usage);
        line.push('\n');
        if calls > 0 || chunks > 0 { WireEvent::content(line) } else { WireEvent::frame(line) }
    };
    let partial = (0..text_lines).filter_map(move |at| {
        let text = choice.text.up_to(at)?;
        // Tokens so far, in proportion to what is shown.
        let done = (at as u64 + 1) * reply.completion_tokens / chunks.max(1) as u64;
        let usage = usage(&reply, done.max(1));
        let message = json!({"role": "assistant", "text": text});
        let mut line = result(&message, "ALTERNATIVE_STATUS_PARTIAL", &usage);
        line.push('\n');
        Some(WireEvent::content(line))
    });
    partial.chain(std::iter::once(end))
}

fn message(choice: &Choice) -> Value {
    if choice.tool_calls.is_empty() {
        return json!({"role": "assistant", "text": choice.text.as_str()});
    }
    let calls: Vec<Value> = choice
        .tool_calls
        .iter()
        .map(|call| json!({"functionCall": {"name": call.name, "arguments": call.arguments}}))
        .collect();
    json!({"role": "assistant", "toolCallList": {"toolCalls": calls}})
}

fn final_status(choice: &Choice) -> &str {
    match &choice.finish {
        Finish::Stop => "ALTERNATIVE_STATUS_FINAL",
        Finish::Length => "ALTERNATIVE_STATUS_TRUNCATED_FINAL",
        Finish::ToolCalls => "ALTERNATIVE_STATUS_TOOL_CALLS",
        Finish::ContentFilter => "ALTERNATIVE_STATUS_CONTENT_FILTER",
        Finish::Other(word) => word,
    }
}

/// Counts as the gateway prints 64-bit integers: in strings.
fn usage(reply: &Reply, completion: u64) -> Value {
    json!({
        "inputTextTokens": reply.prompt_tokens.to_string(),
        "completionTokens": completion.to_string(),
        "totalTokens": (reply.prompt_tokens + completion).to_string(),
        "completionTokensDetails": {"reasoningTokens": reply.reasoning_tokens.to_string()},
    })
}

fn result(message: &Value, status: &str, usage: &Value) -> String {
    json!({"result": {
        "alternatives": [{"message": message, "status": status}],
        "usage": usage,
        "modelVersion": MODEL_VERSION,
    }})
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::planned::{planned, prompt};

    fn streamed(text: &str) -> Vec<Value> {
        let reply = planned(&prompt(text));
        lines(&reply)
            .map(|event| {
                assert_eq!(event.bytes.last(), Some(&b'\n'));
                serde_json::from_slice(&event.bytes).expect("a line is an object")
            })
            .collect()
    }

    fn alternative(line: &Value) -> &Value {
        &line["result"]["alternatives"][0]
    }

    #[test]
    fn text_accumulates_to_the_whole() {
        for text in ["а", "Съешь ещё этих 🥐🥐 булок", "с \"кавычками\" и\nстроками", "👩‍👩‍👧 семья"]
        {
            for chunks in [1, 2, 5, 100] {
                let request = format!("x [[sim: text={}; chunks={chunks}]]", Value::from(text));
                let whole: Value =
                    serde_json::from_slice(&whole(&planned(&prompt(&request)))).expect("an object");
                let lines = streamed(&request);
                let mut before = "";
                for line in &lines {
                    let shown = alternative(line)["message"]["text"].as_str().expect("text");
                    assert!(shown.starts_with(before) && shown.len() > before.len());
                    before = shown;
                }
                assert_eq!(before, text);
                let (last, partial) = lines.split_last().expect("at least one line");
                assert_eq!(last, &whole);
                assert_eq!(alternative(last)["status"], "ALTERNATIVE_STATUS_FINAL");
                for line in partial {
                    assert_eq!(alternative(line)["status"], "ALTERNATIVE_STATUS_PARTIAL");
                }
            }
        }
    }

    #[test]
    fn counts_are_strings_and_grow() {
        let lines = streamed("x [[sim: text=раз два три четыре]]");
        let done: Vec<u64> = lines
            .iter()
            .map(|line| {
                let usage = &line["result"]["usage"];
                let number = |name: &str| usage[name].as_str().unwrap().parse::<u64>().unwrap();
                assert_eq!(
                    number("inputTextTokens") + number("completionTokens"),
                    number("totalTokens")
                );
                number("completionTokens")
            })
            .collect();
        assert!(done.is_sorted() && done[0] < *done.last().unwrap(), "{done:?}");
    }

    #[test]
    fn calls_come_whole_in_the_last_line() {
        let lines = streamed("погода [[sim: tools=2]]");
        assert_eq!(lines.len(), 1);
        let alternative = alternative(&lines[0]);
        assert_eq!(alternative["status"], "ALTERNATIVE_STATUS_TOOL_CALLS");
        assert!(alternative["message"].get("text").is_none());
        let calls = alternative["message"]["toolCallList"]["toolCalls"].as_array().expect("calls");
        assert_eq!(calls.len(), 2);
        assert!(calls[0]["functionCall"]["arguments"]["city"].is_string());
    }
}
