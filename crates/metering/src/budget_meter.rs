use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use parking_lot::Mutex;

use crate::budget::{Budget, BudgetPeriod};
use crate::money::{Nanos, format_nanos};

/// Shares of a budget at which somebody is told, per cent.
const ALERTS: [u8; 3] = [50, 80, 100];

/// A budget that is spent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the budget `{name}` of {} RUB is spent{}",
    Nanos(*amount_nanos),
    resets_at_ms.map_or_else(String::new, |at| format!(" until {}", written(at)))
)]
pub struct BudgetExceeded {
    /// The budget's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// How much it is, nano-roubles.
    pub amount_nanos: i64,
    /// Spent or promised in the present period, nano-roubles.
    pub committed_nanos: i64,
    /// When the next period begins, milliseconds since 1970.
    pub resets_at_ms: Option<i64>,
}

fn written(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).map_or_else(|_| String::new(), |at| at.to_string())
}

/// A share of a budget that was just passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetAlert {
    /// The budget.
    pub budget: Arc<Budget>,
    /// Which share, per cent: 50, 80 or 100.
    pub percent: u8,
    /// Spent in the present period, nano-roubles.
    pub spent_nanos: i64,
}

/// A period of a budget: from its beginning to the next one's, milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its beginning.
    pub start_ms: i64,
    /// The beginning of the next; `None`: it never ends.
    pub end_ms: Option<i64>,
}

impl Window {
    /// The period of `at_ms`. Days begin at midnight of the time zone, weeks on Monday.
    #[must_use]
    pub fn of(period: BudgetPeriod, zone: &TimeZone, at_ms: i64) -> Self {
        let forever = Self { start_ms: i64::MIN, end_ms: None };
        let bounds = || {
            let today =
                Timestamp::from_millisecond(at_ms).ok()?.to_zoned_datetime(zone.clone()).date();
            let (first, next) = match period {
                BudgetPeriod::Total => return None,
                BudgetPeriod::Day => (today, today.tomorrow().ok()?),
                BudgetPeriod::Week => {
                    let days = i64::from(today.weekday().since(Weekday::Monday));
                    let first = today.checked_sub(jiff::Span::new().days(days)).ok()?;
                    (first, first.checked_add(jiff::Span::new().days(7)).ok()?)
                }
                BudgetPeriod::Month => {
                    let first = today.first_of_month();
                    (first, today.last_of_month().tomorrow().ok()?)
                }
            };
            let begin = |date: jiff::civil::Date| {
                let midnight = date.to_zoned_datetime(zone.clone()).ok()?;
                Some(midnight.timestamp().as_millisecond())
            };
            Some(Self { start_ms: begin(first)?, end_ms: Some(begin(next)?) })
        };
        bounds().unwrap_or(forever)
    }
}

/// How a budget stands: what is spent and what is promised. Reservations are made on the way of a
/// request and never wait.
#[derive(Debug)]
pub struct BudgetMeter {
    budget: Arc<Budget>,
    zone: TimeZone,
    /// End of the present window, milliseconds since 1970; `i64::MAX`: never.
    ends_ms: AtomicI64,
    window: Mutex<Window>,
    /// Spent in the present window, by all replicas as far as known.
    spent: AtomicI64,
    /// Promised to requests in flight here.
    reserved: AtomicI64,
    /// Promised to requests in flight at other replicas.
    reserved_elsewhere: AtomicI64,
    /// Spent here since the last exchange with the other replicas.
    unshared: AtomicI64,
    /// Replicas that share what is left, at least 1.
    replicas: AtomicU64,
    /// How many of [`ALERTS`] were told in this window.
    told: AtomicU8,
}

impl BudgetMeter {
    /// A meter of a budget of which `spent_nanos` were spent in the window of `now_ms`.
    #[must_use]
    pub fn new(budget: Arc<Budget>, zone: TimeZone, now_ms: i64, spent_nanos: i64) -> Self {
        let window = Window::of(budget.period, &zone, now_ms);
        let meter = Self {
            ends_ms: window.end_ms.unwrap_or(i64::MAX).into(),
            window: Mutex::new(window),
            spent: spent_nanos.into(),
            reserved: 0.into(),
            reserved_elsewhere: 0.into(),
            unshared: 0.into(),
            replicas: 1.into(),
            told: 0.into(),
            budget,
            zone,
        };
        // What was passed before was told before.
        meter.told.store(meter.passed(), Ordering::Relaxed);
        meter
    }

