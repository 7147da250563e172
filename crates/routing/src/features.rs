//! What kind of text a prompt is, read from the bytes of its JSON in one pass.

use std::sync::LazyLock;

use crate::request::{PromptFeatures, TaskClass};

/// What is known of a prompt beside its text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PromptShape {
    /// Messages.
    pub turns: u16,
    /// Tools offered.
    pub tools: u16,
    /// Pictures.
    pub images: u16,
    /// Whether the answer shall be JSON.
    pub wants_json: bool,
}

/// Longest word or stem that is looked at, characters.
const WORD: usize = 12;

/// The question stands at the end: so much of it is read, and so much of the beginning.
const END: usize = 6 * 1024;
const BEGINNING: usize = 1024;

/// Stems that tell what is wanted. A word counts if it begins with the stem; how much, by class. The
/// stems are what people ask with, in Russian and in English, and what code and formulas hold.
const STEMS: &[(&str, TaskClass, f32)] = &[
    ("код", TaskClass::Code, 1.5),
    ("программ", TaskClass::Code, 1.2),
    ("функци", TaskClass::Code, 0.8),
    ("скрипт", TaskClass::Code, 1.5),
    ("запрос", TaskClass::Code, 0.4),
    ("ошибк", TaskClass::Code, 0.5),
    ("отлад", TaskClass::Code, 1.5),
    ("рефактор", TaskClass::Code, 2.0),
    ("код-ревью", TaskClass::Code, 2.0),
    ("класс", TaskClass::Code, 0.3),
    ("code", TaskClass::Code, 1.5),
    ("program", TaskClass::Code, 1.2),
    ("function", TaskClass::Code, 1.0),
    ("script", TaskClass::Code, 1.2),
    ("python", TaskClass::Code, 2.0),
    ("javascript", TaskClass::Code, 2.0),
    ("typescript", TaskClass::Code, 2.0),
    ("rust", TaskClass::Code, 1.2),
    ("golang", TaskClass::Code, 2.0),
    ("java", TaskClass::Code, 1.5),
    ("sql", TaskClass::Code, 2.0),
    ("select", TaskClass::Code, 0.8),
    ("regex", TaskClass::Code, 2.0),
    ("compile", TaskClass::Code, 1.2),
    ("debug", TaskClass::Code, 1.5),
    ("refactor", TaskClass::Code, 2.0),
    ("kubernetes", TaskClass::Code, 1.5),
    ("docker", TaskClass::Code, 1.5),
    ("yaml", TaskClass::Code, 1.0),
    ("bug", TaskClass::Code, 0.8),
    ("вычисл", TaskClass::Mathematics, 1.5),
    ("посчита", TaskClass::Mathematics, 1.2),
    ("рассчита", TaskClass::Mathematics, 1.2),
    ("уравнени", TaskClass::Mathematics, 2.0),
    ("интеграл", TaskClass::Mathematics, 2.0),
    ("производн", TaskClass::Mathematics, 1.5),
    ("докажи", TaskClass::Mathematics, 1.5),
    ("теорем", TaskClass::Mathematics, 2.0),
    ("вероятност", TaskClass::Mathematics, 1.5),
    ("матриц", TaskClass::Mathematics, 1.5),
    ("процент", TaskClass::Mathematics, 0.6),
    ("реши", TaskClass::Mathematics, 0.8),
    ("корн", TaskClass::Mathematics, 0.5),
    ("calculat", TaskClass::Mathematics, 1.5),
    ("comput", TaskClass::Mathematics, 0.8),
    ("equation", TaskClass::Mathematics, 2.0),
    ("integral", TaskClass::Mathematics, 2.0),
    ("derivative", TaskClass::Mathematics, 2.0),
    ("prove", TaskClass::Mathematics, 1.2),
    ("proof", TaskClass::Mathematics, 1.2),
    ("theorem", TaskClass::Mathematics, 2.0),
    ("probabilit", TaskClass::Mathematics, 1.5),
    ("matrix", TaskClass::Mathematics, 1.5),
    ("polynomial", TaskClass::Mathematics, 2.0),
    ("solve", TaskClass::Mathematics, 0.8),
    ("sqrt", TaskClass::Mathematics, 2.0),
    ("frac", TaskClass::Mathematics, 1.5),
    ("почему", TaskClass::Reasoning, 1.0),
    ("пошагов", TaskClass::Reasoning, 2.0),
    ("рассуд", TaskClass::Reasoning, 2.0),
    ("объясни", TaskClass::Reasoning, 0.8),
    ("сравни", TaskClass::Reasoning, 1.2),
    ("проанализир", TaskClass::Reasoning, 1.5),
    ("анализ", TaskClass::Reasoning, 0.8),
    ("вывод", TaskClass::Reasoning, 0.4),
    ("следует", TaskClass::Reasoning, 0.5),
    ("задач", TaskClass::Reasoning, 0.4),
    ("why", TaskClass::Reasoning, 1.0),
    ("reason", TaskClass::Reasoning, 1.2),
    ("analyz", TaskClass::Reasoning, 1.2),
    ("analys", TaskClass::Reasoning, 1.2),
    ("compare", TaskClass::Reasoning, 1.2),
    ("explain", TaskClass::Reasoning, 0.8),
    ("deduce", TaskClass::Reasoning, 1.5),
    ("following", TaskClass::Reasoning, 0.4),
    ("извлек", TaskClass::Extraction, 2.0),
    ("выдели", TaskClass::Extraction, 1.2),
    ("найди", TaskClass::Extraction, 0.6),
    ("перечисли", TaskClass::Extraction, 0.6),
    ("классифицир", TaskClass::Extraction, 1.8),
    ("распознай", TaskClass::Extraction, 1.5),
    ("таблиц", TaskClass::Extraction, 0.6),
    ("json", TaskClass::Extraction, 1.5),
    ("extract", TaskClass::Extraction, 2.0),
    ("classif", TaskClass::Extraction, 1.8),
    ("parse", TaskClass::Extraction, 1.2),
    ("field", TaskClass::Extraction, 0.5),
    ("entit", TaskClass::Extraction, 1.0),
    ("перевед", TaskClass::Translation, 3.0),
    ("перевод", TaskClass::Translation, 2.0),
    ("translat", TaskClass::Translation, 3.0),
    ("английск", TaskClass::Translation, 0.8),
    ("напиши", TaskClass::Writing, 0.7),
    ("сочини", TaskClass::Writing, 2.0),
    ("письм", TaskClass::Writing, 1.5),
    ("стать", TaskClass::Writing, 1.2),
    ("эссе", TaskClass::Writing, 2.0),
    ("рассказ", TaskClass::Writing, 1.0),
    ("стих", TaskClass::Writing, 1.5),
    ("кратк", TaskClass::Writing, 0.8),
    ("резюм", TaskClass::Writing, 1.5),
    ("перескаж", TaskClass::Writing, 2.0),
    ("сократи", TaskClass::Writing, 1.2),
    ("перепиши", TaskClass::Writing, 1.2),
    ("write", TaskClass::Writing, 0.7),
    ("essay", TaskClass::Writing, 2.0),
    ("letter", TaskClass::Writing, 1.2),
    ("story", TaskClass::Writing, 1.5),
    ("poem", TaskClass::Writing, 2.0),
    ("article", TaskClass::Writing, 1.0),
    ("summar", TaskClass::Writing, 2.0),
    ("rewrite", TaskClass::Writing, 1.5),
    ("paragraph", TaskClass::Writing, 0.8),
    ("привет", TaskClass::Conversation, 1.5),
    ("здравствуй", TaskClass::Conversation, 1.5),
    ("спасибо", TaskClass::Conversation, 1.0),
    ("hello", TaskClass::Conversation, 1.5),
    ("thanks", TaskClass::Conversation, 1.0),
];

