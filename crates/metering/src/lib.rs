//! What a request may use and what it costs: rate and token limits, budgets, prices, the usage
//! ledger. No I/O; the clock is an argument.

mod budget;
mod ledger;
mod limits;

pub use budget::{Budget, BudgetPeriod, BudgetScope};
pub use ledger::{
    ChargedUsage, Dimension, LedgerEntry, LedgerError, LedgerFilter, LedgerOutcome, LedgerStore,
    LedgerSum,
};
pub use limits::Limits;

/// Whether `name` is the IANA name of a time zone.
#[must_use]
pub fn is_time_zone(name: &str) -> bool {
    jiff::tz::TimeZone::get(name).is_ok()
}
