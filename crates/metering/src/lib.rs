//! What a request may use and what it costs: rate and token limits, budgets, prices, the usage
//! ledger. No I/O; the clock is an argument.

mod budget;
mod budget_meter;
mod gcra;
mod ledger;
mod limiter;
mod limits;
mod money;
mod price;
mod shared_rate;

pub use budget::{Budget, BudgetPeriod, BudgetScope};
pub use budget_meter::{BudgetAlert, BudgetExceeded, BudgetMeter, BudgetReservation, Window};
pub use gcra::{Gcra, Refused};
pub use jiff::tz::TimeZone;
pub use ledger::{
    ChargedUsage, Dimension, LedgerEntry, LedgerError, LedgerFilter, LedgerOutcome, LedgerStore,
    LedgerSum,
};
pub use limiter::{
    Admission, LevelKind, LevelLimiter, LimitKind, LimitRefusal, RateStanding, admit, format_reset,
};
pub use limits::Limits;
pub use money::{Nanos, NoAmount, divide_half_even, format_nanos};
pub use price::{
    Cost, DatedPrices, ExchangeRate, Price, PriceCatalogue, PriceError, PriceOverride, Vat,
};
pub use shared_rate::{EXCHANGE_NS, SharedRate};

/// Whether `name` is the IANA name of a time zone.
#[must_use]
pub fn is_time_zone(name: &str) -> bool {
    jiff::tz::TimeZone::get(name).is_ok()
}

/// A time, milliseconds since 1970, as RFC 3339 writes it; empty outside the years it can write.
#[must_use]
pub fn rfc3339(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(|_| String::new(), |at| at.to_string())
}

/// The beginning of a day, `2026-11-23`, in UTC, milliseconds since 1970.
#[must_use]
pub fn day_start_utc(day: &str) -> Option<i64> {
    let date: jiff::civil::Date = day.parse().ok()?;
    Some(date.to_zoned_datetime(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond())
}
