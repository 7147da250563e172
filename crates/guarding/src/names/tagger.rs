//! A linear chain over the words of a run: which begin a name, which go on with it.

use std::sync::LazyLock;

use super::features::BUCKETS;

/// Labels: no name, its first word, a further word.
pub const LABELS: usize = 3;
/// Version of the weights' format.
const VERSION: u8 = 1;
/// Bytes before the weights: version, three spare, then scale, bias and nine steps.
const HEADER: usize = 4 + 11 * 4;

static WEIGHTS: &[u8] = include_bytes!("../../weights/names.bin");

/// Scores of the labels of a word; that of no name is 0.
pub type Scores = [f32; LABELS];

/// What one word is, with the chances of each label.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tagged {
    /// The best label.
    pub label: u8,
    /// Probability that the word is in a name, 0 to 1.
    pub chance: f32,
}

/// Weights of the chain.
#[derive(Debug, Clone)]
pub struct Tagger {
    /// For each place two: of beginning a name, of going on with it.
    weights: Vec<i8>,
    scale: f32,
    bias: f32,
    /// What a label gives to the next, by both.
    steps: [[f32; LABELS]; LABELS],
}

impl Tagger {
    /// The weights that come with the program.
    #[must_use]
    pub fn builtin() -> Option<&'static Self> {
        static BUILTIN: LazyLock<Option<Tagger>> = LazyLock::new(|| Tagger::read(WEIGHTS));
        BUILTIN.as_ref()
    }

    /// Reads weights; nothing when they are not whole or of another version.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != HEADER + 2 * BUCKETS || bytes.first() != Some(&VERSION) {
            return None;
        }
        let (head, weights) = bytes.split_at(HEADER);
        let mut numbers = head
            .get(4..)?
            .chunks_exact(4)
            .map(|four| f32::from_le_bytes(four.try_into().unwrap_or_default()));
        let (scale, bias) = (numbers.next()?, numbers.next()?);
        let mut steps = [[0.0; LABELS]; LABELS];
        for step in steps.iter_mut().flatten() {
            *step = numbers.next()?;
        }
        let weights = weights.iter().map(|byte| i8::from_le_bytes([*byte])).collect();
        Some(Self { weights, scale, bias, steps })
    }

    /// Weights as they are kept: `pairs` has two for each place, `bias` speaks for names everywhere.
    #[must_use]
    pub fn write(pairs: &[f32], bias: f32, steps: [[f32; LABELS]; LABELS]) -> Vec<u8> {
        let most = pairs.iter().fold(0.0_f32, |most, weight| most.max(weight.abs())).min(4.0);
        let scale = if most > 0.0 { most / 127.0 } else { 1.0 };
        let mut bytes = vec![VERSION, 0, 0, 0];
        for number in [scale, bias].into_iter().chain(steps.into_iter().flatten()) {
            bytes.extend(number.to_le_bytes());
        }
        let small = pairs.iter().map(|weight| (weight / scale).round().clamp(-127.0, 127.0) as i8);
        bytes.extend(small.take(2 * BUCKETS).flat_map(i8::to_le_bytes));
        bytes
    }

    /// Scores of a word with these features.
    #[must_use]
    pub fn score(&self, places: &[u32]) -> Scores {
        let (mut begins, mut goes_on) = (0_i32, 0_i32);
        for place in places {
            let place = *place as usize * 2;
            if let Some([first, second]) = self.weights.get(place..place + 2) {
                begins += i32::from(*first);
                goes_on += i32::from(*second);
            }
        }
        let score = |sum: i32| sum as f32 * self.scale + self.bias;
        [0.0, score(begins), score(goes_on)]
    }

    /// The best labels of a run.
    #[must_use]
    pub fn tag(&self, scores: &[Scores]) -> Vec<Tagged> {
        let chances = Chances::of(scores, &self.steps);
        let labels = best(scores, &self.steps);
        labels
            .into_iter()
            .zip(&chances.labels)
            .map(|(label, chance)| Tagged { label, chance: 1.0 - chance[0] })
            .collect()
    }
}

/// What a label adds to the next one; a name cannot go on that has not begun.
fn step(steps: &[[f32; LABELS]; LABELS], from: usize, to: usize) -> f32 {
    if from == 0 && to == 2 { -1e4 } else { steps[from][to] }
}

/// The labels with the highest sum.
fn best(scores: &[Scores], steps: &[[f32; LABELS]; LABELS]) -> Vec<u8> {
    let mut from: Vec<[u8; LABELS]> = Vec::with_capacity(scores.len());
    let mut sums = [0.0, -1e4, -1e4];
    for score in scores {
        let mut next = [f32::MIN; LABELS];
        let mut came = [0_u8; LABELS];
        for to in 0..LABELS {
            for (label, sum) in sums.iter().enumerate() {
                let sum = sum + step(steps, label, to) + score[to];
                if sum > next[to] {
                    next[to] = sum;
                    came[to] = label as u8;
                }
            }
        }
        sums = next;
        from.push(came);
    }
    let mut label =
        (0..LABELS).max_by(|one, other| sums[*one].total_cmp(&sums[*other])).unwrap_or(0);
    let mut labels = vec![0; scores.len()];
    for (place, came) in labels.iter_mut().zip(&from).rev() {
        *place = label as u8;
        label = usize::from(came[label]);
    }
    labels
}

/// Chances of labels and of steps between them, by all ways through a run.
#[derive(Debug, Clone)]
pub struct Chances {
    /// Of each label of each word.
    pub labels: Vec<[f32; LABELS]>,
    /// How often each step is expected.
    pub steps: [[f32; LABELS]; LABELS],
    /// Logarithm of the sum over all ways.
    pub total: f32,
}

fn log_sum(values: [f32; LABELS]) -> f32 {
    let most = values.iter().copied().fold(f32::MIN, f32::max);
    most + values.iter().map(|value| (value - most).exp()).sum::<f32>().ln()
}

impl Chances {
    /// By sums forward and back.
    #[must_use]
    pub fn of(scores: &[Scores], steps: &[[f32; LABELS]; LABELS]) -> Self {
        let mut forward: Vec<[f32; LABELS]> = Vec::with_capacity(scores.len());
        let mut last = [0.0, -1e4, -1e4];
        for score in scores {
            last = std::array::from_fn(|to| {
                score[to] + log_sum(std::array::from_fn(|from| last[from] + step(steps, from, to)))
            });
            forward.push(last);
        }
        let total = log_sum(last);
        let mut chances = Self {
            labels: vec![[0.0; LABELS]; scores.len()],
            steps: [[0.0; LABELS]; LABELS],
            total,
        };
        let mut back = [0.0; LABELS];
        for at in (0..scores.len()).rev() {
            let before = if at == 0 { [0.0, -1e4, -1e4] } else { forward[at - 1] };
            chances.labels[at] =
                std::array::from_fn(|label| (forward[at][label] + back[label] - total).exp());
            for (from, sum) in before.iter().enumerate() {
                for to in 0..LABELS {
                    let way = sum + step(steps, from, to) + scores[at][to] + back[to];
                    chances.steps[from][to] += (way - total).exp();
                }
            }
            back = std::array::from_fn(|from| {
                log_sum(std::array::from_fn(|to| step(steps, from, to) + scores[at][to] + back[to]))
            });
        }
        chances
    }
}
