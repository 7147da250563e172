//! Texts: canned answers, token counting, cutting into chunks.

use std::sync::Arc;

use crate::reply::Chunked;
use crate::script::Language;

const RUSSIAN: &str = "Это ответ симулированной модели. Он одинаков при каждом запросе, чтобы \
проверки были повторимы: в нём есть знаки препинания, числа (42 и 3,14) и немного эмодзи 🙂.";
const ENGLISH: &str = "This is the answer of a simulated model. It is the same for every request, \
so that checks can be repeated: it has punctuation, numbers (42 and 3.14), quotes such as \"this\" \
and a little emoji 🙂. Ask for something else with a directive in double square brackets, or with \
a profile that the simulator reads at start-up.";

/// Canned answers, cut once.
pub(crate) struct Canned {
    russian: (Chunked, u64),
    english: (Chunked, u64),
}

impl Canned {
    pub(crate) fn new() -> Self {
        let cut = |text: &str| (by_tokens(text, 1), count_tokens(text));
        Self { russian: cut(RUSSIAN), english: cut(ENGLISH) }
    }

    /// The text and its tokens.
    pub(crate) fn answer(&self, language: Language) -> &(Chunked, u64) {
        match language {
            Language::Ru => &self.russian,
            Language::En => &self.english,
        }
    }

    /// Tokens of `chunked`, without counting when it is a canned answer.
    pub(crate) fn known_tokens(&self, chunked: &Chunked) -> u64 {
        [&self.russian, &self.english]
            .into_iter()
            .find(|(canned, _)| canned.same_text(chunked))
            .map_or_else(|| count_tokens(chunked.as_str()), |(_, tokens)| *tokens)
    }
}

/// Russian when there is a Cyrillic letter in the text.
pub(crate) fn language_of(text: &str) -> Language {
    // Cyrillic U+0400..U+047F starts with 0xD0 or 0xD1, which in UTF-8 starts nothing else.
    if memchr::memchr2(0xD0, 0xD1, text.as_bytes()).is_some() { Language::Ru } else { Language::En }
}

/// Byte offsets at which the pseudo-tokens of `text` end.
///
/// A token is a run of at most 4 ASCII or 3 other letters or digits with the space before it, or
/// any other character by itself; close enough to real vocabularies, and the same everywhere.
fn token_ends(text: &str) -> impl Iterator<Item = usize> + '_ {
    let mut characters = text.char_indices().peekable();
    std::iter::from_fn(move || {
        let (start, first) = characters.next()?;
        let mut end = start + first.len_utf8();
        let mut head = first;
        if first == ' '
            && let Some((at, next)) = characters.next_if(|(_, next)| next.is_alphanumeric())
        {
            end = at + next.len_utf8();
            head = next;
        }
        if head.is_alphanumeric() {
            let most = if head.is_ascii() { 4 } else { 3 };
            for _ in 1..most {
                match characters.next_if(|(_, next)| next.is_alphanumeric()) {
                    Some((at, next)) => end = at + next.len_utf8(),
                    None => break,
                }
            }
        }
        Some(end)
    })
}

/// Number of pseudo-tokens in `text`.
pub(crate) fn count_tokens(text: &str) -> u64 {
    if text.is_ascii() { ascii_tokens(text.as_bytes()) } else { token_ends(text).count() as u64 }
}

/// As [`token_ends`], for ASCII only: long prompts are mostly this or short.
fn ascii_tokens(text: &[u8]) -> u64 {
    let (mut tokens, mut at) = (0, 0);
    while at < text.len() {
        let space_before =
            text[at] == b' ' && text.get(at + 1).is_some_and(u8::is_ascii_alphanumeric);
        at += usize::from(space_before);
        let run = text[at..].iter().take(4).take_while(|byte| byte.is_ascii_alphanumeric()).count();
        at += run.max(1);
        tokens += 1;
    }
    tokens
}

