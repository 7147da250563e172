//! Vectors that behave like embeddings: equal texts have equal vectors, similar
//! texts have close ones, and nothing but the text decides.

use crate::answer::Answer;
use crate::draw::{Draw, stable_hash};
use crate::reply::Reply;

/// Dimensions that one trigram of the text touches.
const TOUCHED: u64 = 8;

/// A unit vector of `dimensions` numbers for `text`, from its hashed trigrams of characters.
pub(crate) fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut sums = vec![0_f32; dimensions.max(1)];
    let lower = text.to_lowercase();
    let starts: Vec<usize> = lower.char_indices().map(|(at, _)| at).chain([lower.len()]).collect();
    let width = 3.min(starts.len() - 1);
    for window in starts.windows(width + 1) {
        let gram = &lower[window[0]..window[width]];
        let mut draw = Draw::new(stable_hash(gram.as_bytes()));
        for _ in 0..TOUCHED {
            let at = draw.below(sums.len() as u64) as usize;
            sums[at] += if draw.below(2) == 0 { 1.0 } else { -1.0 };
        }
    }
    let length = sums.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        for value in &mut sums {
            *value /= length;
        }
    } else {
        sums[0] = 1.0;
    }
    sums
}

/// The answer to a planned embeddings request: input is charged, nothing is generated.
pub(crate) fn answer(mut reply: Reply, body: String) -> Answer {
    reply.charge.completion_tokens = 0;
    reply.charge.reasoning_tokens = 0;
    reply.choices.truncate(1);
    reply.choices[0].reasoning = None;
    reply.choices[0].text = crate::reply::Chunked::empty();
    Answer::whole(&reply, body)
}

#[cfg(test)]
mod tests {
    use super::vector;

    fn cosine(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(x, y)| x * y).sum()
    }

    #[test]
    fn similar_texts_are_close() {
        let base = vector("как оформить отпуск в этом году", 256);
        let near = vector("Как оформить отпуск в следующем году?", 256);
        let far = vector("quarterly revenue of the subsidiary", 256);
        assert!((cosine(&base, &base) - 1.0).abs() < 1e-5);
        assert!(cosine(&base, &near) > 0.5);
        assert!(cosine(&base, &far) < 0.3);
        assert_eq!(base, vector("как оформить отпуск в этом году", 256));
    }

    #[test]
    fn short_texts_have_vectors_too() {
        for text in ["", "а", "🙂", "ab"] {
            let values = vector(text, 16);
            assert_eq!(values.len(), 16);
            assert!((cosine(&values, &values) - 1.0).abs() < 1e-5, "{text}");
        }
    }
}
