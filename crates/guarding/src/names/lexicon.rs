//! Dictionaries of names and of the words around them.

use std::sync::LazyLock;

use super::declension::{latin, noun, surname_forms, word_forms};
use super::tokens::hash;

/// What is known of a word, as bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Class(pub u32);

impl Class {
    /// Russian given name.
    pub const RUSSIAN: u32 = 1;
    /// Short form of a given name.
    pub const SHORT: u32 = 1 << 1;
    /// Given name of the Caucasus, Central Asia, of Tatars and Arabs.
    pub const EASTERN: u32 = 1 << 2;
    /// Western or Far Eastern given name in Russian letters.
    pub const WESTERN: u32 = 1 << 3;
    /// Given name in Latin letters.
    pub const LATIN: u32 = 1 << 4;
    /// Also a common word, a place or a thing.
    pub const DOUBTFUL: u32 = 1 << 5;
    /// Known surname.
    pub const SURNAME: u32 = 1 << 6;
    /// Known surname in Latin letters.
    pub const LATIN_SURNAME: u32 = 1 << 7;
    /// Patronymic, by its ending.
    pub const PATRONYMIC: u32 = 1 << 8;
    /// Ends as surnames do.
    pub const SURNAME_END: u32 = 1 << 9;
    /// Part of names that is written small: `фон`, `оглы`.
    pub const PARTICLE: u32 = 1 << 10;
    /// Place.
    pub const PLACE: u32 = 1 << 11;
    /// Brand, medium, month and the like.
    pub const THING: u32 = 1 << 12;
    /// Word with which sentences begin.
    pub const COMMON: u32 = 1 << 13;
    /// Title, profession or relation that names follow.
    pub const TITLE: u32 = 1 << 14;
    /// Word for streets and institutions that bear names.
    pub const STREET: u32 = 1 << 15;
    /// Verb that follows names.
    pub const SPEECH: u32 = 1 << 16;
    /// Word after which names are given.
    pub const CUE: u32 = 1 << 17;
    /// Made of two words with a hyphen, known by its parts.
    pub const HYPHEN: u32 = 1 << 18;
    /// Ordinary noun or adjective.
    pub const WORD: u32 = 1 << 19;

    /// Any given name.
    pub const GIVEN: u32 =
        Self::RUSSIAN | Self::SHORT | Self::EASTERN | Self::WESTERN | Self::LATIN;
    /// Anything that speaks for a name.
    pub const NAMES: u32 = Self::GIVEN
        | Self::DOUBTFUL
        | Self::SURNAME
        | Self::LATIN_SURNAME
        | Self::PATRONYMIC
        | Self::PARTICLE;

    /// Whether any of the bits is set.
    #[must_use]
    pub fn has(self, bits: u32) -> bool {
        self.0 & bits != 0
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn hyphenated(self) -> Self {
        Self(self.0 | Self::HYPHEN)
    }
}

macro_rules! list {
    ($name:literal) => {
        include_str!(concat!("../../data/names/", $name, ".txt"))
    };
}

/// Russian given names; men's first, then women's from `августа` on.
pub const RUSSIAN: &str = list!("given_russian");
/// Short forms of given names.
pub const SHORT: &str = list!("given_diminutive");
/// Eastern given names.
pub const EASTERN: &str = list!("given_eastern");
/// Western given names in Russian letters.
pub const WESTERN: &str = list!("given_western");
/// Given names in Latin letters.
pub const LATIN: &str = list!("given_latin");
/// Surnames as men have them.
pub const SURNAMES: &str = list!("surnames");
/// Surnames in Latin letters.
pub const LATIN_SURNAMES: &str = list!("surnames_latin");
/// Places.
pub const PLACES: &str = list!("places");
/// Titles and professions.
pub const TITLES: &str = list!("titles");
/// Words for streets and institutions.
pub const STREETS: &str = list!("street_words");
/// Ordinary nouns and adjectives.
pub const WORDS: &str = list!("common_words");
const THINGS: &str = list!("not_names");
const COMMON: &str = list!("common_starts");
const SPEECH: &str = list!("speech_words");
const CUES: &str = list!("cues");
const PARTICLES: &str = "фон ван дер ден де да ди дель делла дю ла ле аль эль ибн бин бен оглы оглу \
    кызы гызы заде хан шах паша бей ага ханым-оглы von van der den de da di del della du la le al el \
    ibn bin ben dos das san st mac mc";

/// Words of a list, and whether each is marked as doubtful.
pub fn words(list: &str) -> impl Iterator<Item = (&str, bool)> {
    list.split_ascii_whitespace().map(|word| match word.strip_suffix('?') {
        Some(word) => (word, true),
        None => (word, false),
    })
}

const SLOTS: usize = 1 << 18;
const FILTER: usize = 1 << 20;

/// Words by hash, with open addressing.
struct Table {
    slots: Vec<(u32, u32)>,
    /// Bits that say which words are surely not here; small enough for a near cache.
    filter: Vec<u64>,
}

impl Table {
    fn add(&mut self, word: &str, bits: u32) {
        let key = hash(&word.replace('ё', "е"));
        let bit = (key >> 8) as usize % FILTER;
        if let Some(part) = self.filter.get_mut(bit / 64) {
            *part |= 1 << (bit % 64);
        }
        let mark = (key >> 32) as u32 | 1;
        let mut place = key as usize % SLOTS;
        for _ in 0..SLOTS {
            let Some(slot) = self.slots.get_mut(place) else { return };
            if slot.0 == 0 || slot.0 == mark {
                *slot = (mark, slot.1 | bits);
                return;
            }
            place = (place + 1) % SLOTS;
        }
    }

