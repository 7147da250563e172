//! Listens to notices on a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::PubSub;
use futures_util::StreamExt;

use super::Inner;
use crate::shared::{HEARTBEAT, Notice};

pub(super) fn encode(topic: &str, payload: &str) -> String {
    // A topic has no line end; if it had, the rest would be payload.
    format!("{topic}\n{payload}")
}

fn decode(text: &str) -> Notice {
    let (topic, payload) = text.split_once('\n').unwrap_or((text, ""));
    Notice::Published { topic: topic.to_owned(), payload: payload.to_owned() }
}

pub(super) struct Listener {
    inner: Arc<Inner>,
    channel: String,
    listening: Option<PubSub>,
}

impl Listener {
    /// Tries once to listen.
    pub(super) async fn new(inner: Arc<Inner>) -> Self {
        let channel = inner.channel();
        let listening = inner.link.listen(&channel).await.ok();
        Self { inner, channel, listening }
    }

    pub(super) async fn run(mut self) {
        let mut pause = Duration::from_millis(20);
        loop {
            if let Some(listening) = self.listening.take() {
                pause = Duration::from_millis(20);
                self.hear(listening).await;
            }
            match self.inner.link.listen(&self.channel).await {
                Ok(listening) => {
                    self.listening = Some(listening);
                    // Nobody listening is no error.
                    let _ = self.inner.notices.send(Notice::Missed);
                }
                Err(_) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
            }
        }
    }

    /// Passes notices on until the connection breaks or is silent.
    async fn hear(&self, listening: PubSub) {
        let (mut sink, mut stream) = listening.split();
        let mut check = tokio::time::interval(HEARTBEAT);
        check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = stream.next() => {
                    let Some(message) = message else { return };
                    if let Ok(text) = message.get_payload::<String>() {
                        let _ = self.inner.notices.send(decode(&text));
                    }
                }
                _ = check.tick() => {
                    let answer = tokio::time::timeout(HEARTBEAT, sink.ping::<::redis::Value>());
                    if !matches!(answer.await, Ok(Ok(_))) {
                        return;
                    }
                }
            }
        }
    }
}
