//! Words and marks of a text, with what the detector of names asks of them.

use super::lexicon::{self, Class};

/// Most letters of a word that count.
const LONGEST: usize = 40;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Letters, with hyphens and apostrophes between them.
    Word,
    /// One letter with a full stop: `И.`
    Initial,
    /// Digits.
    Number,
    /// Any other character.
    Mark,
    /// End of a line.
    Break,
}

/// How the letters of a word are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `слово`
    Lower,
    /// `Слово`
    Title,
    /// `СЛОВО`
    Upper,
    /// `сЛово`, `McDonald`
    Mixed,
    /// One capital letter.
    Single,
    /// No letters.
    None,
}

/// A piece of a text.
#[derive(Debug, Clone, Copy)]
pub struct Token {
    /// Byte where it begins.
    pub start: usize,
    /// Byte after it.
    pub end: usize,
    /// What it is.
    pub kind: Kind,
    /// How it is written.
    pub shape: Shape,
    /// Hash of the folded word.
    pub hash: u64,
    /// First three folded letters, 16 bits each.
    pub head: u64,
    /// Last eight folded letters, 16 bits each, the last lowest.
    pub tail: u128,
    /// How many letters there are, at most 255.
    pub letters: u8,
    /// What dictionaries and endings say of it.
    pub class: Class,
    /// Stands between quotation marks.
    pub quoted: bool,
    /// No space stands before it.
    pub glued: bool,
}

impl Token {
    /// Looks at the end of a small word too.
    pub(super) fn look_at_end(&mut self) {
        if self.kind == Kind::Word {
            self.class = lexicon::by_ending(self.class, self.tail, self.letters.into());
        }
    }

    /// Last `count` letters, up to four.
    #[must_use]
    pub fn suffix(&self, count: u32) -> u64 {
        (self.tail as u64) & (u64::MAX >> (64 - 16 * count.clamp(1, 4)))
    }

    /// Hash of the word without what looks like an ending.
    #[must_use]
    pub fn stem(&self, text: &str) -> u64 {
        let word = text.get(self.start..self.end).unwrap_or_default();
        let mut folded = [0_u16; LONGEST];
        let mut count = 0;
        for letter in word.chars().take(LONGEST) {
            if let Some(place) = folded.get_mut(count) {
                *place = fold(letter) as u16;
                count += 1;
            }
        }
        let mut kept = count;
        // Only vowels and the letters that endings are made of go, and three letters stay.
        while kept > 3 && count - kept < 3 {
            let last = folded.get(kept - 1).copied().and_then(|code| char::from_u32(code.into()));
            let ends = match last {
                Some('а' | 'е' | 'и' | 'о' | 'у' | 'ы' | 'э' | 'ю' | 'я' | 'ь' | 'й') => {
                    true
                }
                Some('м' | 'х') => count - kept == 0 && count > 5,
                Some('г') => count - kept == 1 && count > 6,
                _ => false,
            };
            if !ends {
                break;
            }
            kept -= 1;
        }
        let mut hash = START;
        for letter in folded.iter().take(kept) {
            hash = step(hash, u32::from(*letter));
        }
        hash
    }
}

/// Where hashes of words begin.
pub(super) const START: u64 = 0xcbf2_9ce4_8422_2325;

