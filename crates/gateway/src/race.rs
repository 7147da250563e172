//! Two calls for one request: one deployment is slow, another is asked besides, and whichever
//! answers first serves the caller.
//!
//! Each call has an [`Exchange`] of its own, because each is charged for. What may be settled only
//! once lies in the [`Race`] between them, and the call that answers takes it.

use std::sync::Arc;
use std::time::Duration;

use metering::{BudgetMeter, LedgerOutcome};
use parking_lot::Mutex;

use crate::accounting::Held;
use crate::exchange::{Exchange, now_ms};
use crate::routing::Decided;

/// What only the call that answers the caller settles.
#[derive(Debug, Default)]
struct Stake {
    held: Held,
    decided: Option<Box<Decided>>,
}

/// What lies between the calls of one request.
#[derive(Debug)]
pub(crate) struct Race {
    stake: Mutex<Option<Stake>>,
    /// Budgets that are charged for the calls that lose.
    meters: Vec<Arc<BudgetMeter>>,
}

impl Exchange {
    /// From here on another call may take this one's place.
    pub(crate) fn open_race(&mut self) {
        let held = std::mem::take(&mut self.held);
        let reservations = held.reservations.iter();
        let meters = reservations.map(|reservation| Arc::clone(reservation.meter())).collect();
        let stake = Stake { held, decided: self.decided.take() };
        self.race = Some(Arc::new(Race { stake: Mutex::new(Some(stake)), meters }));
    }

    /// The exchange of a further call in the race, to be used once the first has begun.
    pub(crate) fn further_call(&self) -> Box<Self> {
        let mut further = Self::begin_further(self);
        further.race.clone_from(&self.race);
        further
    }

    /// This call answers the caller, or the race is over because all have failed.
    pub(crate) fn win(&mut self) {
        let Some(race) = self.race.take() else { return };
        if let Some(stake) = race.stake.lock().take() {
            self.held = stake.held;
            self.decided = stake.decided;
            self.first_call = true;
        } else {
            self.race = Some(race);
        }
    }

    /// Whether this call lost, and so settles nothing but its own cost. A first call that nobody has
    /// beaten takes back what is its own.
    pub(crate) fn has_lost(&mut self) -> bool {
        if self.first_call {
            self.win();
        }
        self.race.is_some()
    }

    /// What the provider charges for a call whose answer is not wanted any more.
    pub(crate) fn settle_loser(&mut self) {
        let Some(race) = self.race.take() else { return };
        self.charge_attempt(LedgerOutcome::Cut);
        let nanos = self.charged_nanos();
        let now_ms = now_ms();
        for alert in race.meters.iter().flat_map(|meter| meter.spend(now_ms, nanos)) {
            self.gateway.accounting().alert(alert);
        }
    }
}

/// Waits for `first`, and after `delay` for `further` too. What `first` failed with before `delay`
/// is its result; afterwards the first answer wins, and only if both fail is there a failure.
pub(crate) async fn race<T, E>(
    first: impl Future<Output = Result<T, E>>,
    delay: Duration,
    further: impl AsyncFnOnce() -> Option<Result<T, E>>,
) -> Result<T, E> {
    let mut first = std::pin::pin!(first);
    let timer = tokio::time::sleep(delay);
    tokio::select! {
        biased;
        done = &mut first => return done,
        () = timer => {}
    }
    let mut further = std::pin::pin!(further());
    tokio::select! {
        biased;
        done = &mut first => match done {
            Ok(answer) => Ok(answer),
            Err(error) => match further.await {
                Some(Ok(answer)) => Ok(answer),
                Some(Err(_)) | None => Err(error),
            },
        },
        done = &mut further => match done {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(_)) | None => first.await,
        },
    }
}