/// Tokens with their bytes, for `/tokenize` endpoints.
pub(crate) fn tokens(text: &str) -> Vec<&str> {
    let mut start = 0;
    token_ends(text)
        .map(|end| {
            let token = &text[start..end];
            start = end;
            token
        })
        .collect()
}

/// The start of `text` that has at most `most` tokens.
pub(crate) fn truncated(text: &str, most: u64) -> &str {
    let Some(last) = most.checked_sub(1) else { return "" };
    let end = token_ends(text).nth(usize::try_from(last).unwrap_or(usize::MAX));
    &text[..end.unwrap_or(text.len())]
}

/// Cut into chunks of `size` tokens each.
pub(crate) fn by_tokens(text: &str, size: usize) -> Chunked {
    let size = size.max(1);
    let ends: Vec<usize> = token_ends(text).skip(size - 1).step_by(size).collect();
    Chunked::new(Arc::<str>::from(text), ends)
}

/// Cut into `count` chunks of about equal numbers of characters.
pub(crate) fn into_chunks(text: &str, count: usize) -> Chunked {
    let characters = text.chars().count();
    let count = count.clamp(1, characters.max(1));
    let ends: Vec<usize> = text
        .char_indices()
        .enumerate()
        .filter(|(index, _)| {
            // Chunk k ends where character k*characters/count starts.
            index * count / characters != (index.saturating_sub(1)) * count / characters
        })
        .map(|(_, (at, _))| at)
        .collect();
    Chunked::new(Arc::<str>::from(text), ends)
}

/// `tokens` tokens of running text, by repeating the canned answer.
pub(crate) fn filler(language: Language, tokens: usize) -> String {
    let base = match language {
        Language::Ru => RUSSIAN,
        Language::En => ENGLISH,
    };
    let mut text = String::new();
    let mut left = tokens as u64;
    let each = count_tokens(base);
    while left > 0 {
        if !text.is_empty() {
            text.push('\n');
            left -= 1;
        }
        text.push_str(truncated(base, left));
        left = left.saturating_sub(each);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_join_to_the_text() {
        for text in [RUSSIAN, ENGLISH, "🙂🙂é", "", "  \n x"] {
            for chunked in [by_tokens(text, 1), by_tokens(text, 7), into_chunks(text, 5)] {
                assert_eq!(chunked.chunks().collect::<String>(), text);
                assert!(chunked.chunks().all(|chunk| !chunk.is_empty()));
            }
        }
        assert_eq!(into_chunks(RUSSIAN, 5).len(), 5);
        assert_eq!(into_chunks("абв", 10).len(), 3);
        assert_eq!(by_tokens("one two three four", 2).chunks().next(), Some("one two"));
    }

    #[test]
    fn cumulative_text_grows() {
        let chunked = into_chunks("привет, мир", 3);
        let last = chunked.len() - 1;
        assert_eq!(chunked.up_to(last), Some("привет, мир"));
        assert_eq!(chunked.up_to(0), chunked.get(0));
    }

    #[test]
    fn counting_agrees_with_cutting() {
        for text in ["", "a", " a b", "hello world, 12345!", "a\u{e9}b", "  x  ", "tabs\tand\n"] {
            assert_eq!(count_tokens(text), tokens(text).len() as u64, "{text:?}");
            assert_eq!(tokens(text).concat(), text);
        }
        let ascii = "Some words, and 3 numbers (123456).";
        assert_eq!(ascii_tokens(ascii.as_bytes()), token_ends(ascii).count() as u64);
    }

    #[test]
    fn truncation_and_filler_count_tokens() {
        assert_eq!(truncated("one two three", 2), "one two");
        assert_eq!(truncated("one", 0), "");
        for tokens in [1, 10, 200] {
            assert_eq!(count_tokens(&filler(Language::Ru, tokens)), tokens as u64);
        }
    }

    #[test]
    fn language_is_seen() {
        assert_eq!(language_of("Hi, мир"), Language::Ru);
        assert_eq!(language_of("Hi 🙂 é"), Language::En);
    }
}
