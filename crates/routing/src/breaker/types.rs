use crate::Millis;
use crate::failure::FailureClass;

/// What becomes of a request that would go to a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admittance {
    /// It goes there; its outcome is recorded with `was_probe` false.
    Admit,
    /// It goes there and decides whether others may follow: its outcome is recorded with
    /// `was_probe` true, or [`super::Breaker::abandon_probe`] is called.
    Probe,
    /// It must not go there.
    Refuse {
        /// When to ask again, on the caller's clock.
        until: Millis,
    },
    /// It goes elsewhere if there is an elsewhere; if not, it goes there as if admitted.
    Deflect,
}

/// The state of a deployment as it is shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Health {
    /// In service.
    Closed,
    /// In service with part of its traffic.
    Ramping {
        /// Which part, 0 to 1.
        share: f64,
    },
    /// To be tried out.
    HalfOpen {
        /// How many requests more may try it now.
        free_probes: u32,
    },
    /// Out of service.
    Open {
        /// Until when, on the caller's clock.
        until: Millis,
    },
    /// Left alone because it had more to do than it allows.
    Cooling {
        /// Until when, on the caller's clock.
        until: Millis,
    },
}

impl Health {
    /// A stable lower-case name for metrics and logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Ramping { .. } => "ramping",
            Self::HalfOpen { .. } => "half_open",
            Self::Open { .. } => "open",
            Self::Cooling { .. } => "cooling",
        }
    }

    /// Whether a request could go there now.
    #[must_use]
    pub fn is_available(&self) -> bool {
        match self {
            Self::Closed | Self::Ramping { .. } => true,
            Self::HalfOpen { free_probes } => *free_probes > 0,
            Self::Open { .. } | Self::Cooling { .. } => false,
        }
    }
}

/// Why a breaker opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenReason {
    /// Calls failed; the last one like this.
    Failures(FailureClass),
    /// Too many first tokens came late.
    SlowCalls,
    /// Another replica said so.
    Told,
}

impl OpenReason {
    /// A stable lower-case name for metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Failures(class) => class.name(),
            Self::SlowCalls => "slow_calls",
            Self::Told => "told",
        }
    }
}

/// A change of state, for logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// It went out of service.
    Opened {
        /// For how long, milliseconds.
        for_ms: Millis,
        /// Why.
        reason: OpenReason,
    },
    /// It is left alone for a while.
    Cooling {
        /// For how long, milliseconds.
        for_ms: Millis,
    },
    /// Requests try it out.
    HalfOpened,
    /// It is in service again, with part of its traffic.
    Recovering,
    /// It has all its traffic.
    Closed,
}