/// Stems that make a task harder than its length tells.
const HARD: &[&str] = &[
    "пошагов",
    "докажи",
    "обоснуй",
    "проанализир",
    "оптимизир",
    "спроектир",
    "архитектур",
    "рассуд",
    "сравни",
    "стратеги",
    "prove",
    "proof",
    "derive",
    "optimi",
    "design",
    "architect",
    "analyz",
    "reason",
    "compare",
    "theorem",
    "integral",
    "concurren",
    "distribut",
];

/// A stem, ready to be compared.
struct Stem {
    letters: Vec<char>,
    class: TaskClass,
    weight: f32,
    hard: bool,
}

const LETTERS: usize = 64;

/// The stems by their first letters.
static STEMS_BY_LETTER: LazyLock<[Vec<Stem>; LETTERS]> = LazyLock::new(|| {
    let mut by_letter: [Vec<Stem>; LETTERS] = std::array::from_fn(|_| Vec::new());
    let classed = STEMS.iter().map(|(stem, class, weight)| (*stem, *class, *weight, false));
    let hard = HARD.iter().map(|stem| (*stem, TaskClass::Conversation, 0.0, true));
    for (stem, class, weight, hard) in classed.chain(hard) {
        let letters: Vec<char> = stem.chars().collect();
        let place = letters.first().map_or(0, |first| *first as usize % LETTERS);
        by_letter[place].push(Stem { letters, class, weight, hard });
    }
    by_letter
});

