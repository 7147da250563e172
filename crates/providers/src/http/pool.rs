use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::task::Context;
use std::time::{Duration, Instant};

use hyper::client::conn::http2;
use parking_lot::Mutex;

use super::body::Segments;
use super::connect::{Http2, Origin};
use super::exclusive::Exclusive;

/// The open connections of one worker to one origin.
#[derive(Debug)]
pub(super) struct Pool {
    max_idle: usize,
    idle_timeout: Duration,
    /// Dead as soon as nobody can ask for the origin any more.
    origin: Weak<()>,
    state: Mutex<State>,
    /// Held by the one who opens a connection that may turn out to serve everybody.
    pub(super) opening: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    /// The longest idle one first.
    idle: VecDeque<Idle>,
    multiplexed: Option<http2::SendRequest<Segments>>,
    may_multiplex: bool,
    reaping: bool,
}

#[derive(Debug)]
struct Idle {
    connection: Exclusive,
    since: Instant,
}

/// An open connection that a request may be sent on.
#[derive(Debug)]
pub(super) enum Connection {
    /// For one request at a time.
    Exclusive(Exclusive),
    /// For any number of them.
    Multiplexed(http2::SendRequest<Segments>),
}

impl Pool {
    pub(super) fn new(origin: &Origin) -> Self {
        let may_multiplex = match origin.options.http2 {
            Http2::Never => false,
            Http2::Auto => origin.is_secure(),
            Http2::PriorKnowledge => true,
        };
        Self {
            max_idle: origin.options.max_idle,
            idle_timeout: origin.options.idle_timeout,
            origin: Arc::downgrade(&origin.alive),
            state: Mutex::new(State {
                idle: VecDeque::new(),
                multiplexed: None,
                may_multiplex,
                reaping: false,
            }),
            opening: tokio::sync::Mutex::new(()),
        }
    }

    pub(super) fn is_orphaned(&self) -> bool {
        self.origin.strong_count() == 0
    }

    /// Whether the next connection may be one for everybody.
    pub(super) fn may_multiplex(&self) -> bool {
        self.state.lock().may_multiplex
    }

    /// The open connection for everybody.
    pub(super) fn multiplexed(&self) -> Option<Connection> {
        self.state.lock().multiplexed().map(Connection::Multiplexed)
    }

    /// An open connection: the one for everybody, else the one that was used last.
    pub(super) fn take(&self) -> Option<Connection> {
        let mut state = self.state.lock();
        if let Some(sender) = state.multiplexed() {
            return Some(Connection::Multiplexed(sender));
        }
        while let Some(mut last) = state.idle.pop_back() {
            if last.since.elapsed() > self.idle_timeout {
                // The rest has been idle for longer still.
                state.idle.clear();
                return None;
            }
            last.connection.look();
            if !last.connection.is_closed() {
                return Some(Connection::Exclusive(last.connection));
            }
        }
        None
    }

    /// What kind of connection the origin gave.
    pub(super) fn opened(&self, connection: &Connection) {
        let mut state = self.state.lock();
        match connection {
            Connection::Exclusive(_) => state.may_multiplex = false,
            Connection::Multiplexed(sender) => {
                state.may_multiplex = true;
                state.multiplexed = Some(sender.clone());
            }
        }
    }

    pub(super) fn forget_multiplexed(&self) {
        self.state.lock().multiplexed = None;
    }

    fn put(self: &Arc<Self>, mut connection: Exclusive) {
        connection.look();
        if connection.is_closed() || self.is_orphaned() {
            return;
        }
        let mut state = self.state.lock();
        if state.idle.len() >= self.max_idle {
            return;
        }
        state.idle.push_back(Idle { connection, since: Instant::now() });
        if !state.reaping
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            state.reaping = true;
            runtime.spawn(reap(Arc::downgrade(self)));
        }
    }

    /// Closes what has been idle for too long. How long until there may be more, if there may.
    fn close_expired(&self) -> Option<Duration> {
        let mut state = self.state.lock();
        while let Some(longest) = state.idle.front() {
            let left = self.idle_timeout.saturating_sub(longest.since.elapsed());
            if !left.is_zero() && !self.is_orphaned() {
                return Some(left);
            }
            state.idle.pop_front();
        }
        state.reaping = false;
        None
    }
}

impl State {
    fn multiplexed(&mut self) -> Option<http2::SendRequest<Segments>> {
        if self.multiplexed.as_ref().is_some_and(http2::SendRequest::is_closed) {
            self.multiplexed = None;
        }
        self.multiplexed.clone()
    }
}

async fn reap(pool: Weak<Pool>) {
    loop {
        let Some(left) = pool.upgrade().and_then(|pool| pool.close_expired()) else { return };
        tokio::time::sleep(left).await;
    }
}

/// An HTTP/1 connection that is busy with an answer, to be given back when it has been read.
#[derive(Debug)]
pub(crate) struct Lease {
    pool: Arc<Pool>,
    connection: Exclusive,
}

impl Lease {
    pub(super) fn new(pool: Arc<Pool>, connection: Exclusive) -> Self {
        Self { pool, connection }
    }

    /// Moves the connection, which moves only when somebody does.
    pub(super) fn drive(&mut self, context: &mut Context<'_>) {
        self.connection.drive(context);
    }

    /// The answer has been read to its end.
    pub(crate) fn give_back(self) {
        self.pool.put(self.connection);
    }
}
