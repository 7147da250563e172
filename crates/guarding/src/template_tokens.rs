//! Tokens by which templates of chats tell roles apart. In a content they are words that only an
//! attacker, or a text about such templates, has.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

const TOKENS: [&str; 30] = [
    "<|im_start|>",
    "<|im_end|>",
    "<|im_sep|>",
    "<|endoftext|>",
    "<|endofprompt|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|python_tag|>",
    "<|channel|>",
    "<|message|>",
    "<|start|>",
    "<|return|>",
    "<|call|>",
    "[INST]",
    "[/INST]",
    "<<SYS>>",
    "<</SYS>>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<|message_sep|>",
    "<|role_sep|>",
    "<tool_response>",
];

static AUTOMATON: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::LeftmostLongest)
        .build(TOKENS)
        .ok()
});

/// The tokens in a text, in order.
#[must_use]
pub fn find(text: &str) -> Vec<Range<usize>> {
    let Some(automaton) = AUTOMATON.as_ref() else { return Vec::new() };
    automaton.find_iter(text).map(|found| found.range()).collect()
}

/// The token so that no tokenizer takes it for one, and a person reads the same: a space after its
/// first character.
#[must_use]
pub fn harmless(token: &str) -> String {
    let mut letters = token.chars();
    letters.next().map_or_else(String::new, |first| format!("{first} {}", letters.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_harmless_is_not_found_again() {
        for token in TOKENS {
            let text = format!("раз {} два", token.to_uppercase());
            let found = find(&text);
            assert_eq!(found.len(), 1, "{token}");
            let harmless = harmless(&text[found[0].clone()]);
            assert!(find(&format!("раз {harmless} два")).is_empty());
        }
        assert!(find("if a < b || c | d > e [INSTALL]").is_empty());
    }
}
