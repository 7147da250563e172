use std::cmp::Ordering;

use memchr::memmem;

use crate::receive::Received;

/// Tokens of a prompt, from the bytes of the request that carries it: a bound for a reservation,
/// not a count. JSON around the text is counted too; pictures and files in base64 are not.
pub(crate) fn estimate_prompt(body: &[u8]) -> u64 {
    /// Longer bodies are judged by samples of this size: a bound need not read a megabyte.
    const SAMPLE: usize = 4096;
    const SAMPLES: usize = 16;
    if body.len() <= SAMPLE * SAMPLES {
        return estimate_sample(body);
    }
    let step = body.len() / SAMPLES;
    let samples = (0..SAMPLES).filter_map(|number| body.get(number * step..number * step + SAMPLE));
    let tokens: u64 = samples.map(estimate_sample).sum();
    let sampled = (SAMPLE * SAMPLES) as u128;
    u64::try_from(u128::from(tokens) * body.len() as u128 / sampled).unwrap_or(u64::MAX)
}

fn estimate_sample(body: &[u8]) -> u64 {
    // Hundredths of a token, as `chat::estimate_tokens` weighs characters.
    const LATIN: u64 = 24;
    const CYRILLIC: u64 = 33;
    /// Longer runs without a blank are no words: base64.
    const LONGEST_WORD: u64 = 512;
    let mut weight = 0u64;
    let mut run = 0u64;
    let mut bytes = body.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\n' | b'"' => run = 0,
            b'\\' => {
                run = 0;
                if bytes.as_slice().first() == Some(&b'u') {
                    weight += CYRILLIC;
                    bytes.nth(4);
                }
            }
            // The first byte of a character of several.
            0xc0.. => {
                weight += CYRILLIC;
                run = 0;
            }
            0x80..0xc0 => {}
            _ => {
                run += 1;
                match run.cmp(&LONGEST_WORD) {
                    Ordering::Less => weight += LATIN,
                    // What looked like a word was none.
                    Ordering::Equal => weight = weight.saturating_sub((run - 1) * LATIN),
                    Ordering::Greater => {}
                }
            }
        }
    }
    weight.div_ceil(100)
}

/// Pictures in a request: parts of the type `image_url`, `input_image` or `image`.
pub(crate) fn count_images(body: &[u8]) -> u64 {
    let named = [b"\"image_url\"".as_slice(), b"\"input_image\"", b"\"image\""];
    let is_value = |at: &usize| {
        let before = body.get(..*at).unwrap_or_default().trim_ascii_end();
        before.last() == Some(&b':')
    };
    let count = |name: &[u8]| memmem::find_iter(body, name).filter(is_value).count() as u64;
    named.into_iter().map(count).sum()
}

/// The most tokens that the caller allows in the answer, if the request says so.
pub(crate) fn max_output(received: &Received) -> Option<u64> {
    ["max_completion_tokens", "max_output_tokens", "max_tokens"]
        .into_iter()
        .find_map(|name| received.member(name)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn russian_counts_alike_however_it_is_written() {
        let plain = estimate_prompt("Сколько стоит доставка".as_bytes());
        let text = "Сколько стоит доставка";
        let escaped: String = text
            .chars()
            .map(|c| if c == ' ' { " ".to_owned() } else { format!("\\u{:04x}", c as u32) })
            .collect();
        assert_eq!(plain, estimate_prompt(escaped.as_bytes()));
        assert_eq!(plain, chat::estimate_tokens(text));
    }

    #[test]
    fn pictures_are_counted_in_each_api() {
        for body in [
            r#"{"content":[{"type":"image_url","image_url":{"url":"a"}},{"type":"text"}]}"#,
            r#"{"content":[{"type": "input_image", "image_url": "data:..."}]}"#,
            r#"{"content":[{"source":{}, "type" : "image"}]}"#,
        ] {
            assert_eq!(count_images(body.as_bytes()), 1, "{body}");
        }
        assert_eq!(count_images(br#"{"content":"an \"image\" of a dog"}"#), 0);
    }

    #[test]
    fn pictures_are_not_words() {
        let picture = "A".repeat(1_000_000);
        assert!(estimate_prompt(picture.as_bytes()) < 200);
    }
}
