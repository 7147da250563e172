use std::collections::BTreeMap;
use std::sync::Arc;

use chat::StreamEvent;
use guarding::pseudonyms::Restorer;

use super::input::Guarded;
use crate::relay::EventFilter;

/// Puts back into a stream what was taken out of the request, behind another filter.
pub(crate) struct RestoreFilter {
    guarded: Arc<Guarded>,
    inner: Option<Box<dyn EventFilter>>,
    held: BTreeMap<Stream, Restorer>,
}

/// One of the texts that a stream of an answer is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stream {
    Text(u32),
    Reasoning(u32),
    Refusal(u32),
    Arguments(u32, u32),
}

impl Stream {
    fn choice(self) -> u32 {
        let (Self::Text(choice)
        | Self::Reasoning(choice)
        | Self::Refusal(choice)
        | Self::Arguments(choice, _)) = self;
        choice
    }

    fn event(self, text: String) -> StreamEvent {
        match self {
            Self::Text(choice) => StreamEvent::Text { choice, text },
            Self::Reasoning(choice) => StreamEvent::Reasoning { choice, text },
            Self::Refusal(choice) => StreamEvent::Refusal { choice, text },
            Self::Arguments(choice, index) => {
                StreamEvent::ToolCallArguments { choice, index, fragment: text }
            }
        }
    }
}

impl RestoreFilter {
    pub(crate) fn new(guarded: Arc<Guarded>, inner: Option<Box<dyn EventFilter>>) -> Self {
        Self { guarded, inner, held: BTreeMap::new() }
    }

    fn take(&mut self, stream: Stream, piece: &str, out: &mut Vec<StreamEvent>) {
        // What another text of the choice holds back comes before.
        let others = self
            .held
            .keys()
            .copied()
            .filter(|other| *other != stream && other.choice() == stream.choice());
        for other in others.collect::<Vec<_>>() {
            self.release(other, out);
        }
        let as_json = matches!(stream, Stream::Arguments(..));
        let restorer = self.held.entry(stream).or_default();
        let ready = restorer.push(piece, &self.guarded.pseudonyms, as_json);
        if !ready.is_empty() {
            out.push(stream.event(ready));
        }
    }

    fn release(&mut self, stream: Stream, out: &mut Vec<StreamEvent>) {
        let Some(mut restorer) = self.held.remove(&stream) else { return };
        let as_json = matches!(stream, Stream::Arguments(..));
        let rest = restorer.finish(&self.guarded.pseudonyms, as_json);
        if !rest.is_empty() {
            out.push(stream.event(rest));
        }
    }

    fn release_choice(&mut self, wanted: Option<u32>, out: &mut Vec<StreamEvent>) {
        let streams: Vec<Stream> = self.held.keys().copied().collect();
        for stream in streams {
            if wanted.is_none_or(|choice| stream.choice() == choice) {
                self.release(stream, out);
            }
        }
    }
}

impl EventFilter for RestoreFilter {
    fn filter(&mut self, events: &mut Vec<StreamEvent>) -> bool {
        let enough = self.inner.as_mut().is_some_and(|inner| inner.filter(events));
        let mut out = Vec::with_capacity(events.len());
        for event in events.drain(..) {
            match event {
                StreamEvent::Text { choice, text } => {
                    self.take(Stream::Text(choice), &text, &mut out);
                }
                StreamEvent::Reasoning { choice, text } => {
                    self.take(Stream::Reasoning(choice), &text, &mut out);
                }
                StreamEvent::Refusal { choice, text } => {
                    self.take(Stream::Refusal(choice), &text, &mut out);
                }
                StreamEvent::ToolCallArguments { choice, index, fragment } => {
                    self.take(Stream::Arguments(choice, index), &fragment, &mut out);
                }
                StreamEvent::Finish { choice, .. }
                | StreamEvent::ToolCallStart { choice, .. }
                | StreamEvent::ReasoningSignature { choice, .. }
                | StreamEvent::ReasoningEncrypted { choice, .. } => {
                    self.release_choice(Some(choice), &mut out);
                    out.push(event);
                }
                // The texts of tokens would give placeholders away, and fit no longer.
                StreamEvent::Logprobs { .. } => {}
                StreamEvent::End | StreamEvent::Error(_) => {
                    self.release_choice(None, &mut out);
                    out.push(event);
                }
                StreamEvent::Start { .. } | StreamEvent::Usage(_) => out.push(event),
            }
        }
        if enough {
            self.release_choice(None, &mut out);
        }
        *events = out;
        enough
    }
}
