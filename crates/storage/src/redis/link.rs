//! The connection, which comes and goes.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ::redis::aio::{MultiplexedConnection, PubSub};
use ::redis::sentinel::SentinelClient;
use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, RedisError, ScriptInvocation,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::shared::SharedError;

/// How long making a connection may take, Sentinel's answer included.
const CONNECT: Duration = Duration::from_secs(2);
/// Calls in a row without an answer after which a connection is given up.
const SILENCE: u32 = 3;

/// Where a connection comes from.
pub(super) enum Source {
    Server(Box<Client>),
    // Asked by one at a time.
    Sentinel(Box<tokio::sync::Mutex<SentinelClient>>),
}

impl Source {
    async fn client(&self) -> Result<Client, RedisError> {
        match self {
            Self::Server(client) => Ok(client.as_ref().clone()),
            Self::Sentinel(sentinel) => Box::pin(sentinel.lock().await.async_get_client()).await,
        }
    }
}

pub(super) struct Link {
    source: Source,
    timeout: Duration,
    /// The connection, and how many there were before it.
    current: Mutex<(u64, Option<MultiplexedConnection>)>,
    lost: Notify,
    silent: AtomicU32,
}

impl Link {
    pub(super) fn new(source: Source, timeout: Duration) -> Self {
        let current = Mutex::new((0, None));
        Self { source, timeout, current, lost: Notify::new(), silent: AtomicU32::new(0) }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.current.lock().1.is_some()
    }

    /// Returns when there is no connection.
    pub(super) async fn lost(&self) {
        while self.is_connected() {
            self.lost.notified().await;
        }
    }

    /// Makes a connection and uses it from now on.
    pub(super) async fn reconnect(&self) -> Result<(), SharedError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None);
        let made = within(CONNECT, async {
            let client = self.source.client().await?;
            Box::pin(client.get_multiplexed_async_connection_with_config(&config)).await
        });
        let connection = made.await?;
        self.silent.store(0, Ordering::Relaxed);
        let mut current = self.current.lock();
        *current = (current.0 + 1, Some(connection));
        Ok(())
    }

    /// A connection of its own for listening.
    pub(super) async fn listen(&self, channel: &str) -> Result<PubSub, SharedError> {
        let made = within(CONNECT, async {
            let client = self.source.client().await?;
            let mut listening = Box::pin(client.get_async_pubsub()).await?;
            listening.subscribe(channel).await?;
            Ok(listening)
        });
        made.await
    }

    pub(super) async fn script<T: FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, SharedError> {
        let (generation, mut connection) = self.connection()?;
        let answer = within(self.timeout, call.invoke_async(&mut connection)).await;
        self.judge(generation, answer)
    }

    pub(super) async fn command<T: FromRedisValue>(&self, call: &Cmd) -> Result<T, SharedError> {
        let (generation, mut connection) = self.connection()?;
        let answer = within(self.timeout, call.query_async(&mut connection)).await;
        self.judge(generation, answer)
    }

    fn connection(&self) -> Result<(u64, MultiplexedConnection), SharedError> {
        let current = self.current.lock();
        match &current.1 {
            Some(connection) => Ok((current.0, connection.clone())),
            None => Err(SharedError::Unavailable),
        }
    }

    fn judge<T>(&self, generation: u64, answer: Result<T, SharedError>) -> Result<T, SharedError> {
        let give_up = match &answer {
            Ok(_) => {
                self.silent.store(0, Ordering::Relaxed);
                false
            }
            Err(SharedError::Unavailable) => true,
            Err(SharedError::Timeout(_)) => {
                self.silent.fetch_add(1, Ordering::Relaxed) + 1 >= SILENCE
            }
            // A master that became a replica, or a replica without its master.
            Err(SharedError::Refused(code)) => matches!(code.as_str(), "READONLY" | "MASTERDOWN"),
            Err(_) => false,
        };
        if give_up {
            let mut current = self.current.lock();
            // Not one that was made meanwhile.
            if current.0 == generation {
                current.1 = None;
                self.lost.notify_one();
            }
        }
        answer
    }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, SharedError> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done.map_err(|error| typed(&error)),
        Err(_) => Err(SharedError::Timeout(limit)),
    }
}

/// Only the code of an error is passed on: its text can hold what was sent.
fn typed(error: &RedisError) -> SharedError {
    match error.kind() {
        ErrorKind::AuthenticationFailed => SharedError::Refused("WRONGPASS".to_owned()),
        ErrorKind::InvalidClientConfig => SharedError::Config("the client cannot be configured"),
        ErrorKind::Io => SharedError::Unavailable,
        _ if error.is_io_error() || error.is_connection_dropped() => SharedError::Unavailable,
        _ => match error.code() {
            Some(code) => SharedError::Refused(code.to_owned()),
            None if error.is_unrecoverable_error() => SharedError::Unavailable,
            None => SharedError::Answer,
        },
    }
}
