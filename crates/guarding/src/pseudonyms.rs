//! Placeholders that stand for personal data outside, and are put back into the answer.
//!
//! A placeholder is `<PERSON_K7Q2M>`: a word for the kind, and five letters and digits made by HMAC
//! (RFC 2104, SHA-256) from the value, the conversation and a key, so that the same value is the
//! same placeholder in every turn of a conversation and nowhere else. Models bend, translate and
//! re-punctuate placeholders; the five characters are what they are known again by.

use std::collections::HashMap;
use std::ops::Range;

use ring::hmac;

use crate::finding::Category;

/// No letters that are mistaken for others (RFC 4648 base32 is not meant here).
const ALPHABET: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
const CODE: usize = 5;
/// Longest word before a code, in characters.
const LONGEST_WORD: usize = 24;
/// Longest ending that a model bends a placeholder by, in characters.
const LONGEST_ENDING: usize = 4;

/// The placeholders of a request. Lives as long as the request and is written nowhere.
pub struct Pseudonyms {
    key: hmac::Key,
    conversation: Vec<u8>,
    values: HashMap<String, (Category, String)>,
}

impl std::fmt::Debug for Pseudonyms {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Pseudonyms").field("count", &self.values.len()).finish()
    }
}

impl Pseudonyms {
    /// Placeholders of a conversation, made with a key of at least 16 bytes.
    #[must_use]
    pub fn new(key: &[u8], conversation: &[u8]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            conversation: conversation.to_vec(),
            values: HashMap::new(),
        }
    }

    /// The placeholder for a value. `text` is where it stands: a placeholder's code never stands in
    /// it already, so that what a user writes is not taken for one.
    pub fn placeholder(&mut self, category: Category, value: &str, text: &str) -> String {
        for attempt in 0_u32.. {
            let code = self.code(category, value, attempt);
            let taken = self.values.get(&code).is_some_and(|(_, other)| other != value);
            if taken || (!self.values.contains_key(&code) && text.contains(&code)) {
                continue;
            }
            let placeholder = format!("<{}_{code}>", word(category));
            self.values.insert(code, (category, value.to_owned()));
            return placeholder;
        }
        format!("<{}>", word(category))
    }

    fn code(&self, category: Category, value: &str, attempt: u32) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [self.conversation.as_slice(), category.name().as_bytes(), value.as_bytes()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.update(&attempt.to_be_bytes());
        let tag = context.sign();
        tag.as_ref()
            .iter()
            .take(CODE)
            .map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]))
            .collect()
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Puts the values back. `as_json`: the text is JSON, so values are escaped as in its strings.
    #[must_use]
    pub fn restore(&self, text: &str, as_json: bool) -> String {
        let mut restored = String::with_capacity(text.len());
        let mut done = 0;
        for (range, value) in self.found(text) {
            restored.push_str(text.get(done..range.start).unwrap_or_default());
            push(&mut restored, value, as_json);
            done = range.end;
        }
        restored.push_str(text.get(done..).unwrap_or_default());
        restored
    }

    /// Whether any placeholder stands in the text.
    #[must_use]
    pub fn stands_in(&self, text: &str) -> bool {
        !self.values.is_empty() && !self.found(text).is_empty()
    }

    /// The placeholders in a text, with what they stand for.
    fn found(&self, text: &str) -> Vec<(Range<usize>, &str)> {
        let mut found = Vec::new();
        let mut done = 0;
        for (at, _) in text.match_indices('_') {
            if at < done {
                continue;
            }
            let Some((range, value)) = self.around(text, at, done) else { continue };
            done = range.end;
            found.push((range, value));
        }
        found
    }

    /// The placeholder whose `_` stands at `at`, if it is one. It does not begin before `from`.
    fn around(&self, text: &str, at: usize, from: usize) -> Option<(Range<usize>, &str)> {
        // Some models escape the underscore as Markdown wants it.
        let before = text.get(from..at)?;
        let word_end = before.strip_suffix('\\').unwrap_or(before);
        let after = text.get(at + 1..)?;
        let code: String =
            after.chars().take(CODE).map(|character| character.to_ascii_uppercase()).collect();
        let (_, value) = self.values.get(&code)?;
        let letters: usize = word_end
            .chars()
            .rev()
            .take(LONGEST_WORD)
            .take_while(|character| character.is_alphabetic())
            .map(char::len_utf8)
            .sum();
        if letters == 0 {
            return None;
        }
        let mut start = from + word_end.len() - letters;
        let mut end = at + 1 + CODE;
        let opened = text.get(from..start).is_some_and(|before| before.ends_with('<'));
        start -= usize::from(opened);
        end += bent(text.get(end..).unwrap_or_default());
        let closed = opened && text.get(end..).is_some_and(|rest| rest.starts_with('>'));
        if closed {
            end += 1;
            end += bent(text.get(end..).unwrap_or_default());
        }
        Some((start..end, value))
    }
}

