use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Which identical requests share one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CoalesceOptions {
    /// Whether requests share calls at all. Default true.
    pub enabled: bool,
    /// Also requests whose answers chance would make different: all that share a call get the same
    /// one. Default false.
    pub any_parameters: bool,
    /// Most requests that share one call. Default 100.
    #[schemars(range(min = 1))]
    pub max_sharers: u32,
    /// Most calls that can be shared at a time. Default 10,000.
    pub max_calls: u32,
}

impl Default for CoalesceOptions {
    fn default() -> Self {
        Self { enabled: true, any_parameters: false, max_sharers: 100, max_calls: 10_000 }
    }
}

/// What decides whether a request may share a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CallParameters {
    /// Its temperature, if it gives one.
    pub temperature: Option<f64>,
    /// Whether it gives a seed.
    pub seed: bool,
    /// Whether the provider keeps something of it (a stored response, a conversation, a batch): then
    /// two calls do not do the same as one.
    pub stores: bool,
    /// Whether the caller asked for it to be shared, or not to be.
    pub asked: Option<bool>,
}

/// Identifies requests that may share a call: a SHA-256, as whoever found a collision would read
/// the answer to another's prompt.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoalesceKey([u8; 32]);

impl std::fmt::Debug for CoalesceKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "CoalesceKey({:02x?}..)", self.0.get(..4).unwrap_or_default())
    }
}

/// The key of a request, or `None` if it needs a call of its own.
///
/// `tenant` tells those apart who must not see each other's answers, `route` and `surface` (which
/// API, streamed or not) what else changes the answer. `body` is what would be sent, in a form in
/// which equal requests are equal bytes.
#[must_use]
pub fn coalesce_key(
    options: &CoalesceOptions,
    parameters: &CallParameters,
    tenant: &str,
    route: &str,
    surface: &str,
    body: &[u8],
) -> Option<CoalesceKey> {
    // -0.0 is 0 as well.
    let deterministic = parameters.seed || parameters.temperature == Some(0.0);
    let wanted = parameters.asked.unwrap_or(deterministic || options.any_parameters);
    if !options.enabled || parameters.stores || !wanted {
        return None;
    }
    let mut hash = Sha256::new();
    for field in [tenant.as_bytes(), route.as_bytes(), surface.as_bytes(), body] {
        // With the lengths no two lists of fields are the same bytes.
        hash.update((field.len() as u64).to_le_bytes());
        hash.update(field);
    }
    Some(CoalesceKey(hash.finalize().into()))
}

/// A call that requests may share; never used twice in a table's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SharedCall {
    key: CoalesceKey,
    number: u64,
}

/// A request's part in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Joined {
    /// It makes the call; others may join.
    Leader(SharedCall),
    /// The call is under way; it gets the same answer.
    Follower(SharedCall),
    /// It makes a call that nobody joins, as there are too many.
    Alone,
}

/// What is left of a call when a request has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Left {
    /// Others wait for the answer.
    Shared,
    /// Nobody does: the call is to be cancelled.
    Abandoned,
    /// The call had ended.
    Ended,
}

#[derive(Debug)]
struct Call {
    number: u64,
    sharers: u32,
    open: bool,
}

/// The calls under way that requests share.
#[derive(Debug)]
pub struct InFlight {
    options: CoalesceOptions,
    calls: BTreeMap<CoalesceKey, Call>,
    last_number: u64,
}

impl InFlight {
    /// No calls.
    #[must_use]
    pub fn new(options: CoalesceOptions) -> Self {
        Self { options, calls: BTreeMap::new(), last_number: 0 }
    }

    /// A request joins the call of its key, or begins it.
    pub fn join(&mut self, key: CoalesceKey) -> Joined {
        if let Some(call) = self.calls.get_mut(&key) {
            if !call.open || call.sharers >= self.options.max_sharers {
                return Joined::Alone;
            }
            call.sharers = call.sharers.saturating_add(1);
            return Joined::Follower(SharedCall { key, number: call.number });
        }
        if self.calls.len() >= self.options.max_calls as usize {
            return Joined::Alone;
        }
        self.last_number = self.last_number.saturating_add(1);
        let number = self.last_number;
        self.calls.insert(key, Call { number, sharers: 1, open: true });
        Joined::Leader(SharedCall { key, number })
    }

    /// Nobody may join any more (what came of the answer is no longer kept).
    pub fn close(&mut self, call: SharedCall) {
        if let Some(call) = self.get(call) {
            call.open = false;
        }
    }

    /// A request, leader or follower, no longer wants the answer.
    pub fn leave(&mut self, call: SharedCall) -> Left {
        let Some(entry) = self.get(call) else { return Left::Ended };
        entry.sharers = entry.sharers.saturating_sub(1);
        if entry.sharers > 0 {
            return Left::Shared;
        }
        self.calls.remove(&call.key);
        Left::Abandoned
    }

    /// The call has ended, well or badly. Returns how many requests share what came of it: 0 if it
    /// had ended before.
    pub fn finish(&mut self, call: SharedCall) -> u32 {
        let Some(sharers) = self.get(call).map(|call| call.sharers) else { return 0 };
        self.calls.remove(&call.key);
        sharers
    }