/// Adds a letter to a hash.
pub(super) fn step(hash: u64, letter: u32) -> u64 {
    (hash.rotate_left(5) ^ u64::from(letter)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Hash of a word that is folded already.
pub(super) fn hash(word: &str) -> u64 {
    word.chars().fold(START, |hash, letter| step(hash, letter as u32))
}

/// Lower case, with `е` for `ё` and one kind of apostrophes and hyphens.
pub(super) fn fold(letter: char) -> char {
    match letter {
        'а'..='я' | 'a'..='z' => letter,
        'А'..='Я' => char::from_u32(letter as u32 + 0x20).unwrap_or(letter),
        'A'..='Z' => letter.to_ascii_lowercase(),
        'ё' | 'Ё' => 'е',
        '’' | '‘' | '`' => '\'',
        '‐' | '‑' => '-',
        other => other.to_lowercase().next().unwrap_or(other),
    }
}

fn is_letter(letter: char) -> bool {
    matches!(letter, 'а'..='я' | 'А'..='Я' | 'a'..='z' | 'A'..='Z' | 'ё' | 'Ё')
        || (!letter.is_ascii() && letter.is_alphabetic())
        || matches!(letter, '\u{300}'..='\u{36f}')
}

fn is_upper(letter: char) -> bool {
    matches!(letter, 'А'..='Я' | 'A'..='Z' | 'Ё') || (!letter.is_ascii() && letter.is_uppercase())
}

/// Letters of a word, gathered one by one.
#[derive(Default)]
struct Word {
    hash: u64,
    part: u64,
    first_part: Option<u64>,
    head: u64,
    tail: u128,
    letters: usize,
    uppers: usize,
    first_upper: bool,
}

impl Word {
    fn new() -> Self {
        Self { hash: START, part: START, ..Self::default() }
    }

    fn push(&mut self, letter: char) {
        let folded = fold(letter) as u32;
        if matches!(folded, 0x2d) {
            self.first_part.get_or_insert(self.part);
            self.part = START;
        } else {
            self.part = step(self.part, folded);
        }
        self.hash = step(self.hash, folded);
        self.tail = self.tail << 16 | u128::from(folded as u16);
        if self.letters < 3 {
            self.head = self.head << 16 | u64::from(folded as u16);
        }
        if is_upper(letter) {
            self.uppers += 1;
            self.first_upper |= self.letters == 0;
        }
        self.letters += 1;
    }

    fn shape(&self) -> Shape {
        match (self.letters, self.uppers) {
            (_, 0) => Shape::Lower,
            (1, _) => Shape::Single,
            (letters, uppers) if uppers + usize::from(self.first_part.is_some()) >= letters => {
                Shape::Upper
            }
            (_, 1) if self.first_upper => Shape::Title,
            (_, 2) if self.first_upper && self.first_part.is_some() => Shape::Title,
            _ => Shape::Mixed,
        }
    }

    fn class(&self) -> Class {
        let mut class = lexicon::class(self.hash);
        if let Some(first) = self.first_part {
            let last = lexicon::class(self.part);
            if class.is_empty() {
                class = Class(last.0 | (lexicon::class(first).0 & Class::NAMES)).hyphenated();
            }
        }
        // Most words are small and no names: their ends are looked at when a name is near.
        if self.uppers > 0 || lexicon::may_be_patronymic(self.tail) {
            lexicon::by_ending(class, self.tail, self.letters)
        } else {
            class
        }
    }
}

/// Cuts a text into tokens.
#[must_use]
pub fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(text.len() / 8 + 4);
    let mut quotes = 0_u32;
    let mut straight = false;
    let mut glued = false;
    let mut rest = text.char_indices().peekable();
    while let Some((start, first)) = rest.next() {
        if first == '\n' || first == '\r' || first == '\u{2028}' {
            quotes = 0;
            straight = false;
            tokens.push(plain(start, first, Kind::Break, false, glued));
            glued = false;
            continue;
        }
        if first == ' ' || first.is_whitespace() {
            glued = false;
            continue;
        }
        let quoted = quotes > 0 || straight;
        if is_letter(first) {
            let mut word = Word::new();
            word.push(first);
            let mut end = start + first.len_utf8();
            while let Some(&(at, letter)) = rest.peek() {
                if is_letter(letter) {
                    word.push(letter);
                    end = at + letter.len_utf8();
                    rest.next();
                    continue;
                }
                let joins = matches!(letter, '-' | '\'' | '’' | '‐' | '‑' | '`' | '‘');
                let next = text.get(at + letter.len_utf8()..).unwrap_or_default();
                let mut next = next.chars();
                let follows = next.next();
                if !joins || !follows.is_some_and(is_letter) {
                    break;
                }
                // `Jane's`: what is owned is no part of the name.
                if letter != '-'
                    && matches!(follows, Some('s' | 'S'))
                    && !next.next().is_some_and(is_letter)
                {
                    break;
                }
                word.push(letter);
                rest.next();
            }
            let mut token = Token {
                start,
                end,
                kind: Kind::Word,
                shape: word.shape(),
                hash: word.hash,
                head: word.head,
                tail: word.tail,
                letters: word.letters.min(255) as u8,
                class: word.class(),
                quoted,
                glued,
            };
            // Small letters with full stops are initials only beside names, which `runs` sees to.
            let dotted = matches!(rest.peek(), Some((_, '.')))
                && match (token.shape, word.letters) {
                    (Shape::Single, _) | (Shape::Lower, 1) => true,
                    (Shape::Title, 2) => {
                        matches!(fold(first), 'д' | 'ю' | 'я' | 'е') && token.class.is_empty()
                    }
                    _ => false,
                };
            if dotted {
                token.kind = Kind::Initial;
                token.end += 1;
                rest.next();
            }
            tokens.push(token);
            glued = true;
            continue;
        }
        if first.is_numeric() {
            let mut token = plain(start, '0', Kind::Number, quoted, glued);
            token.end = start + first.len_utf8();
            while let Some(&(at, digit)) = rest.peek() {
                if !digit.is_numeric() {
                    break;
                }
                token.end = at + digit.len_utf8();
                rest.next();
            }
            tokens.push(token);
            glued = true;
            continue;
        }
        match first {
            '«' | '“' | '„' => quotes = (quotes + 1).min(3),
            '»' | '”' => quotes = quotes.saturating_sub(1),
            '"' => straight = !straight,
            _ => {}
        }
        tokens.push(plain(start, first, Kind::Mark, quoted, glued));
        glued = true;
    }
    tokens
}

fn plain(start: usize, mark: char, kind: Kind, quoted: bool, glued: bool) -> Token {
    Token {
        start,
        end: start + mark.len_utf8(),
        kind,
        shape: Shape::None,
        hash: step(START, mark as u32),
        head: mark as u64,
        tail: mark as u128,
        letters: 0,
        class: Class::default(),
        quoted,
        glued,
    }
}
