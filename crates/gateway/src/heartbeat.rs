use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// Says when a stream has been silent for so long that its caller needs a sign of life. The timer
/// is moved only when it fires, not at each event.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    interval: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    last: Instant,
}

impl Heartbeat {
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, timer: None, last: Instant::now() }
    }

    /// Something was sent.
    pub(crate) fn sent(&mut self) {
        self.last = Instant::now();
    }

    /// Ready when nothing was sent for an interval; the next beat is due an interval later.
    pub(crate) fn poll_beat(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let due = self.last + self.interval;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        loop {
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            let due = self.last + self.interval;
            let now = Instant::now();
            if due <= now {
                self.last = now;
                timer.as_mut().reset(now + self.interval);
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_beats_only_in_silence() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(Duration::from_secs(15));
        let beat = poll_fn(|context| heartbeat.poll_beat(context));
        assert!(tokio::time::timeout(Duration::from_secs(10), beat).await.is_err());
        heartbeat.sent();
        poll_fn(|context| heartbeat.poll_beat(context)).await;
        assert_eq!(start.elapsed().as_secs(), 25);
        poll_fn(|context| heartbeat.poll_beat(context)).await;
        assert_eq!(start.elapsed().as_secs(), 40);
    }
}
