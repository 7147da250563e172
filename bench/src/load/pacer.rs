//! A timer finer than the runtime's, whose millisecond would drown what is measured.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// Ticks at a fixed interval.
pub(super) struct Pacer(AsyncFd<OwnedFd>);

impl Pacer {
    /// The first tick comes one interval from now.
    #[expect(deprecated, reason = "unsound only for types that are not an owned descriptor")]
    pub(super) fn start(interval: Duration) -> io::Result<Self> {
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        let period = Timespec {
            tv_sec: i64::try_from(interval.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(interval.subsec_nanos()).max(1),
        };
        let schedule = Itimerspec { it_interval: period, it_value: period };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &schedule)?;
        Ok(Self(AsyncFd::try_new(timer)?))
    }

    /// Waits until at least one tick has come since the last call.
    pub(super) async fn tick(&self) -> io::Result<()> {
        loop {
            let mut guard = self.0.readable().await?;
            let mut expirations = [0; 8];
            let read = guard.try_io(|timer| {
                rustix::io::read(timer.get_ref(), &mut expirations).map_err(io::Error::from)
            });
            if let Ok(read) = read {
                return read.map(|_| ());
            }
        }
    }
}
