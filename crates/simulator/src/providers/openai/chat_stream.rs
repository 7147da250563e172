//! Chat completions as server-sent events.

use bytes::Bytes;
use serde_json::Value;

use super::chat_wire::{Envelope, UNFILTERED, filter_results, finish_word, logprobs, usage};
use crate::answer::WireEvent;
use crate::json_text::JsonText;
use crate::providers::Provider;
use crate::reply::Reply;

/// One chunk to come.
#[derive(Clone, Copy, Debug)]
enum Step {
    Comment,
    PromptFilter,
    Role(usize),
    Reasoning(usize, usize),
    Text(usize, usize),
    Call(usize, usize),
    /// Bytes of a call's arguments.
    Arguments {
        choice: usize,
        call: usize,
        start: usize,
        end: usize,
    },
    Finish(usize),
    Usage,
    Done,
}

/// The answer as server-sent events.
pub(crate) fn events(
    envelope: Envelope,
    reply: &Reply,
) -> impl Iterator<Item = WireEvent> + Send + 'static {
    let reply = reply.clone();
    let steps = steps(&envelope, &reply);
    let mut sent_tokens = 0;
    steps.into_iter().map(move |step| {
        let content = matches!(
            step,
            Step::Reasoning(..) | Step::Text(..) | Step::Call(..) | Step::Arguments { .. }
        );
        sent_tokens += u64::from(content);
        let bytes = encode(&envelope, &reply, step, sent_tokens);
        WireEvent { bytes, content }
    })
}

fn steps(envelope: &Envelope, reply: &Reply) -> Vec<Step> {
    let mut steps = Vec::with_capacity(reply.chunk_count() * reply.choices.len() + 6);
    match envelope.provider {
        Provider::OpenRouter => steps.push(Step::Comment),
        Provider::Azure => steps.push(Step::PromptFilter),
        _ => {}
    }
    for (at, choice) in reply.choices.iter().enumerate() {
        steps.push(Step::Role(at));
        if let Some(reasoning) = &choice.reasoning
            && !envelope.reasoning_members.is_empty()
        {
            steps.extend((0..reasoning.len()).map(|chunk| Step::Reasoning(at, chunk)));
        }
        steps.extend((0..choice.text.len()).map(|chunk| Step::Text(at, chunk)));
        for (call, made) in choice.tool_calls.iter().enumerate() {
            steps.push(Step::Call(at, call));
            // Ollama, llama.cpp's simple templates and Gemini send a call whole.
            if !whole_calls(envelope.provider) {
                let mut start = 0;
                for end in argument_ends(&made.raw) {
                    steps.push(Step::Arguments { choice: at, call, start, end });
                    start = end;
                }
            }
        }
        steps.push(Step::Finish(at));
    }
    if envelope.include_usage {
        steps.push(Step::Usage);
    }
    steps.push(Step::Done);
    steps
}

fn whole_calls(provider: Provider) -> bool {
    matches!(provider, Provider::Ollama | Provider::Gemini)
}

/// Where pieces of about 8 characters of `arguments` end.
fn argument_ends(arguments: &str) -> Vec<usize> {
    let mut ends: Vec<usize> =
        arguments.char_indices().map(|(at, _)| at).skip(8).step_by(8).collect();
    ends.push(arguments.len());
    ends
}

fn encode(envelope: &Envelope, reply: &Reply, step: Step, sent_tokens: u64) -> Bytes {
    match step {
        Step::Comment => return Bytes::from_static(b": OPENROUTER PROCESSING\n\n"),
        Step::Done => return Bytes::from_static(b"data: [DONE]\n\n"),
        _ => {}
    }
    let mut json = JsonText::with_capacity(384);
    json.raw("data: ");
    if matches!(step, Step::PromptFilter) {
        json.raw("{\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\",\"object\":\"\",")
            .raw("\"prompt_filter_results\":[{\"prompt_index\":0,\"content_filter_results\":")
            .raw(UNFILTERED)
            .raw(",\"jailbreak\":{\"filtered\":false,\"detected\":false}}}]}\n\n");
        return json.into_bytes();
    }
    json.raw("{\"id\":")
        .string(&envelope.id)
        .raw(",\"object\":\"chat.completion.chunk\",\"created\":");
    json.number(envelope.created).raw(",\"model\":").string(&envelope.model);
    envelope.close(&mut json);
    json.raw(",\"choices\":[");
    choice_of(&mut json, envelope, reply, step);
    json.raw("]");
    match step {
        Step::Usage => {
            json.raw(",\"usage\":");
            usage(&mut json, envelope.provider, reply, reply.completion_tokens);
        }
        _ if envelope.continuous_usage => {
            json.raw(",\"usage\":");
            usage(&mut json, envelope.provider, reply, sent_tokens.min(reply.completion_tokens));
        }
        // Said explicitly by those that follow OpenAI to the letter.
        _ if envelope.include_usage
            && matches!(envelope.provider, Provider::OpenAi | Provider::Azure | Provider::Qwen) =>
        {
            json.raw(",\"usage\":null");
        }
        _ => {}
    }
    json.raw("}\n\n");
    json.into_bytes()
}

