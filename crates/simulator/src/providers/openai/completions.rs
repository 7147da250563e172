//! The older `/completions`.

use bytes::Bytes;
use serde_json::Value;

use super::chat_request::strict;
use super::error::ApiError;
use super::fields::{self, unrecognized, wrong_type};
use crate::answer::WireEvent;
use crate::json_text::JsonText;
use crate::prompt::Prompt;
use crate::providers::Provider;
use crate::reply::{Finish, Reply};
use crate::text::count_tokens;

const MEMBERS: &[&str] = &[
    "model",
    "prompt",
    "best_of",
    "echo",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_tokens",
    "n",
    "presence_penalty",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "suffix",
    "temperature",
    "top_p",
    "user",
];
/// What `max_tokens` is when it is not given.
const DEFAULT_MAX_TOKENS: i64 = 16;

pub(crate) struct CompletionRequest {
    pub(crate) prompt: Prompt,
    prompts: Vec<String>,
    echo: bool,
    include_usage: bool,
}

pub(crate) fn read(
    provider: Provider,
    body: &Value,
    deployment: Option<&str>,
) -> Result<CompletionRequest, ApiError> {
    let Value::Object(body) = body else {
        return Err(ApiError::invalid("Invalid request body: expected an object."));
    };
    if strict(provider)
        && let Some(error) = unrecognized(body, MEMBERS, &[])
    {
        return Err(error);
    }
    let model = match (deployment, fields::string(body, "model", "model")?) {
        (Some(deployment), _) => deployment.to_owned(),
        (None, Some(model)) if !model.is_empty() => model.to_owned(),
        _ => return Err(ApiError::invalid("you must provide a model parameter")),
    };
    let prompts = match body.get("prompt") {
        None | Some(Value::Null) => vec!["<|endoftext|>".to_owned()],
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) if items.iter().all(Value::is_u64) => {
            let numbers: Vec<String> = items.iter().map(ToString::to_string).collect();
            vec![numbers.join(" ")]
        }
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| match item {
                Value::String(text) => Ok(text.clone()),
                Value::Array(_) => Ok(item.to_string()),
                other => Err(wrong_type("prompt", "a string", other)),
            })
            .collect::<Result<_, _>>()?,
        Some(other) => return Err(wrong_type("prompt", "one of a string or an array", other)),
    };
    let stream = fields::boolean(body, "stream")?.unwrap_or(false);
    let options = fields::object(body, "stream_options", "stream_options")?;
    let include_usage = match options {
        Some(_) if !stream => {
            return Err(ApiError::invalid(
                "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            )
            .param("stream_options"));
        }
        Some(options) => fields::boolean(options, "include_usage")?.unwrap_or(false),
        None => false,
    };
    fields::decimal(body, "temperature", 0.0, 2.0)?;
    fields::decimal(body, "top_p", 0.0, 1.0)?;
    fields::integer(body, "logprobs", 0, 5)?;
    let n = fields::integer(body, "n", 1, 128)?.unwrap_or(1);
    let max_tokens = fields::integer(body, "max_tokens", 0, i64::MAX)?;
    let max_tokens = match provider {
        Provider::OpenAi | Provider::Azure | Provider::Vllm => {
            Some(max_tokens.unwrap_or(DEFAULT_MAX_TOKENS))
        }
        _ => max_tokens,
    };
    Ok(CompletionRequest {
        prompt: Prompt {
            provider,
            model,
            text: prompts.join("\n"),
            prompt_tokens: prompts.iter().map(|prompt| count_tokens(prompt)).sum(),
            n: usize::try_from(n).unwrap_or(1).saturating_mul(prompts.len()).min(1024),
            max_tokens: max_tokens.and_then(|most| most.try_into().ok()),
            stop: fields::strings(body, "stop", if strict(provider) { 4 } else { 64 })?,
            stream,
            ..Prompt::default()
        },
        echo: fields::boolean(body, "echo")?.unwrap_or(false),
        prompts,
        include_usage,
    })
}

