//! Trains the chain by gradients of the likelihood.

use guarding::names::Prepared;
use guarding::names::features::{BUCKETS, Features};
use guarding::names::tagger::{Chances, LABELS, Tagger};

use crate::grammar::Row;

const EPOCHS: usize = 10;
const RATE: f32 = 0.12;
/// Share of words of which only shape and kind are shown, so that unknown names are learned too.
const BLIND: f64 = 0.25;
const SHRINK: f32 = 2e-6;

/// Words of a run as they are learned from.
struct Chain {
    words: Vec<Features>,
    labels: Vec<u8>,
    weight: f32,
}

fn chains(row: &Row, weight: f32, random: &mut fastrand::Rng, out: &mut Vec<Chain>) {
    let prepared = Prepared::new(&row.text);
    let label = |at: usize| -> u8 {
        let token = &prepared.tokens[at];
        let Some(name) =
            row.names.iter().find(|name| token.start < name.end && token.end > name.start)
        else {
            return 0;
        };
        let first = at == 0 || prepared.tokens[at - 1].end <= name.start;
        if first { 1 } else { 2 }
    };
    let labels: Vec<u8> = (0..prepared.tokens.len()).map(label).collect();
    let mut spans = Vec::new();
    for at in 0..labels.len() {
        if labels[at] == 1 {
            let end = (at + 1..labels.len()).find(|at| labels[*at] != 2).unwrap_or(labels.len());
            // The rest of a text is not always helped: some names are overlooked at first.
            if random.f64() < 0.9 {
                spans.push(at..end);
            }
        }
    }
    let known = prepared.known(spans.iter());
    for with_known in [false, true] {
        if with_known && known.is_empty() {
            continue;
        }
        for run in &prepared.runs {
            let mut chain = Chain {
                words: Vec::new(),
                labels: Vec::new(),
                weight: if known.is_empty() { weight } else { weight * 0.5 },
            };
            let mut last = 0;
            for at in run.clone() {
                let mut features = Features::default();
                let named = if with_known {
                    known.get(&prepared.stem(at)).copied().unwrap_or(0)
                } else {
                    0
                };
                prepared.features(run, at, named, &mut features);
                let mut label = labels[at];
                if label == 2 && last == 0 {
                    label = 1;
                }
                last = label;
                chain.words.push(features);
                chain.labels.push(label);
            }
            out.push(chain);
        }
    }
}

/// Weights learned from texts, each set with its weight.
pub(crate) fn train(sets: &[(&[Row], f32)], bias: f32, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut all = Vec::new();
    for (rows, weight) in sets {
        for row in *rows {
            chains(row, *weight, &mut random, &mut all);
        }
    }
    let mut weights = vec![0.0_f32; 2 * BUCKETS];
    let mut squares = vec![1e-4_f32; 2 * BUCKETS];
    let mut steps = [[0.0_f32; LABELS]; LABELS];
    for epoch in 0..EPOCHS {
        random.shuffle(&mut all);
        let rate = RATE * (1.0 - epoch as f32 / EPOCHS as f32).max(0.15);
        for chain in &all {
            let shown: Vec<&[u32]> = chain
                .words
                .iter()
                .map(|word| {
                    let until = if random.f64() < BLIND { word.lexical } else { word.places.len() };
                    &word.places[..until]
                })
                .collect();
            let scores: Vec<_> = shown
                .iter()
                .map(|places| {
                    let mut score = [0.0; LABELS];
                    for place in *places {
                        score[1] += weights[*place as usize * 2];
                        score[2] += weights[*place as usize * 2 + 1];
                    }
                    score
                })
                .collect();
            let chances = Chances::of(&scores, &steps);
            let mut from = 0;
            for ((places, chance), label) in shown.iter().zip(&chances.labels).zip(&chain.labels) {
                for (to, chance) in chance.iter().enumerate().skip(1) {
                    let wanted = f32::from(u8::from(usize::from(*label) == to));
                    let slope = (wanted - chance) * chain.weight;
                    if slope.abs() < 1e-3 {
                        continue;
                    }
                    for place in *places {
                        let at = *place as usize * 2 + to - 1;
                        squares[at] += slope * slope;
                        weights[at] += rate * slope / squares[at].sqrt() - SHRINK * weights[at];
                    }
                }
                steps[from][usize::from(*label)] += 0.01 * rate;
                from = usize::from(*label);
            }
            for (step, expected) in steps.iter_mut().flatten().zip(chances.steps.iter().flatten()) {
                *step -= 0.01 * rate * expected;
            }
        }
    }
    steps[0][2] = 0.0;
    Tagger::write(&weights, bias, steps)
}

/// What speaks for names everywhere: overlooking one costs more than a false one.
pub(crate) const BIAS: f32 = 0.7;

/// Sentences of the grammar to learn from.
pub(crate) fn made(seed: u64) -> Vec<Row> {
    use crate::templates::{ENGLISH, ENGLISH_PARTS, MORE, NEGATIVE, NEGATIVE_PARTS, PARTS, TRAIN};
    let mut rows = crate::data::generated(&[TRAIN, MORE], 30, seed);
    rows.extend(crate::data::generated(&[NEGATIVE, ENGLISH], 20, seed + 1));
    rows.extend(crate::data::generated(&[PARTS, NEGATIVE_PARTS], 80, seed + 2));
    rows.extend(crate::data::generated(&[ENGLISH_PARTS], 50, seed + 3));
    rows
}

/// Sets with their weights.
pub(crate) fn sets<'r>(
    news: &'r [Row],
    english: &'r [Row],
    made: &'r [Row],
) -> [(&'r [Row], f32); 3] {
    [(news, 2.5), (english, 1.0), (made, 0.25)]
}
