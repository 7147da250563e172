//! What an answer should be like: the keys shared by directives in a prompt and by profiles.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

/// Wishes for one answer; absent keys leave the choice to what is below (profile, defaults).
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Script {
    pub(crate) echo: Option<bool>,
    pub(crate) text: Option<String>,
    pub(crate) lang: Option<Language>,
    /// Calls to make, in parallel.
    pub(crate) tool: Vec<ScriptedCall>,
    /// Call this many tools with generated arguments.
    pub(crate) tools: Option<usize>,
    pub(crate) json: Option<bool>,
    pub(crate) badjson: Option<bool>,
    pub(crate) reasoning: Option<String>,
    pub(crate) refusal: Option<String>,
    pub(crate) chunks: Option<usize>,
    pub(crate) chunk_tokens: Option<usize>,
    pub(crate) cached_tokens: Option<u64>,
    pub(crate) first_token_ms: Option<f64>,
    pub(crate) between_ms: Option<f64>,
    /// Sigma of the log-normal factor on both delays (0 = none, 0.5 = p99 about 3.2 medians).
    pub(crate) jitter: Option<f64>,
    pub(crate) finish: Option<String>,
    pub(crate) status: Option<u16>,
    pub(crate) retry_after: Option<u32>,
    pub(crate) message: Option<String>,
    pub(crate) hang: Option<bool>,
    pub(crate) reset: Option<bool>,
    pub(crate) reset_after: Option<usize>,
    pub(crate) cut_after: Option<usize>,
    pub(crate) garbage: Option<bool>,
    pub(crate) garbage_after: Option<usize>,
    pub(crate) empty: Option<bool>,
    pub(crate) expired_token: Option<bool>,
    pub(crate) error_in_stream_after: Option<usize>,
    pub(crate) ok_with_error_body: Option<bool>,
    pub(crate) split_utf8: Option<bool>,
    pub(crate) split_escapes: Option<bool>,
    /// Milliseconds between single bytes.
    pub(crate) slow_loris: Option<f64>,
    /// Provider-specific switches, named without their `x.`.
    pub(crate) x: std::collections::BTreeMap<String, String>,
}

/// Language of canned texts.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Language {
    Ru,
    En,
}

/// A call that the script dictates.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScriptedCall {
    pub(crate) name: String,
    /// Generated from the tool's schema when absent.
    #[serde(default)]
    pub(crate) arguments: Option<Value>,
}

/// What goes wrong. `_after(n)` counts content events already sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    /// An HTTP error in the provider's shape.
    Status { code: u16, retry_after: Option<u32>, message: Option<String> },
    /// Nothing is ever answered.
    Hang,
    /// TCP RST instead of an answer.
    Reset,
    /// TCP RST inside the body.
    ResetAfter(usize),
    /// FIN inside the body.
    CutAfter(usize),
    /// 200 with a body that is no such format.
    Garbage,
    /// A malformed event inside a stream, which then goes on.
    GarbageAfter(usize),
    /// 200 with no body (no events).
    Empty,
    /// 401 once for this text; the access token used is revoked.
    ExpiredToken,
    /// The provider's own error event, then the end.
    ErrorInStreamAfter(usize),
    /// 200 whose body is an error in the provider's shape.
    OkWithErrorBody,
}

/// How bytes are laid out in TCP segments.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Shape {
    #[default]
    Plain,
    /// Segments end inside code points.
    SplitUtf8,
    /// Non-ASCII is escaped as `\uXXXX` and segments end inside the escapes.
    SplitEscapes,
    /// One byte per segment, this far apart.
    SlowLoris(Duration),
}

macro_rules! overlay_options {
    ($into:ident, $from:ident: $($field:ident),+ $(,)?) => {
        $(if $from.$field.is_some() { $into.$field = $from.$field; })+
    };
}

impl Script {
    /// Keys of `above` win.
    pub(crate) fn overlay(&mut self, above: Self) {
        // An answer has one content: what chose it below no longer counts.
        if above.chooses_content() {
            (self.echo, self.text, self.tools, self.json, self.badjson, self.refusal) =
                (None, None, None, None, None, None);
            self.tool.clear();
        }
        overlay_options!(self, above:
            echo, text, lang, tools, json, badjson, reasoning, refusal, chunks, chunk_tokens,
            cached_tokens, first_token_ms, between_ms, jitter, finish, status, retry_after,
            message, hang, reset, reset_after, cut_after, garbage, garbage_after, empty,
            expired_token, error_in_stream_after, ok_with_error_body, split_utf8, split_escapes,
            slow_loris,
        );
        self.tool.extend(above.tool);
        self.x.extend(above.x);
    }

    fn chooses_content(&self) -> bool {
        self.echo.is_some()
            || self.text.is_some()
            || self.tools.is_some()
            || self.json.is_some()
            || self.badjson.is_some()
            || self.refusal.is_some()
            || !self.tool.is_empty()
    }

    /// The fault asked for; the earliest in an answer's life when there are several.
    /// [`Fault::ExpiredToken`] is left to the caller, who knows whether it is due.
    pub(crate) fn fault(&self) -> Option<Fault> {
        let on = |flag: Option<bool>| flag == Some(true);
        if on(self.hang) {
            return Some(Fault::Hang);
        }
        if on(self.reset) {
            return Some(Fault::Reset);
        }
        if let Some(code) = self.status.filter(|code| *code != 200) {
            let (retry_after, message) = (self.retry_after, self.message.clone());
            return Some(Fault::Status { code, retry_after, message });
        }
        if on(self.ok_with_error_body) {
            return Some(Fault::OkWithErrorBody);
        }
        if on(self.empty) {
            return Some(Fault::Empty);
        }
        if on(self.garbage) {
            return Some(Fault::Garbage);
        }
        None.or(self.garbage_after.map(Fault::GarbageAfter))
            .or(self.reset_after.map(Fault::ResetAfter))
            .or(self.cut_after.map(Fault::CutAfter))
            .or(self.error_in_stream_after.map(Fault::ErrorInStreamAfter))
    }

    pub(crate) fn shape(&self) -> Shape {
        if let Some(milliseconds) = self.slow_loris {
            return Shape::SlowLoris(duration(milliseconds));
        }
        if self.split_escapes == Some(true) {
            return Shape::SplitEscapes;
        }
        if self.split_utf8 == Some(true) {
            return Shape::SplitUtf8;
        }
        Shape::Plain
    }
}

/// Milliseconds as a duration, within a sane range whatever a profile says.
pub(crate) fn duration(milliseconds: f64) -> Duration {
    Duration::try_from_secs_f64(milliseconds.clamp(0.0, 3_600_000.0) / 1000.0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_content_replaces_earlier() {
        let mut script =
            Script { text: Some("a".to_owned()), chunks: Some(3), ..Script::default() };
        script.overlay(Script { echo: Some(true), ..Script::default() });
        assert_eq!((script.text, script.echo, script.chunks), (None, Some(true), Some(3)));
    }

    #[test]
    fn the_earliest_fault_wins() {
        let script = Script {
            status: Some(429),
            retry_after: Some(2),
            cut_after: Some(1),
            ..Script::default()
        };
        let expected = Fault::Status { code: 429, retry_after: Some(2), message: None };
        assert_eq!(script.fault(), Some(expected));
        assert_eq!(Script::default().fault(), None);
    }
}