fn choice_of(json: &mut JsonText, envelope: &Envelope, reply: &Reply, step: Step) {
    let (index, finish) = match step {
        Step::Role(at) | Step::Reasoning(at, _) | Step::Text(at, _) | Step::Call(at, _) => {
            (at, None)
        }
        Step::Arguments { choice, .. } => (choice, None),
        Step::Finish(at) => (at, Some(&reply.choices[at].finish)),
        _ => return,
    };
    let choice = &reply.choices[index];
    let mut logged = None;
    json.raw("{\"index\":").number(index as u64).raw(",\"delta\":{");
    match step {
        Step::Role(_) => {
            json.raw("\"role\":\"assistant\",\"content\":");
            let calls_only =
                choice.refusal || (choice.text.is_empty() && !choice.tool_calls.is_empty());
            json.raw(if calls_only { "null" } else { "\"\"" });
            if matches!(envelope.provider, Provider::OpenAi | Provider::Azure) {
                json.raw(",\"refusal\":null");
            }
        }
        Step::Reasoning(_, chunk) => {
            let piece = choice.reasoning.as_ref().and_then(|text| text.get(chunk)).unwrap_or("");
            if matches!(envelope.provider, Provider::Qwen) {
                json.raw("\"content\":null,");
            }
            for (at, member) in envelope.reasoning_members.iter().enumerate() {
                json.raw(if at > 0 { ",\"" } else { "\"" }).raw(member).raw("\":").string(piece);
            }
        }
        Step::Text(_, chunk) => {
            let piece = choice.text.get(chunk).unwrap_or("");
            json.raw(if choice.refusal { "\"refusal\":" } else { "\"content\":" }).string(piece);
            logged = Some(piece);
        }
        Step::Call(_, call) => {
            let made = &choice.tool_calls[call];
            json.raw("\"tool_calls\":[{\"index\":").number(call as u64);
            json.raw(",\"id\":").string(&envelope.call_id(index, call));
            json.raw(",\"type\":\"function\",\"function\":{\"name\":").string(&made.name);
            json.raw(",\"arguments\":");
            json.string(if whole_calls(envelope.provider) { &made.raw } else { "" }).raw("}}]");
        }
        Step::Arguments { call, start, end, .. } => {
            json.raw("\"tool_calls\":[{\"index\":").number(call as u64);
            if envelope.provider == Provider::Qwen {
                json.raw(",\"id\":\"\",\"type\":\"function\"");
            }
            let piece = choice.tool_calls[call].raw.get(start..end).unwrap_or("");
            json.raw(",\"function\":{\"arguments\":").string(piece).raw("}}]");
        }
        _ => {}
    }
    json.raw("}");
    if envelope.filtered() {
        let results = if matches!(step, Step::Role(_)) { "{" } else { filter_results(finish) };
        json.raw(",\"content_filter_results\":").raw(results).raw("}");
    }
    json.raw(",\"logprobs\":");
    match logged {
        Some(piece) => logprobs(json, envelope, piece),
        None => {
            json.raw("null");
        }
    }
    json.raw(",\"finish_reason\":").string_or_null(finish.map(finish_word));
    if envelope.provider == Provider::Vllm && finish.is_some() {
        json.raw(",\"stop_reason\":").string_or_null(choice.stop_sequence.as_deref());
    }
    json.raw("}");
}

/// The event in which a stream reports a failure.
pub(crate) fn error_event(envelope: &Envelope, error: &Value) -> Bytes {
    let mut json = JsonText::with_capacity(256);
    json.raw("data: ");
    if envelope.provider == Provider::OpenRouter {
        // The error rides on a last chunk.
        json.raw("{\"id\":").string(&envelope.id);
        json.raw(",\"object\":\"chat.completion.chunk\",\"created\":").number(envelope.created);
        json.raw(",\"model\":").string(&envelope.model).raw(",\"error\":").value(&error["error"]);
        json.raw(
            ",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}",
        );
    } else {
        json.value(error);
    }
    json.raw("\n\n");
    if matches!(envelope.provider, Provider::Vllm | Provider::SgLang) {
        json.raw("data: [DONE]\n\n");
    }
    json.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::argument_ends;

    #[test]
    fn arguments_are_cut_between_characters() {
        for arguments in ["{}", r#"{"город":"Санкт-Петербург 🙂"}"#, ""] {
            let mut start = 0;
            let mut joined = String::new();
            for end in argument_ends(arguments) {
                joined.push_str(&arguments[start..end]);
                start = end;
            }
            assert_eq!(joined, arguments);
        }
    }
}