/// Bytes of an ending in small Cyrillic letters, by which Russian bends words it does not know.
fn bent(rest: &str) -> usize {
    let letters = |character: &char| matches!(character, 'а'..='я' | 'ё');
    let ending = rest.chars().take_while(letters).take(LONGEST_ENDING + 1).count();
    if ending > LONGEST_ENDING { 0 } else { ending * 2 }
}

fn push(out: &mut String, value: &str, as_json: bool) {
    if !as_json {
        out.push_str(value);
        return;
    }
    let quoted = serde_json::to_string(value).unwrap_or_default();
    out.push_str(quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default());
}

/// The word of a placeholder.
fn word(category: Category) -> &'static str {
    match category {
        Category::PersonName => "PERSON",
        Category::Phone => "PHONE",
        Category::Email => "EMAIL",
        Category::PostalAddress => "ADDRESS",
        Category::Passport | Category::ForeignPassport => "PASSPORT",
        Category::InnOrganisation | Category::InnPerson => "INN",
        Category::Snils => "SNILS",
        Category::Ogrn | Category::Ogrnip => "OGRN",
        Category::Kpp => "KPP",
        Category::MedicalPolicy => "POLICY",
        Category::DriverLicence => "LICENCE",
        Category::VehiclePlate => "PLATE",
        Category::Vin => "VIN",
        Category::BirthCertificate => "CERTIFICATE",
        Category::MilitaryId => "MILITARY",
        Category::BankCard => "CARD",
        Category::BankAccount | Category::Iban => "ACCOUNT",
        Category::DateOfBirth => "BIRTHDATE",
        Category::SocialSecurityNumber => "SSN",
        Category::IpAddress => "IP",
        Category::ApiKey
        | Category::JsonWebToken
        | Category::PrivateKey
        | Category::ConnectionString
        | Category::Secret => "SECRET",
    }
}

/// A placeholder that nothing can be restored from.
#[must_use]
pub fn redacted(category: Category) -> String {
    format!("[{}]", word(category))
}

/// The value with all but its last four letters and digits hidden; with all hidden if it has fewer
/// than eight.
#[must_use]
pub fn masked(value: &str) -> String {
    let counted = value.chars().filter(|character| character.is_alphanumeric()).count();
    let mut hidden = if counted < 8 { counted } else { counted - 4 };
    value
        .chars()
        .map(|character| {
            if !character.is_alphanumeric() || hidden == 0 {
                return character;
            }
            hidden -= 1;
            '*'
        })
        .collect()
}

/// Puts values back into a text that comes in pieces. Holds back only what may be the beginning of a
/// placeholder.
#[derive(Debug, Default)]
pub struct Restorer {
    held: String,
}

/// Most bytes that are held back: longer than any placeholder.
const MOST_HELD: usize = 160;

impl Restorer {
    /// Takes a piece and gives what is ready.
    #[must_use]
    pub fn push(&mut self, piece: &str, pseudonyms: &Pseudonyms, as_json: bool) -> String {
        self.held.push_str(piece);
        let ready = ready(&self.held);
        let rest = self.held.split_off(ready);
        let out = pseudonyms.restore(&self.held, as_json);
        self.held = rest;
        out
    }

    /// The text is over: what was held back.
    #[must_use]
    pub fn finish(&mut self, pseudonyms: &Pseudonyms, as_json: bool) -> String {
        pseudonyms.restore(&std::mem::take(&mut self.held), as_json)
    }
}

/// How much of a text cannot be part of a placeholder that is not complete yet.
fn ready(text: &str) -> usize {
    let part = |character: char| {
        character.is_alphanumeric() || matches!(character, '<' | '_' | '\\' | '>')
    };
    let tail = text.char_indices().rev().take_while(|(_, character)| part(*character)).last();
    let Some((begin, _)) = tail else { return text.len() };
    let tail = text.get(begin..).unwrap_or_default();
    // A word that is written small is none; one that holds no `<` or `_` may become one only if it
    // is not longer than the word of a placeholder.
    let marked = tail.contains(['<', '_']);
    let letters = tail.chars().count();
    let bare = letters <= LONGEST_WORD && tail.chars().next().is_some_and(char::is_uppercase);
    if (marked || bare) && tail.len() <= MOST_HELD { begin } else { text.len() }
}

#[cfg(test)]
#[path = "tests/pseudonyms.rs"]
mod tests;