    /// Calls under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether no call is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    fn get(&mut self, call: SharedCall) -> Option<&mut Call> {
        self.calls.get_mut(&call.key).filter(|entry| entry.number == call.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIXED: CallParameters =
        CallParameters { temperature: Some(0.0), seed: false, stores: false, asked: None };

    fn key_with(options: &CoalesceOptions, parameters: &CallParameters) -> Option<CoalesceKey> {
        coalesce_key(options, parameters, "t", "r", "s", b"body")
    }

    fn key(body: &[u8]) -> CoalesceKey {
        coalesce_key(&CoalesceOptions::default(), &FIXED, "t", "r", "s", body).expect("shared")
    }

    #[test]
    fn only_requests_whose_answers_chance_does_not_change_share_unless_asked() {
        let options = CoalesceOptions::default();
        let chance = CallParameters { temperature: None, ..FIXED };
        let warm = CallParameters { temperature: Some(0.7), ..FIXED };
        assert!(key_with(&options, &FIXED).is_some());
        assert!(key_with(&options, &CallParameters { seed: true, ..warm }).is_some());
        assert!(key_with(&options, &CallParameters { asked: Some(true), ..warm }).is_some());
        assert_eq!(key_with(&options, &chance), None);
        assert_eq!(key_with(&options, &warm), None);
        assert_eq!(
            key_with(&options, &CallParameters { temperature: Some(f64::NAN), ..FIXED }),
            None
        );
        assert_eq!(key_with(&options, &CallParameters { asked: Some(false), ..FIXED }), None);
        let any = CoalesceOptions { any_parameters: true, ..options };
        assert!(key_with(&any, &chance).is_some());
        let off = CoalesceOptions { enabled: false, ..any };
        assert_eq!(key_with(&off, &CallParameters { asked: Some(true), ..FIXED }), None);
    }

    #[test]
    fn what_the_provider_stores_is_never_shared() {
        let any = CoalesceOptions { any_parameters: true, ..CoalesceOptions::default() };
        let stored = CallParameters { stores: true, asked: Some(true), ..FIXED };
        assert_eq!(key_with(&any, &stored), None);
    }

    #[test]
    fn every_field_tells_requests_apart() {
        let of = |tenant, route, surface, body| {
            coalesce_key(&CoalesceOptions::default(), &FIXED, tenant, route, surface, body)
        };
        let keys = [
            of("a", "b", "c", b"d"),
            of("x", "b", "c", b"d"),
            of("a", "x", "c", b"d"),
            of("a", "b", "x", b"d"),
            of("a", "b", "c", b"x"),
            of("ab", "", "c", b"d"),
            of("a", "bc", "", b"d"),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(key.is_some() && !keys[..at].contains(key), "{at}");
        }
        assert_eq!(of("a", "b", "c", b"d"), keys[0]);
    }

    #[test]
    fn one_calls_and_the_others_get_its_answer() {
        let mut table = InFlight::new(CoalesceOptions::default());
        let Joined::Leader(call) = table.join(key(b"1")) else { panic!("first") };
        assert_eq!(table.join(key(b"1")), Joined::Follower(call));
        assert_eq!(table.join(key(b"1")), Joined::Follower(call));
        assert!(matches!(table.join(key(b"2")), Joined::Leader(_)));
        assert_eq!((table.finish(call), table.finish(call)), (3, 0));
        assert_eq!(table.leave(call), Left::Ended);
        assert!(matches!(table.join(key(b"1")), Joined::Leader(_)));
    }

    #[test]
    fn the_call_goes_on_without_its_leader_until_nobody_wants_it() {
        let mut table = InFlight::new(CoalesceOptions::default());
        let Joined::Leader(call) = table.join(key(b"1")) else { panic!("first") };
        assert_eq!(table.join(key(b"1")), Joined::Follower(call));
        assert_eq!(table.leave(call), Left::Shared);
        assert_eq!(table.join(key(b"1")), Joined::Follower(call));
        assert_eq!((table.leave(call), table.leave(call)), (Left::Shared, Left::Abandoned));
        assert!(table.is_empty());
    }

    #[test]
    fn who_leaves_a_call_that_ended_does_not_leave_the_next_one() {
        let mut table = InFlight::new(CoalesceOptions::default());
        let Joined::Leader(old) = table.join(key(b"1")) else { panic!("first") };
        assert_eq!(table.finish(old), 1);
        let Joined::Leader(new) = table.join(key(b"1")) else { panic!("first again") };
        table.close(old);
        assert_eq!(table.leave(old), Left::Ended);
        assert_eq!(table.join(key(b"1")), Joined::Follower(new));
        assert_eq!(table.finish(new), 2);
    }

    #[test]
    fn closed_and_crowded_calls_are_not_joined() {
        let options =
            CoalesceOptions { max_sharers: 2, max_calls: 2, ..CoalesceOptions::default() };
        let mut table = InFlight::new(options);
        let Joined::Leader(first) = table.join(key(b"1")) else { panic!("first") };
        assert_eq!(table.join(key(b"1")), Joined::Follower(first));
        assert_eq!(table.join(key(b"1")), Joined::Alone);
        let Joined::Leader(second) = table.join(key(b"2")) else { panic!("first") };
        table.close(second);
        assert_eq!(table.join(key(b"2")), Joined::Alone);
        assert_eq!((table.join(key(b"3")), table.len()), (Joined::Alone, 2));
    }
}