    fn get(&self, key: u64) -> u32 {
        let bit = (key >> 8) as usize % FILTER;
        if self.filter.get(bit / 64).is_none_or(|part| part >> (bit % 64) & 1 == 0) {
            return 0;
        }
        let mark = (key >> 32) as u32 | 1;
        let mut place = key as usize % SLOTS;
        while let Some(&(found, bits)) = self.slots.get(place) {
            if found == mark {
                return bits;
            }
            if found == 0 {
                return 0;
            }
            place = (place + 1) % SLOTS;
        }
        0
    }

    fn all() -> Self {
        let mut table = Self { slots: vec![(0, 0); SLOTS], filter: vec![0; FILTER / 64] };
        let doubt = |doubtful: bool| if doubtful { Class::DOUBTFUL } else { 0 };
        for (list, bit) in [
            (RUSSIAN, Class::RUSSIAN),
            (SHORT, Class::SHORT),
            (EASTERN, Class::EASTERN),
            (WESTERN, Class::WESTERN),
        ] {
            for (word, doubtful) in words(list) {
                let bits = bit | doubt(doubtful);
                for form in noun(word, false).iter().chain(&noun(word, true)) {
                    table.add(form, bits);
                }
                if bit != Class::WESTERN {
                    for form in latin(word) {
                        table.add(&form, Class::LATIN | doubt(doubtful));
                    }
                }
            }
        }
        for (word, doubtful) in words(LATIN) {
            table.add(word, Class::LATIN | doubt(doubtful));
        }
        for (word, doubtful) in words(SURNAMES) {
            for form in surname_forms(word) {
                table.add(&form, Class::SURNAME | doubt(doubtful));
            }
            let (man, woman) =
                (super::declension::surname(word, false), super::declension::surname(word, true));
            for form in man.first().into_iter().chain(woman.first()) {
                for form in latin(form) {
                    table.add(&form, Class::LATIN_SURNAME | doubt(doubtful));
                }
            }
        }
        for (word, doubtful) in words(LATIN_SURNAMES) {
            table.add(word, Class::LATIN_SURNAME | doubt(doubtful));
        }
        for (list, bit) in [
            (PLACES, Class::PLACE),
            (THINGS, Class::THING),
            (TITLES, Class::TITLE),
            (STREETS, Class::STREET),
            (WORDS, Class::WORD),
        ] {
            for (word, _) in words(list) {
                for form in word_forms(word) {
                    table.add(&form, bit);
                }
            }
        }
        for (list, bit) in [
            (COMMON, Class::COMMON),
            (SPEECH, Class::SPEECH),
            (CUES, Class::CUE),
            (PARTICLES, Class::PARTICLE),
        ] {
            for (word, _) in words(list) {
                table.add(word, bit);
            }
        }
        table
    }
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::all);

/// What dictionaries say of a word by its hash.
pub(super) fn class(key: u64) -> Class {
    Class(TABLE.get(key))
}

/// Ends of patronymics, without the case.
const PATRONYMICS: [&str; 28] = [
    "ович",
    "овича",
    "овичу",
    "овичем",
    "овиче",
    "евич",
    "евича",
    "евичу",
    "евичем",
    "евиче",
    "льич",
    "льича",
    "льичу",
    "льичом",
    "овна",
    "овны",
    "овне",
    "овну",
    "овной",
    "евна",
    "евны",
    "евне",
    "евну",
    "евной",
    "ична",
    "ичны",
    "ичне",
    "ичной",
];

/// Ends of surnames in all cases.
const SURNAME_ENDS: [&str; 122] = [
    "ов",
    "ова",
    "ову",
    "овым",
    "ове",
    "овой",
    "овы",
    "овых",
    "овыми",
    "ев",
    "ева",
    "еву",
    "евым",
    "еве",
    "евой",
    "евы",
    "евых",
    "евыми",
    "ин",
    "ина",
    "ину",
    "иным",
    "ине",
    "иной",
    "ины",
    "иных",
    "иными",
    "ын",
    "ына",
    "ыну",
    "ыным",
    "ыной",
    "ский",
    "ского",
    "скому",
    "ским",
    "ском",
    "ская",
    "ской",
    "скую",
    "ские",
    "ских",
    "цкий",
    "цкого",
    "цкому",
    "цким",
    "цком",
    "цкая",
    "цкой",
    "цкую",
    "цкие",
    "цких",
    "енко",
    "нко",
    "ко",
    "юк",
    "юка",
    "юку",
    "юком",
    "юке",
    "чук",
    "чука",
    "чуку",
    "чуком",
    "чуке",
    "щук",
    "як",
    "яка",
    "яку",
    "яком",
    "ян",
    "яна",
    "яну",
    "яном",
    "яне",
    "янц",
    "дзе",
    "швили",
    "ани",
    "ули",
    "улы",
    "иа",
    "уа",
    "ых",
    "их",
    "ич",
    "ича",
    "ичу",
    "ичем",
    "ман",
    "мана",
    "ману",
    "маном",
    "берг",
    "берга",
    "бергу",
    "бергом",
    "штейн",
    "штейна",
    "штейну",
    "штейном",
    "сон",
    "сона",
    "сону",
    "соном",
    "ер",
    "ера",
    "еру",
    "ером",
    "ян-заде",
    "ou",
    "ov",
    "ova",
    "ev",
    "eva",
    "sky",
    "skiy",
    "skaya",
    "enko",
    "yan",
    "dze",
    "shvili",
];

struct Endings {
    patronymic: Vec<(u32, Vec<u128>)>,
    surname: Vec<(u32, Vec<u128>)>,
}

/// Sorted by length, so that each length is one search.
fn endings(list: &[&str]) -> Vec<(u32, Vec<u128>)> {
    let mut by_length: std::collections::BTreeMap<u32, Vec<u128>> = Default::default();
    for end in list {
        let packed = end.chars().fold(0, |packed, letter| packed << 16 | letter as u128);
        by_length.entry(end.chars().count() as u32).or_default().push(packed);
    }
    for ends in by_length.values_mut() {
        ends.sort_unstable();
    }
    by_length.into_iter().collect()
}

static ENDINGS: LazyLock<Endings> = LazyLock::new(|| Endings {
    patronymic: endings(&PATRONYMICS),
    surname: endings(&SURNAME_ENDS),
});

fn ends_with(ends: &[(u32, Vec<u128>)], tail: u128, letters: usize, least: usize) -> bool {
    ends.iter().any(|(length, ends)| {
        letters >= *length as usize + least
            && *length <= 8
            && ends.binary_search(&(tail & (u128::MAX >> (128 - 16 * length)))).is_ok()
    })
}

/// Whether a word may end as a patronymic; quick.
pub(super) fn may_be_patronymic(tail: u128) -> bool {
    let at = |place: u32| char::from_u32((tail >> (16 * place)) as u16 as u32);
    let ends = |last: u32| {
        matches!((at(last + 1), at(last)), (Some('и'), Some('ч')) | (Some('в' | 'ч'), Some('н')))
    };
    ends(0) || ends(1) || ends(2)
}

/// Adds what the ending of a word says.
pub(super) fn by_ending(class: Class, tail: u128, letters: usize) -> Class {
    if letters < 4 {
        return class;
    }
    let mut bits = class.0;
    if letters >= 6 && ends_with(&ENDINGS.patronymic, tail, letters, 2) {
        bits |= Class::PATRONYMIC;
    }
    // Words that are known as something else do not become surnames by their ends.
    if bits & (Class::COMMON | Class::TITLE | Class::SPEECH) == 0
        && ends_with(&ENDINGS.surname, tail, letters, 2)
    {
        bits |= Class::SURNAME_END;
    }
    Class(bits)
}
