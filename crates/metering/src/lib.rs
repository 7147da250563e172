//! What a request may use and what it costs: rate and token limits, budgets, prices, the usage
//! ledger. No I/O; the clock is an argument.

mod budget;
mod gcra;
mod ledger;
mod limiter;
mod limits;
mod shared_rate;

pub use budget::{Budget, BudgetPeriod, BudgetScope};
pub use gcra::{Gcra, Refused};
pub use ledger::{
    ChargedUsage, Dimension, LedgerEntry, LedgerError, LedgerFilter, LedgerOutcome, LedgerStore,
    LedgerSum,
};
pub use limiter::{
    Admission, LevelKind, LevelLimiter, LimitKind, LimitRefusal, RateStanding, admit, format_reset,
};
pub use limits::Limits;
pub use shared_rate::{EXCHANGE_NS, SharedRate};

/// Whether `name` is the IANA name of a time zone.
#[must_use]
pub fn is_time_zone(name: &str) -> bool {
    jiff::tz::TimeZone::get(name).is_ok()
}
