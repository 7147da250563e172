//! Regression that forgets: what a deployment's quality depends on, learned one answer at a time.

use crate::request::{PromptFeatures, TaskClass};

/// Numbers that describe a request to the regression.
pub(crate) const DIMENSIONS: usize = 8 + TaskClass::COUNT + PromptFeatures::TOPICS;

/// What a request is like, as numbers of about the same size.
pub(crate) type Context = [f32; DIMENSIONS];

/// The context of a request: a constant 1, what the scan found, its class, its topic.
pub(crate) fn context(features: &PromptFeatures) -> Context {
    let sound = |value: f32, low: f32, high: f32| {
        if value.is_finite() { value.clamp(low, high) } else { 0.0 }
    };
    let head = [
        1.0,
        sound(features.complexity, 0.0, 1.0) - 0.3,
        // Centred at 150 tokens: what is left of the constant is then the mean of ordinary requests.
        (sound(features.log_tokens, 0.0, 16.0) - 5.0) * 0.75,
        sound(features.cyrillic, 0.0, 1.0),
        sound(features.code, 0.0, 1.0),
        sound(features.mathematics, 0.0, 1.0),
        f32::from(features.turns.min(20)) / 20.0,
        f32::from(features.tools.min(1)),
    ];
    let mut context = [0.0; DIMENSIONS];
    for (to, from) in context.iter_mut().zip(head) {
        *to = from;
    }
    if let Some(to) = context.get_mut(head.len() + features.class.index()) {
        *to = 1.0;
    }
    let topics = context.iter_mut().skip(head.len() + TaskClass::COUNT);
    for (to, from) in topics.zip(features.topic) {
        *to = sound(from, -1.0, 1.0);
    }
    context
}

