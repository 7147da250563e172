use serde::{Deserialize, Serialize};

const DAY_MS: i64 = 86_400_000;

/// How old the secret of a virtual key may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RotationPolicy {
    /// Days after which a secret should be rotated.
    pub max_age_days: u32,
    /// How many days before that callers are warned.
    pub warn_days: u32,
    /// Whether older secrets are refused; otherwise they are only warned about.
    pub enforce: bool,
}

impl Default for RotationPolicy {
    fn default() -> Self {
        Self { max_age_days: 90, warn_days: 14, enforce: false }
    }
}

/// What the rotation policy says of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// Nothing yet.
    Fresh,
    /// It is to be rotated. Whole days left until then, rounded down; negative: overdue.
    Due {
        /// Days.
        days_left: i32,
    },
}

impl RotationPolicy {
    /// What it says of a secret made then.
    #[must_use]
    pub fn judge(&self, issued_ms: i64, now_ms: i64) -> Rotation {
        let due_ms = issued_ms.saturating_add(i64::from(self.max_age_days).saturating_mul(DAY_MS));
        let left_ms = due_ms.saturating_sub(now_ms);
        if left_ms > i64::from(self.warn_days).saturating_mul(DAY_MS) {
            return Rotation::Fresh;
        }
        let days_left = i32::try_from(left_ms.div_euclid(DAY_MS)).unwrap_or(i32::MIN);
        Rotation::Due { days_left }
    }

    /// Whether a secret made then is refused.
    #[must_use]
    pub fn refuses(&self, issued_ms: i64, now_ms: i64) -> bool {
        let overdue = |rotation| matches!(rotation, Rotation::Due { days_left } if days_left < 0);
        self.enforce && overdue(self.judge(issued_ms, now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_warned_about_and_then_refused() {
        let policy = RotationPolicy { enforce: true, ..RotationPolicy::default() };
        let at = |ms: i64| (policy.judge(1_000, 1_000 + ms), policy.refuses(1_000, 1_000 + ms));
        let due = |days_left| Rotation::Due { days_left };
        assert_eq!(at(-5 * DAY_MS), (Rotation::Fresh, false), "a clock that was set back");
        assert_eq!(at(76 * DAY_MS - 1), (Rotation::Fresh, false));
        assert_eq!(at(76 * DAY_MS), (due(14), false));
        assert_eq!(at(89 * DAY_MS + 1), (due(0), false));
        assert_eq!(at(90 * DAY_MS), (due(0), false));
        assert_eq!(at(90 * DAY_MS + 1), (due(-1), true));
        assert_eq!(policy.judge(i64::MIN, i64::MAX), due(i32::MIN));
        let lenient = RotationPolicy::default();
        assert!(!lenient.refuses(0, 1_000 * DAY_MS));
        assert_eq!(lenient.judge(0, 100 * DAY_MS), due(-10));
    }
}
