//! What replicas tell each other about a deployment.
//!
//! Each replica tells only what it saw itself, never what it was told: nothing can go round. Events
//! (opened, recovered, cooling down) carry a number one above the highest heard of, so that all
//! replicas agree on which is the latest, whoever sent it and in whatever order messages come; one
//! that came before is not taken twice, however often and late it is repeated. Whoever still
//! protects itself for longer than the latest event says numbers its own event anew.

use serde::{Deserialize, Serialize};

use super::{Breaker, OpenReason, State, Transition};
use crate::Millis;

/// By how much protection must be longer to be told again, milliseconds: more than messages take.
const SLACK_MS: Millis = 2_000;

/// What a replica tells others about a deployment: durations, because clocks differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedHealth {
    /// The number of the event that led to [`SharedHealth::state`].
    pub version: u64,
    /// What it saw.
    pub state: SharedState,
    /// How much longer it will be out of service, milliseconds; 0 unless it is open.
    pub open_remaining_ms: Millis,
    /// The number of the event that let it cool down.
    pub cooldown_version: u64,
    /// How much longer it will be left alone, milliseconds.
    pub cooldown_remaining_ms: Millis,
}

/// What a replica saw of a deployment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SharedState {
    /// Nothing worth telling.
    #[default]
    Quiet,
    /// It is out of service.
    Open,
    /// Its time out is over, and it is being tried out.
    HalfOpen,
    /// It is in service again.
    Recovered,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sharing {
    /// The last thing seen here and its number.
    own: Own,
    own_version: u64,
    own_cool_version: u64,
    /// The highest numbers heard of.
    seen: u64,
    cool_seen: u64,
    /// The numbers of the latest events that were taken over or happened here.
    taken: u64,
    cool_taken: u64,
    /// Until when others say that it is out of service, or to be left alone.
    pub(super) told_until: Millis,
    pub(super) told_cool_until: Millis,
    /// Whether who said so did not recover yet.
    told_stands: bool,
    /// Until when others are not believed: what they said turned out wrong here.
    refuted_until: Millis,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Own {
    #[default]
    Nothing,
    Opened,
    Recovered,
}

impl Sharing {
    pub(super) fn opened(&mut self) {
        self.own = Own::Opened;
        self.refuted_until = 0;
        self.number();
    }

    pub(super) fn cooled(&mut self) {
        self.cool_seen = self.cool_seen.saturating_add(1);
        self.own_cool_version = self.cool_seen;
        self.cool_taken = self.cool_seen;
    }

    /// Requests from here succeed again.
    pub(super) fn recovered(&mut self, at: Millis, distrust_ms: Millis) {
        if self.own == Own::Opened {
            self.own = Own::Recovered;
            self.number();
        } else if self.told_stands {
            // It never failed here: perhaps the way of the one who told us is at fault.
            self.refuted_until = at.saturating_add(distrust_ms);
        }
    }

    /// What others said ends.
    pub(super) fn forget_told(&mut self, at: Millis) {
        self.told_until = self.told_until.min(at);
    }

    fn number(&mut self) {
        self.seen = self.seen.saturating_add(1);
        self.own_version = self.seen;
        self.taken = self.seen;
    }
}

impl Breaker {
    /// What the other replicas should be told; `None`: nothing ever happened.
    #[must_use]
    pub fn shared(&self, now: Millis) -> Option<SharedHealth> {
        let at = self.clock.at(now);
        let sharing = &self.sharing;
        if sharing.seen == 0 && sharing.cool_seen == 0 {
            return None;
        }
        let open_remaining_ms = match sharing.own {
            Own::Opened => self.own_until.saturating_sub(at),
            Own::Nothing | Own::Recovered => 0,
        };
        let (state, version) = match sharing.own {
            Own::Nothing => (SharedState::Quiet, sharing.seen),
            Own::Opened if open_remaining_ms > 0 => (SharedState::Open, sharing.own_version),
            Own::Opened => (SharedState::HalfOpen, sharing.own_version),
            Own::Recovered => (SharedState::Recovered, sharing.own_version),
        };
        let cooldown_remaining_ms = self.cool_until.saturating_sub(at);
        let cooldown_version =
            if cooldown_remaining_ms > 0 { sharing.own_cool_version } else { sharing.cool_seen };
        Some(SharedHealth {
            version,
            state,
            open_remaining_ms,
            cooldown_version,
            cooldown_remaining_ms,
        })
    }

    /// Takes over what another replica told.
    ///
    /// Its open breaker and its cooldown become ours for at most the time they have left; its
    /// recovery ends what we were told, and then requests try the deployment out. What was seen
    /// here is never shortened. A replica whose requests succeed although another said that they
    /// would not believes such news no more for [`super::BreakerOptions::max_open_ms`], unless
    /// the other recovers or its own requests fail: one replica with a broken network must not
    /// take a deployment from all.
    pub fn merge(&mut self, now: Millis, told: &SharedHealth) -> Option<Transition> {
        let at = self.advance(now);
        self.merge_state(at, told);
        self.merge_cooldown(at, told);
        self.advance(now);
        self.noted.take()
    }

    fn merge_state(&mut self, at: Millis, told: &SharedHealth) {
        let own_remaining = self.own_until.saturating_sub(at);
        let sharing = &mut self.sharing;
        sharing.seen = sharing.seen.max(told.version);
        if !matches!(told.state, SharedState::Open | SharedState::Recovered) {
            return;
        }
        let newer = told.version > sharing.taken;
        let shorter = told.open_remaining_ms.saturating_add(SLACK_MS) < own_remaining;
        sharing.taken = sharing.taken.max(told.version);
        if sharing.own == Own::Opened && shorter && told.version >= sharing.own_version {
            sharing.number();
        }
        if !newer {
            return;
        }
        if told.state == SharedState::Recovered {
            sharing.told_until = sharing.told_until.min(at);
            sharing.told_stands = false;
            sharing.refuted_until = 0;
            return;
        }
        if at < sharing.refuted_until {
            return;
        }
        let for_ms = told.open_remaining_ms.min(self.options.max_open_ms);
        sharing.told_until = at.saturating_add(for_ms);
        sharing.told_stands = true;
        if self.state != State::Open && for_ms > 0 {
            self.stay_open(at, for_ms, OpenReason::Told);
        }
    }

    fn merge_cooldown(&mut self, at: Millis, told: &SharedHealth) {
        let own_remaining = self.cool_until.saturating_sub(at);
        let sharing = &mut self.sharing;
        sharing.cool_seen = sharing.cool_seen.max(told.cooldown_version);
        if told.cooldown_remaining_ms == 0 {
            return;
        }
        let newer = told.cooldown_version > sharing.cool_taken;
        let shorter = told.cooldown_remaining_ms.saturating_add(SLACK_MS) < own_remaining;
        sharing.cool_taken = sharing.cool_taken.max(told.cooldown_version);
        if shorter && told.cooldown_version >= sharing.own_cool_version {
            sharing.cooled();
        }
        if newer {
            let for_ms = told.cooldown_remaining_ms.min(self.options.max_cooldown_ms);
            sharing.told_cool_until = at.saturating_add(for_ms);
        }
    }
}