/// `a` times `b`, summed; in eight sums, so that the compiler can use vector instructions.
pub(crate) fn dot(a: &Context, b: &Context) -> f32 {
    let mut sums = [0.0f32; 8];
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

type Row = [f64; DIMENSIONS];

/// Ridge regression with forgetting. With `g` the discount, it keeps the inverse of
/// `A = sum g^age x x' + ridge I` and `b = sum g^age x y` and the weights `A^-1 b`.
///
/// Forgetting also forgets the ridge, and without it directions that are never seen grow without a
/// bound. Each step therefore gives back to one dimension, in turn, what all steps of a turn took.
#[derive(Debug, Clone)]
pub(crate) struct Ridge {
    inverse: Box<[Row; DIMENSIONS]>,
    b: Row,
    weights: Context,
    next: usize,
    ridge: f64,
    /// Outcomes learned from, forgotten ones too.
    pub(crate) count: u64,
}

impl Ridge {
    pub(crate) fn new(ridge: f64) -> Self {
        let mut inverse = Box::new([[0.0; DIMENSIONS]; DIMENSIONS]);
        for (at, row) in inverse.iter_mut().enumerate() {
            if let Some(diagonal) = row.get_mut(at) {
                *diagonal = 1.0 / ridge;
            }
        }
        let zero = [0.0; DIMENSIONS];
        Self { inverse, b: zero, weights: [0.0; DIMENSIONS], next: 0, ridge, count: 0 }
    }

    /// What is expected at `x`.
    pub(crate) fn predict(&self, x: &Context) -> f32 {
        dot(&self.weights, x)
    }

    /// How uncertain that is: the standard deviation, if answers scatter by `noise`.
    pub(crate) fn deviation(&self, x: &Context, noise: f64) -> f64 {
        let mut sum = 0.0;
        for (row, at) in self.inverse.iter().zip(x) {
            let along: f64 = row.iter().zip(x).map(|(p, x)| p * f64::from(*x)).sum();
            sum += along * f64::from(*at);
        }
        noise * sum.max(0.0).sqrt()
    }

    /// Learns that `y` came of `x`.
    pub(crate) fn learn(&mut self, x: &Context, y: f64, discount: f64) {
        for row in self.inverse.iter_mut() {
            for value in row.iter_mut() {
                *value /= discount;
            }
        }
        let given = (1.0 - discount.powi(DIMENSIONS as i32)) * self.ridge;
        self.add_to(given, self.next);
        self.next = (self.next + 1) % DIMENSIONS;
        self.add(&x.map(f64::from));
        for (b, x) in self.b.iter_mut().zip(x) {
            *b = *b * discount + f64::from(*x) * y;
        }
        for (weight, row) in self.weights.iter_mut().zip(self.inverse.iter()) {
            *weight = row.iter().zip(&self.b).map(|(p, b)| p * b).sum::<f64>() as f32;
        }
        self.count += 1;
    }

    /// Forgets all but a share of what it learned; what it expects stays for the
    /// most part until it learns more.
    pub(crate) fn forget(&mut self, kept: f64) {
        for row in self.inverse.iter_mut() {
            for value in row.iter_mut() {
                *value /= kept;
            }
        }
        for at in 0..DIMENSIONS {
            self.add_to((1.0 - kept) * self.ridge, at);
        }
        for b in &mut self.b {
            *b *= kept;
        }
    }

    /// `A += amount` at one place of the diagonal.
    fn add_to(&mut self, amount: f64, at: usize) {
        let mut unit = [0.0; DIMENSIONS];
        if let Some(place) = unit.get_mut(at) {
            *place = amount.max(0.0).sqrt();
        }
        self.add(&unit);
    }

    /// `A += x x'`, by the formula of Sherman and Morrison for its inverse.
    fn add(&mut self, x: &Row) {
        let mut along = [0.0; DIMENSIONS];
        for (along, row) in along.iter_mut().zip(self.inverse.iter()) {
            *along = row.iter().zip(x).map(|(p, x)| p * x).sum();
        }
        let scale = 1.0 + along.iter().zip(x).map(|(a, x)| a * x).sum::<f64>();
        for (row, a) in self.inverse.iter_mut().zip(along) {
            for (value, b) in row.iter_mut().zip(along) {
                *value -= a * b / scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(rng: &mut fastrand::Rng) -> Context {
        let mut x = [0.0; DIMENSIONS];
        for value in &mut x {
            *value = rng.f32() - 0.5;
        }
        x[0] = 1.0;
        x
    }

    #[test]
    fn it_finds_the_weights_of_a_linear_truth() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut model = Ridge::new(1.0);
        for _ in 0..2_000 {
            let x = random(&mut rng);
            let noise = rng.f64() - 0.5;
            model.learn(
                &x,
                0.5 + 0.4 * f64::from(x[3]) - 0.3 * f64::from(x[20]) + noise * 0.2,
                0.999,
            );
        }
        let mut x = [0.0; DIMENSIONS];
        x[0] = 1.0;
        assert!((model.predict(&x) - 0.5).abs() < 0.02);
        x[3] = 0.5;
        x[20] = -0.5;
        assert!((model.predict(&x) - 0.85).abs() < 0.05, "{}", model.predict(&x));
    }

    #[test]
    fn a_direction_that_is_never_seen_stays_bounded_and_the_ridge_stays() {
        let mut model = Ridge::new(10.0);
        let mut x = [0.0; DIMENSIONS];
        x[0] = 1.0;
        for _ in 0..5_000 {
            model.learn(&x, 1.0, 0.99);
        }
        let mut unseen = [0.0; DIMENSIONS];
        unseen[5] = 1.0;
        let deviation = model.deviation(&unseen, 1.0);
        // The square root of 1 over the ridge is 0.316.
        assert!((0.25..0.4).contains(&deviation), "{deviation}");
        assert!(model.predict(&unseen).abs() < 1e-3);
        // 1 / (1 - 0.99) = 100 outcomes against a ridge of 10.
        assert!((0.88..0.95).contains(&model.predict(&x)), "{}", model.predict(&x));
    }

    #[test]
    fn what_is_no_number_becomes_zero() {
        let features = PromptFeatures {
            complexity: f32::NAN,
            log_tokens: f32::INFINITY,
            topic: [f32::NEG_INFINITY; PromptFeatures::TOPICS],
            ..PromptFeatures::default()
        };
        assert!(context(&features).iter().all(|value| value.is_finite()));
    }
}