#[derive(Debug, Default)]
struct Counts {
    letters: u32,
    cyrillic: u32,
    digits: u32,
    code: u32,
    mathematics: u32,
    words: u32,
    hard: u32,
    choices: u32,
    questions: u32,
    votes: [f32; TaskClass::COUNT],
    topic: [f32; PromptFeatures::TOPICS],
}

impl PromptFeatures {
    /// Reads the JSON text of messages, or of a prompt. At most the first 1 KiB and the last 6 KiB
    /// are looked at; the length counts all of it.
    #[must_use]
    pub fn scan(json: &[u8], shape: PromptShape) -> Self {
        let mut counts = Counts::default();
        if json.len() <= BEGINNING + END {
            counts.read(json);
        } else {
            counts.read(json.get(..BEGINNING).unwrap_or_default());
            counts.read(json.get(json.len() - END..).unwrap_or_default());
        }
        counts.features(json.len(), shape)
    }
}

impl Counts {
    fn read(&mut self, json: &[u8]) {
        let mut word = ['\0'; WORD];
        let mut length = 0;
        let mut before = '\0';
        for character in (Characters { bytes: json }) {
            self.see(before, character);
            if is_of_word(character) {
                if length < WORD {
                    word[length] = lower(character);
                }
                length += 1;
            } else if length > 0 {
                self.word(&word[..length.min(WORD)]);
                length = 0;
            }
            before = character;
        }
        if length > 0 {
            self.word(&word[..length.min(WORD)]);
        }
    }

    fn see(&mut self, before: char, character: char) {
        match character {
            'а'..='я' | 'А'..='Я' | 'ё' | 'Ё' => {
                self.letters += 1;
                self.cyrillic += 1;
            }
            'a'..='z' | 'A'..='Z' => self.letters += 1,
            '0'..='9' => self.digits += 1,
            '`' | ';' | '{' | '}' if before != '"' && before != ',' => self.code += 1,
            '=' if before == '=' || before == '!' || before == ':' => self.code += 2,
            '>' if before == '-' || before == '=' => self.code += 2,
            ':' if before == ':' => self.code += 2,
            '(' if before.is_alphanumeric() => self.code += 1,
            '^' | '∫' | '√' | '∑' | '≤' | '≥' | '±' | '≈' | '∞' | 'π' => {
                self.mathematics += 2;
            }
            '+' | '=' | '*' | '/' if before == ' ' || before.is_ascii_digit() => {
                self.mathematics += 1;
            }
            '.' | ')' if matches!(before, 'A'..='D' | 'А' | 'Б' | 'В' | 'Г') => {
                self.choices += 1;
            }
            '?' => self.questions += 1,
            _ => {}
        }
    }

    fn word(&mut self, word: &[char]) {
        self.words += 1;
        let Some(first) = word.first() else { return };
        for stem in &STEMS_BY_LETTER[*first as usize % LETTERS] {
            if word.starts_with(&stem.letters) {
                self.votes[stem.class.index()] += stem.weight;
                self.hard += u32::from(stem.hard);
            }
        }
        if word.len() > 2 && !is_scaffold(word) {
            // A word by its stem, and by its first letters: forms of a word are near each other.
            for (length, weight) in [(4, 1.0), (6, 0.6)] {
                let hash = hash(word.get(..length).unwrap_or(word));
                let sign = if hash & 0x100 == 0 { weight } else { -weight };
                self.topic[(hash & 0xf) as usize % PromptFeatures::TOPICS] += sign;
            }
        }
    }