struct Envelope {
    id: String,
    model: String,
    created: u64,
}

impl Envelope {
    fn new(request: &CompletionRequest, reply: &Reply, created: u64) -> Self {
        let id = format!("cmpl-{}", reply.draw.branch(9).alphanumeric(29));
        Self { id, model: request.prompt.model.clone(), created }
    }

    fn open(&self) -> JsonText {
        let mut json = JsonText::with_capacity(384);
        json.raw("{\"id\":").string(&self.id).raw(",\"object\":\"text_completion\",\"created\":");
        json.number(self.created).raw(",\"model\":").string(&self.model).raw(",\"choices\":[");
        json
    }
}

fn choice(json: &mut JsonText, index: usize, text: &str, finish: Option<&Finish>) {
    json.raw("{\"text\":").string(text).raw(",\"index\":").number(index as u64);
    let word = finish.map(|finish| match finish {
        Finish::Length => "length",
        Finish::ContentFilter => "content_filter",
        _ => "stop",
    });
    json.raw(",\"logprobs\":null,\"finish_reason\":").string_or_null(word).raw("}");
}

fn usage(json: &mut JsonText, reply: &Reply) {
    json.raw("\"usage\":{\"prompt_tokens\":").number(reply.prompt_tokens);
    json.raw(",\"completion_tokens\":").number(reply.completion_tokens);
    json.raw(",\"total_tokens\":").number(reply.prompt_tokens + reply.completion_tokens).raw("}");
}

pub(crate) fn whole(request: &CompletionRequest, reply: &Reply, created: u64) -> Bytes {
    let mut json = Envelope::new(request, reply, created).open();
    let each = (reply.choices.len() / request.prompts.len()).max(1);
    for (index, made) in reply.choices.iter().enumerate() {
        json.raw(if index > 0 { "," } else { "" });
        let echoed = request.prompts.get(index / each).filter(|_| request.echo);
        let text = format!("{}{}", echoed.map_or("", String::as_str), made.text.as_str());
        choice(&mut json, index, &text, Some(&made.finish));
    }
    json.raw("],");
    usage(&mut json, reply);
    json.raw("}");
    json.into_bytes()
}

pub(crate) fn events(
    request: &CompletionRequest,
    reply: &Reply,
    created: u64,
) -> impl Iterator<Item = WireEvent> + Send + 'static {
    let envelope = Envelope::new(request, reply, created);
    let include_usage = request.include_usage;
    let reply = reply.clone();
    let mut steps: Vec<(usize, Option<usize>)> = Vec::new();
    for (index, made) in reply.choices.iter().enumerate() {
        steps.extend((0..made.text.len()).map(|chunk| (index, Some(chunk))));
        steps.push((index, None));
    }
    let last = if include_usage { 2 } else { 1 };
    let total = steps.len();
    (0..total + last).map(move |at| {
        if at == total + last - 1 {
            return WireEvent::frame(Bytes::from_static(b"data: [DONE]\n\n"));
        }
        let mut json = JsonText::with_capacity(320);
        json.raw("data: ").raw("{\"id\":").string(&envelope.id);
        json.raw(",\"object\":\"text_completion\",\"created\":").number(envelope.created);
        json.raw(",\"model\":").string(&envelope.model).raw(",\"choices\":[");
        let Some(&(index, chunk)) = steps.get(at) else {
            json.raw("],");
            usage(&mut json, &reply);
            json.raw("}\n\n");
            return WireEvent::frame(json.into_bytes());
        };
        let made = &reply.choices[index];
        let text = chunk.and_then(|chunk| made.text.get(chunk)).unwrap_or("");
        choice(&mut json, index, text, chunk.is_none().then_some(&made.finish));
        json.raw("]}\n\n");
        WireEvent { bytes: json.into_bytes(), content: chunk.is_some() }
    })
}
