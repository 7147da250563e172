//! Sends the prepared request over a kept connection and tallies what comes back.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Request;
use super::connection::{Connection, Failure};
use super::tally::Tally;
use crate::sse::EventScanner;

/// Read buffer of a connection in bytes.
const BUFFER_LEN: usize = 16 * 1024;

/// Pause after a failure, so that a dead server is not hammered.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(5);

/// One of the N connections of a run.
pub(super) struct Caller {
    request: Rc<Request>,
    tally: Rc<RefCell<Tally>>,
    connection: Option<Connection>,
}

impl Caller {
    pub(super) fn new(request: Rc<Request>, tally: Rc<RefCell<Tally>>) -> Self {
        Self { request, tally, connection: None }
    }

    /// Opens the connection ahead of the first request; a failure shows in the first call.
    pub(super) async fn connect(&mut self) {
        self.connection = Connection::open(self.request.address, BUFFER_LEN).await.ok();
    }

    /// Makes one exchange; latencies count from `due`.
    pub(super) async fn call(&mut self, due: Instant) {
        let result = match self.attempt(due).await {
            Err(Failure::Stale) => {
                self.tally.borrow_mut().reconnects += 1;
                self.attempt(due).await
            }
            result => result,
        };
        let failure = match result {
            Ok(None) => {
                let mut tally = self.tally.borrow_mut();
                tally.completed += 1;
                tally.latency.record(due.elapsed());
                return;
            }
            Ok(Some(reason)) => reason,
            Err(error) => error.to_string(),
        };
        self.tally.borrow_mut().fail(failure);
        tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
    }

    /// Returns the reason if the answer came but is not the one wanted.
    async fn attempt(&mut self, due: Instant) -> Result<Option<String>, Failure> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.request.address, BUFFER_LEN).await?,
        };
        let (status, reason) = if self.request.streamed {
            self.stream(&mut connection, due).await?
        } else {
            let mut body_bytes = 0;
            let status = connection
                .exchange(&self.request.bytes, |piece| body_bytes += piece.len() as u64)
                .await?;
            self.tally.borrow_mut().body_bytes += body_bytes;
            (status, (body_bytes == 0).then(|| "empty answer".to_owned()))
        };
        if connection.is_reusable() {
            self.connection = Some(connection);
        }
        Ok(if status == 200 { reason } else { Some(format!("status {status}")) })
    }

    async fn stream(
        &self,
        connection: &mut Connection,
        due: Instant,
    ) -> Result<(u16, Option<String>), Failure> {
        let mut scanner = EventScanner::default();
        let mut last_event = None;
        let tally = &self.tally;
        let status = connection
            .exchange(&self.request.bytes, |piece| {
                let events = scanner.feed(piece);
                let mut tally = tally.borrow_mut();
                tally.body_bytes += piece.len() as u64;
                if events == 0 {
                    return;
                }
                let now = Instant::now();
                tally.events += events;
                match last_event.replace(now) {
                    None => tally.first_event.record(now - due),
                    Some(last) => tally.event_gap.record(now - last),
                }
                if events > 1 {
                    tally.event_gap.record_many(Duration::ZERO, events - 1);
                }
            })
            .await?;
        let reason = if scanner.has_failed() {
            Some("error event in the stream".to_owned())
        } else if !scanner.is_finished() || scanner.events() == 0 {
            Some("stream without an end".to_owned())
        } else {
            None
        };
        Ok((status, reason))
    }
}