    /// The budget.
    #[must_use]
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// The present window.
    #[must_use]
    pub fn window(&self) -> Window {
        *self.window.lock()
    }

    /// Spent in the present window, nano-roubles.
    #[must_use]
    pub fn spent(&self) -> i64 {
        self.spent.load(Ordering::Relaxed)
    }

    /// Promised to requests in flight here, nano-roubles.
    #[must_use]
    pub fn reserved(&self) -> i64 {
        self.reserved.load(Ordering::Relaxed)
    }

    /// Begins the next window if it is time. A clock that goes backwards stays in the present one.
    pub fn advance(&self, now_ms: i64) {
        if now_ms < self.ends_ms.load(Ordering::Relaxed) {
            return;
        }
        let mut window = self.window.lock();
        let next = Window::of(self.budget.period, &self.zone, now_ms);
        if next.start_ms <= window.start_ms {
            return;
        }
        *window = next;
        self.spent.store(0, Ordering::Relaxed);
        self.unshared.store(0, Ordering::Relaxed);
        self.told.store(0, Ordering::Relaxed);
        self.ends_ms.store(next.end_ms.unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Promises `nanos` to a request. A soft budget promises anything.
    ///
    /// # Errors
    /// When less than that is left of a hard one, or of this replica's share of what is left.
    pub fn reserve(
        self: &Arc<Self>,
        now_ms: i64,
        nanos: i64,
    ) -> Result<BudgetReservation, BudgetExceeded> {
        self.advance(now_ms);
        let nanos = nanos.max(0);
        let mut reserved = self.reserved.load(Ordering::SeqCst);
        loop {
            if self.budget.hard && !self.has_room(reserved, nanos) {
                return Err(self.exceeded());
            }
            match self.reserved.compare_exchange_weak(
                reserved,
                reserved.saturating_add(nanos),
                Ordering::SeqCst,
                Ordering::SeqCst,
            ) {
                Ok(_) => break,
                Err(found) => reserved = found,
            }
        }
        let reservation = BudgetReservation { meter: Arc::clone(self), nanos };
        if self.confirms(&reservation) { Ok(reservation) } else { Err(self.exceeded()) }
    }

    /// Whether a promise that was counted still fits. What is promised and what is spent are two
    /// numbers: while the first was looked at, one promise may have been spent and another given, so
    /// that it is as large as before and the second is not. Settling counts as spent before it ends
    /// the promise, and here they are read in the other order, so that nothing is overlooked.
    fn confirms(&self, reservation: &BudgetReservation) -> bool {
        let others = self.reserved.load(Ordering::SeqCst).saturating_sub(reservation.nanos);
        !self.budget.hard || self.has_room(others, reservation.nanos)
    }

    fn committed(&self, reserved: i64) -> i64 {
        let spent = self.spent.load(Ordering::SeqCst);
        let elsewhere = self.reserved_elsewhere.load(Ordering::SeqCst);
        spent.saturating_add(reserved).saturating_add(elsewhere)
    }

    fn exceeded(&self) -> BudgetExceeded {
        BudgetExceeded {
            id: self.budget.id.clone(),
            name: self.budget.name.clone(),
            amount_nanos: self.budget.amount_nanos,
            committed_nanos: self.committed(self.reserved.load(Ordering::SeqCst)),
            resets_at_ms: self.window().end_ms,
        }
    }

    /// Whether `nanos` fit. Replicas know of each other's promises only as of the last exchange, so
    /// each may promise its share of what is left between two of them; one request at a time is let
    /// through whole, as long as it fits into what is left of all.
    fn has_room(&self, reserved: i64, nanos: i64) -> bool {
        let left = self.budget.amount_nanos.saturating_sub(self.committed(reserved));
        if left <= 0 || nanos > left {
            return false;
        }
        let replicas = i64::try_from(self.replicas.load(Ordering::Relaxed)).unwrap_or(1).max(1);
        if replicas == 1 {
            return true;
        }
        let fresh = reserved.saturating_add(self.unshared.load(Ordering::Relaxed));
        fresh == 0 || fresh.saturating_add(nanos) <= left.saturating_add(fresh) / replicas
    }

    /// What was spent is known: `reservation` ends, `nanos` were really spent. The shares passed by
    /// it, each told once in a window.
    pub fn settle(
        &self,
        now_ms: i64,
        reservation: BudgetReservation,
        nanos: i64,
    ) -> Vec<BudgetAlert> {
        // Spent before the promise ends: in between, too little is left rather than too much.
        let alerts = self.spend(now_ms, nanos);
        drop(reservation);
        alerts
    }

    /// Counts spend that nothing was reserved for: found in the journal after a crash.
    pub fn spend(&self, now_ms: i64, nanos: i64) -> Vec<BudgetAlert> {
        self.advance(now_ms);
        let nanos = nanos.max(0);
        // In this order for `end_exchange`.
        add(&self.unshared, nanos);
        add(&self.spent, nanos);
        self.alerts()
    }

    fn passed(&self) -> u8 {
        let spent = i128::from(self.spent());
        let amount = i128::from(self.budget.amount_nanos.max(1));
        let passed = ALERTS.iter().filter(|percent| spent * 100 >= amount * i128::from(**percent));
        u8::try_from(passed.count()).unwrap_or(u8::MAX)
    }

    fn alerts(&self) -> Vec<BudgetAlert> {
        let passed = self.passed();
        let told = self.told.fetch_max(passed, Ordering::Relaxed);
        ALERTS
            .iter()
            .take(usize::from(passed))
            .skip(usize::from(told))
            .map(|percent| BudgetAlert {
                budget: Arc::clone(&self.budget),
                percent: *percent,
                spent_nanos: self.spent(),
            })
            .collect()
    }

    /// What an exchange tells the other replicas: spent here since the last one, and promised here.
    pub fn begin_exchange(&self) -> (i64, i64) {
        (self.unshared.swap(0, Ordering::Relaxed), self.reserved())
    }

    /// The exchange failed: what it told counts for the next one.
    pub fn fail_exchange(&self, spent: i64) {
        add(&self.unshared, spent);
    }

    /// What an exchange brought: spent by all replicas in the present window, promised by the
    /// others, and how many replicas there are. The alerts that follow from it.
    pub fn end_exchange(
        &self,
        spent: i64,
        reserved_elsewhere: i64,
        replicas: u64,
    ) -> Vec<BudgetAlert> {
        // By what the sum differs, not the sum: what is spent meanwhile must not be overwritten. It
        // may be counted twice until the next exchange, never not at all.
        let before = self.spent.load(Ordering::SeqCst);
        let since = self.unshared.load(Ordering::SeqCst);
        add(&self.spent, spent.saturating_add(since).saturating_sub(before));
        self.reserved_elsewhere.store(reserved_elsewhere.max(0), Ordering::Relaxed);
        self.replicas.store(replicas.max(1), Ordering::Relaxed);
        self.alerts()
    }
}

/// A promise to a request. Dropping it gives it back: nothing was spent.
#[derive(Debug)]
pub struct BudgetReservation {
    meter: Arc<BudgetMeter>,
    nanos: i64,
}

impl BudgetReservation {
    /// The meter that promised.
    #[must_use]
    pub fn meter(&self) -> &Arc<BudgetMeter> {
        &self.meter
    }

    /// How much was promised, nano-roubles.
    #[must_use]
    pub fn nanos(&self) -> i64 {
        self.nanos
    }

    /// More than was promised is being spent: others see it from now on, whether it is there or
    /// not.
    pub fn grow_to(&mut self, nanos: i64) {
        let more = nanos.saturating_sub(self.nanos);
        if more > 0 {
            self.meter.reserved.fetch_add(more, Ordering::SeqCst);
            self.nanos = nanos;
        }
    }
}

impl Drop for BudgetReservation {
    fn drop(&mut self) {
        self.meter.reserved.fetch_sub(self.nanos, Ordering::SeqCst);
    }
}

/// Adds without wrapping: a sum too large to count must not make a spent budget look whole.
fn add(counter: &AtomicI64, nanos: i64) {
    let _ = counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |value| {
        Some(value.saturating_add(nanos))
    });
}

impl std::fmt::Display for BudgetAlert {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "the budget `{}` has passed {} %: {} of {} RUB",
            self.budget.name,
            self.percent,
            format_nanos(i128::from(self.spent_nanos)),
            Nanos(self.budget.amount_nanos)
        )
    }
}

#[cfg(test)]
#[path = "budget_meter_tests.rs"]
mod tests;