    fn features(mut self, bytes: usize, shape: PromptShape) -> PromptFeatures {
        let letters = self.letters.max(1) as f32;
        let cyrillic = self.cyrillic as f32 / letters;
        let characters = bytes as f32 / (1.0 + cyrillic);
        let log_tokens = (1.0 + characters / 3.5).ln();
        let share = |count: u32, of: f32| (count as f32 / of).min(1.0);
        let code = share(self.code, letters / 12.0 + 4.0);
        let mathematics = share(self.mathematics + self.digits / 4, letters / 10.0 + 4.0);
        self.votes[TaskClass::Code.index()] += 3.0 * code;
        self.votes[TaskClass::Mathematics.index()] += 2.0 * mathematics;
        if self.choices >= 3 {
            self.votes[TaskClass::Reasoning.index()] += 2.5;
        }
        if shape.wants_json {
            self.votes[TaskClass::Extraction.index()] += 2.0;
        }
        if shape.tools > 0 {
            self.votes[TaskClass::ToolUse.index()] += 4.0;
        }
        self.votes[TaskClass::Conversation.index()] += 0.9;
        let mut class = TaskClass::Conversation;
        for other in TaskClass::ALL {
            if self.votes[other.index()] > self.votes[class.index()] {
                class = other;
            }
        }
        let length = (log_tokens / 9.0).clamp(0.0, 1.0);
        let hard = share(self.hard, 3.0);
        let turns = (f32::from(shape.turns) / 20.0).min(1.0);
        let tools = (f32::from(shape.tools) / 10.0).min(1.0);
        let complexity = 0.35 * length
            + 0.25 * hard
            + 0.15 * code
            + 0.15 * mathematics
            + 0.05 * turns
            + 0.1 * tools
            + 0.05 * share(self.questions, 5.0);
        let norm = self.topic.iter().map(|value| value * value).sum::<f32>().sqrt();
        if norm > 0.0 {
            for value in &mut self.topic {
                *value /= norm;
            }
        }
        PromptFeatures {
            class,
            complexity: complexity.clamp(0.0, 1.0),
            log_tokens,
            cyrillic,
            code,
            mathematics,
            turns: shape.turns,
            tools: shape.tools,
            images: shape.images,
            topic: self.topic,
        }
    }
}

/// Whether it is a word of the JSON around the text.
fn is_scaffold(word: &[char]) -> bool {
    const WORDS: [&str; 7] = ["role", "user", "content", "assistant", "system", "type", "text"];
    WORDS.iter().any(|scaffold| scaffold.chars().eq(word.iter().copied()))
}

fn is_of_word(character: char) -> bool {
    match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | 'а'..='я' | 'А'..='Я' => true,
        '\0'..='\x7f' => false,
        other => other.is_alphanumeric(),
    }
}

fn lower(character: char) -> char {
    match character {
        'a'..='z' | '0'..='9' | 'а'..='я' => character,
        'A'..='Z' => character.to_ascii_lowercase(),
        'А'..='Я' => char::from_u32(character as u32 + 0x20).unwrap_or(character),
        'ё' | 'Ё' => 'е',
        other => other.to_lowercase().next().unwrap_or(other),
    }
}

/// FNV-1a with a last mixing, over characters.
fn hash(word: &[char]) -> u32 {
    let mut hash = 0x811c_9dc5u32;
    for letter in word {
        hash = (hash ^ *letter as u32).wrapping_mul(0x0100_0193);
    }
    hash ^ (hash >> 15)
}

/// The characters of JSON text, escapes undone. What is no UTF-8 is a blank; halves of surrogate
/// pairs are too.
struct Characters<'j> {
    bytes: &'j [u8],
}

