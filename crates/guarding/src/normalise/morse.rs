//! Morse code, Latin and Russian.

use std::ops::Range;

use super::language::Familiar;

const LATIN: [(&str, char); 26] = [
    (".-", 'a'),
    ("-...", 'b'),
    ("-.-.", 'c'),
    ("-..", 'd'),
    (".", 'e'),
    ("..-.", 'f'),
    ("--.", 'g'),
    ("....", 'h'),
    ("..", 'i'),
    (".---", 'j'),
    ("-.-", 'k'),
    (".-..", 'l'),
    ("--", 'm'),
    ("-.", 'n'),
    ("---", 'o'),
    (".--.", 'p'),
    ("--.-", 'q'),
    (".-.", 'r'),
    ("...", 's'),
    ("-", 't'),
    ("..-", 'u'),
    ("...-", 'v'),
    (".--", 'w'),
    ("-..-", 'x'),
    ("-.--", 'y'),
    ("--..", 'z'),
];
const RUSSIAN: [(&str, char); 32] = [
    (".-", 'а'),
    ("-...", 'б'),
    (".--", 'в'),
    ("--.", 'г'),
    ("-..", 'д'),
    (".", 'е'),
    ("...-", 'ж'),
    ("--..", 'з'),
    ("..", 'и'),
    (".---", 'й'),
    ("-.-", 'к'),
    (".-..", 'л'),
    ("--", 'м'),
    ("-.", 'н'),
    ("---", 'о'),
    (".--.", 'п'),
    (".-.", 'р'),
    ("...", 'с'),
    ("-", 'т'),
    ("..-", 'у'),
    ("..-.", 'ф'),
    ("....", 'х'),
    ("-.-.", 'ц'),
    ("---.", 'ч'),
    ("----", 'ш'),
    ("--.-", 'щ'),
    ("--.--", 'ъ'),
    ("-.--", 'ы'),
    ("-..-", 'ь'),
    ("..-..", 'э'),
    ("..--", 'ю'),
    (".-.-", 'я'),
];

/// Fewest letters of a text in Morse code.
const SHORTEST: usize = 6;

/// Parts in Morse code and what they say.
pub(super) fn decode(text: &str) -> Vec<(Range<usize>, String)> {
    let mut parts = Vec::new();
    let belongs =
        |letter: char| matches!(letter, '.' | '-' | '/' | ' ' | '|' | '·' | '−' | '–' | '•');
    let mut from = 0;
    while let Some(start) = text.get(from..).and_then(|rest| rest.find(belongs)) {
        let start = from + start;
        let rest = text.get(start..).unwrap_or_default();
        let end = start + rest.find(|letter| !belongs(letter)).unwrap_or(rest.len());
        if end - start >= 3 * SHORTEST
            && let Some(said) = text.get(start..end).and_then(of_morse)
        {
            parts.push((start..end, format!(" {said} ")));
        }
        from = end;
    }
    parts
}

fn of_morse(run: &str) -> Option<String> {
    let plain = run.replace(['·', '•'], ".").replace(['−', '–'], "-").replace('|', "/");
    [LATIN.as_slice(), RUSSIAN.as_slice()].into_iter().find_map(|table| {
        let mut said = String::new();
        for word in plain.split('/').flat_map(|word| word.split("   ")) {
            for code in word.split_whitespace() {
                said.push(table.iter().find(|(known, _)| *known == code)?.1);
            }
            said.push(' ');
        }
        let letters = said.chars().filter(|letter| letter.is_alphabetic()).count();
        (letters >= SHORTEST && Familiar::of(&said).common >= 1).then_some(said)
    })
}
