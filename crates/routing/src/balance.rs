//! Balances among deployments that are otherwise equal: what each would take for a request, given
//! what it is doing, and what it allows.

mod load;
mod rate;

pub use load::{Finish, InFlight, LoadMeter};
pub use rate::{KnownRateLimit, RateWindow, Taken};

/// The better of two candidates drawn at random: its place in `scores`, where lower is better.
///
/// `weights` says how often each is drawn, relative to the others; one with weight 0 never is,
/// unless all have 0, and then all are drawn alike. A missing or negative weight and one that is
/// no number count as 0, a score that is no number as the worst. To compare two and not all keeps
/// requests that come at once from all going where the load was least a moment ago.
///
/// `None`: there are no candidates.
#[must_use]
pub fn pick_two(scores: &[f64], weights: &[f64], rng: &mut fastrand::Rng) -> Option<usize> {
    let first = draw(scores.len(), weights, None, rng)?;
    let Some(second) = draw(scores.len(), weights, Some(first), rng) else {
        return Some(first);
    };
    let score = |index: usize| {
        scores.get(index).copied().filter(|score| !score.is_nan()).unwrap_or(f64::INFINITY)
    };
    // A tie goes to the first drawn, which chance chose.
    Some(if score(second) < score(first) { second } else { first })
}

/// Draws one of `count` other than `except` by weight.
fn draw(
    count: usize,
    weights: &[f64],
    except: Option<usize>,
    rng: &mut fastrand::Rng,
) -> Option<usize> {
    let weight = |index: usize| {
        weights.get(index).copied().filter(|weight| weight.is_finite() && *weight > 0.0)
    };
    let others = || (0..count).filter(|&index| Some(index) != except);
    // Where any has weight, those without are for when the others fail.
    if (0..count).all(|index| weight(index).is_none()) {
        let nth = rng.usize(..others().count().max(1));
        return others().nth(nth);
    }
    let mut left = rng.f64() * others().filter_map(weight).sum::<f64>();
    let mut last = None;
    for index in others() {
        if let Some(weight) = weight(index) {
            last = Some(index);
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
    }
    last
}