impl Iterator for Characters<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let (&first, rest) = self.bytes.split_first()?;
        if first == b'\\' {
            let escape = rest.first().copied();
            if escape == Some(b'u') {
                let digits = rest.get(1..5).and_then(|digits| std::str::from_utf8(digits).ok());
                self.bytes = rest.get(5..).unwrap_or_default();
                let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
                return Some(code.and_then(char::from_u32).unwrap_or(' '));
            }
            self.bytes = rest.get(1..).unwrap_or_default();
            return Some(match escape {
                Some(b'"') => '"',
                Some(b'\\') => '\\',
                Some(b'/') => '/',
                _ => ' ',
            });
        }
        if first < 0x80 {
            self.bytes = rest;
            return Some(char::from(first));
        }
        if let (0xc2..0xe0, Some(&second @ 0x80..0xc0)) = (first, rest.first()) {
            self.bytes = rest.get(1..).unwrap_or_default();
            return char::from_u32((u32::from(first) & 0x1f) << 6 | u32::from(second) & 0x3f);
        }
        let length = match first {
            0xc0..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0.. => 4,
            _ => 1,
        };
        let read = self.bytes.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok());
        match read.and_then(|text| text.chars().next()) {
            Some(character) => {
                self.bytes = self.bytes.get(length..).unwrap_or_default();
                Some(character)
            }
            None => {
                self.bytes = rest;
                Some(' ')
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(text: &str) -> PromptFeatures {
        let json = format!(r#"[{{"role":"user","content":{}}}]"#, serde_json::json!(text));
        PromptFeatures::scan(json.as_bytes(), PromptShape { turns: 1, ..PromptShape::default() })
    }

    #[test]
    fn classes_are_told_in_both_languages() {
        for (class, text) in [
            (TaskClass::Conversation, "Привет! Как дела?"),
            (TaskClass::Conversation, "Hello, what is the capital of France?"),
            (TaskClass::Code, "Напиши скрипт на Python, который читает CSV"),
            (
                TaskClass::Code,
                "Why does this not compile?\n```rust\nfn main() { let x: u8 = -1; }\n```",
            ),
            (TaskClass::Mathematics, "Реши уравнение x^2 + 3*x - 4 = 0 и вычисли сумму корней"),
            (TaskClass::Mathematics, "Compute the integral of x^2 from 0 to 3 and prove it"),
            (
                TaskClass::Reasoning,
                "Проанализируй пошагово, почему упали продажи, и сравни кварталы",
            ),
            (
                TaskClass::Reasoning,
                "Which of these holds?\nA. all\nB. some\nC. none\nD. both\nAnswer:",
            ),
            (TaskClass::Extraction, "Извлеки из письма имя, дату и сумму в JSON"),
            (TaskClass::Extraction, "Extract all entities and return JSON fields"),
            (TaskClass::Translation, "Переведи на английский: доброе утро"),
            (TaskClass::Translation, "Translate this sentence into Russian"),
            (TaskClass::Writing, "Напиши письмо клиенту с извинениями"),
            (TaskClass::Writing, "Write an essay about the sea and summarize it"),
        ] {
            assert_eq!(scan(text).class, class, "{text}");
        }
    }

    #[test]
    fn russian_is_read_alike_however_it_is_written() {
        let text = "Докажи теорему Пифагора";
        let escaped: String = text.chars().map(|c| format!("\\u{:04x}", c as u32)).collect();
        let shape = PromptShape::default();
        let plain = PromptFeatures::scan(format!("\"{text}\"").as_bytes(), shape);
        let read = PromptFeatures::scan(format!("\"{escaped}\"").as_bytes(), shape);
        assert_eq!(plain.class, TaskClass::Mathematics);
        assert_eq!(plain.topic, read.topic);
        assert!(plain.cyrillic > 0.95 && read.cyrillic > 0.95);
    }

    #[test]
    fn what_is_harder_looks_harder() {
        let easy = scan("Привет!").complexity;
        let middle = scan("Сравни два тарифа и объясни, какой выгоднее семье").complexity;
        let hard = scan(
            "Спроектируй архитектуру распределённой очереди, докажи, что она не теряет сообщений, \
             проанализируй пошагово отказ каждого узла и оптимизируй задержку. ```\nfn push(&mut \
             self, x: u8) -> bool { self.items.push(x); self.len() == 1 }\n```",
        )
        .complexity;
        assert!(easy < middle && middle < hard, "{easy} {middle} {hard}");
    }

    #[test]
    fn near_questions_have_near_topics() {
        let near = |one: &PromptFeatures, other: &PromptFeatures| {
            one.topic.iter().zip(other.topic).map(|(a, b)| a * b).sum::<f32>()
        };
        let one = scan("Сколько стоит доставка мебели в Казань?");
        let same = scan("Сколько стоит доставить мебель до Казани?");
        let other = scan("Explain quantum tunnelling through a barrier");
        assert!(near(&one, &same) > near(&one, &other) + 0.2);
    }

    #[test]
    fn long_prompts_are_read_in_part() {
        let long = format!("{} переведи это", "слово ".repeat(2_000_000));
        let features = scan(&long);
        assert_eq!(features.class, TaskClass::Translation);
        assert!(features.log_tokens > 14.0);
    }

    proptest! {
        #[test]
        fn any_bytes_give_finite_features(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let features = PromptFeatures::scan(&bytes, PromptShape::default());
            prop_assert!((0.0..=1.0).contains(&features.complexity));
            for value in features.topic {
                prop_assert!(value.is_finite());
            }
        }
    }
}
