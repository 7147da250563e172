//! Cases of Russian names, and how they are written in Latin letters.
//!
//! Words are lower case with `е` for `ё`: texts are compared in that form.

/// Cases in the order in which forms are given.
pub const CASES: usize = 6;

/// Nominative, genitive, dative, accusative, instrumental, prepositional.
pub type Forms = [String; CASES];

fn with(stem: &str, endings: [&str; CASES]) -> Forms {
    endings.map(|ending| format!("{stem}{ending}"))
}

fn unbent(word: &str) -> Forms {
    std::array::from_fn(|_| word.to_owned())
}

fn is_vowel(letter: char) -> bool {
    matches!(letter, 'а' | 'е' | 'и' | 'о' | 'у' | 'ы' | 'э' | 'ю' | 'я')
}

fn hisses(letter: Option<char>) -> bool {
    matches!(letter, Some('ж' | 'ш' | 'щ' | 'ч' | 'ц'))
}

/// Forms of a given name, of a patronymic or of a common noun. Women's names that end in a
/// consonant do not change.
#[must_use]
pub fn noun(word: &str, feminine: bool) -> Forms {
    match word {
        "павел" => return oblique("павел", "павл", ["а", "у", "а", "ом", "е"]),
        "лев" => return oblique("лев", "льв", ["а", "у", "а", "ом", "е"]),
        _ => {}
    }
    let cut = |count: usize| {
        let mut rest = word.chars();
        for _ in 0..count {
            rest.next_back();
        }
        rest.as_str()
    };
    let mut back = word.chars().rev();
    let (last, before) = (back.next(), back.next());
    match last {
        Some('я') if before == Some('и') => with(cut(1), ["я", "и", "и", "ю", "ей", "и"]),
        Some('я') => with(cut(1), ["я", "и", "е", "ю", "ей", "е"]),
        Some('а') if hisses(before) => with(cut(1), ["а", "и", "е", "у", "ей", "е"]),
        Some('а') if matches!(before, Some('г' | 'к' | 'х')) => {
            with(cut(1), ["а", "и", "е", "у", "ой", "е"])
        }
        Some('а') => with(cut(1), ["а", "ы", "е", "у", "ой", "е"]),
        Some('й') if before == Some('и') => with(cut(1), ["й", "я", "ю", "я", "ем", "и"]),
        Some('й') => with(cut(1), ["й", "я", "ю", "я", "ем", "е"]),
        Some('ь') if feminine => with(cut(1), ["ь", "и", "и", "ь", "ью", "и"]),
        Some('ь') => with(cut(1), ["ь", "я", "ю", "я", "ем", "е"]),
        Some('ц') if before == Some('е') && !feminine && word.chars().count() > 3 => {
            oblique(word, cut(2), ["ца", "цу", "ца", "цем", "це"])
        }
        Some(letter) if !is_vowel(letter) && letter.is_alphabetic() && !feminine => {
            let by = if hisses(last) { "ем" } else { "ом" };
            with(word, ["", "а", "у", "а", by, "е"])
        }
        _ => unbent(word),
    }
}

fn oblique(word: &str, stem: &str, endings: [&str; 5]) -> Forms {
    let [a, b, c, d, e] = endings.map(|ending| format!("{stem}{ending}"));
    [word.to_owned(), a, b, c, d, e]
}

/// Whether a word bends as an adjective: `высоцкий`, `толстой`, `белый`.
fn adjective_stem(word: &str) -> Option<&str> {
    let stem = ["ий", "ый", "ой"].iter().find_map(|ending| word.strip_suffix(ending))?;
    let bends = match word.chars().next_back() {
        _ if stem.chars().count() < 3 => false,
        _ if word.ends_with("ий") => {
            ["к", "г", "х", "ш", "ж", "щ", "н"].iter().any(|end| stem.ends_with(end))
        }
        _ => true,
    };
    bends.then_some(stem)
}

/// Forms of an adjective, or of a surname that bends as one.
fn adjective(word: &str, stem: &str, feminine: bool) -> Forms {
    let soft = hisses(stem.chars().next_back());
    let narrow = soft || stem.ends_with(['к', 'г', 'х']);
    if feminine {
        let oblique = if soft { "ей" } else { "ой" };
        return with(stem, ["ая", oblique, oblique, "ую", oblique, oblique]);
    }
    let (whose, whom, about) =
        if soft { ("его", "ему", "ем") } else { ("ого", "ому", "ом") };
    let by = if narrow { "им" } else { "ым" };
    oblique(word, stem, [whose, whom, whose, by, about])
}

/// Forms of a surname given in the form that men have.
#[must_use]
pub fn surname(word: &str, feminine: bool) -> Forms {
    if let Some((first, second)) = word.rsplit_once('-') {
        let (first, second) = (surname(first, feminine), surname(second, feminine));
        return std::array::from_fn(|case| match (first.get(case), second.get(case)) {
            (Some(first), Some(second)) => format!("{first}-{second}"),
            _ => word.to_owned(),
        });
    }
    if ["ых", "их"].iter().any(|end| word.ends_with(end)) {
        return unbent(word);
    }
    if ["ов", "ев", "ин", "ын"].iter().any(|end| word.ends_with(end)) && word.chars().count() > 3
    {
        return if feminine {
            with(word, ["а", "ой", "ой", "у", "ой", "ой"])
        } else {
            with(word, ["", "а", "у", "а", "ым", "е"])
        };
    }
    match adjective_stem(word) {
        Some(stem) => adjective(word, stem, feminine),
        None => noun(word, feminine),
    }
}

/// All forms in which a surname is met: men's, women's and of families.
#[must_use]
pub fn surname_forms(word: &str) -> Vec<String> {
    let mut forms: Vec<String> = surname(word, false).into();
    forms.extend(surname(word, true));
    if word.ends_with("ов") || word.ends_with("ев") || word.ends_with("ин") || word.ends_with("ын")
    {
        // Foreign surnames with these ends bend as nouns: `Дарвином`.
        forms.extend(["ы", "ых", "ым", "ыми", "ом"].map(|end| format!("{word}{end}")));
    } else if let Some(stem) = adjective_stem(word) {
        forms
            .extend(["ие", "их", "им", "ими", "ые", "ых", "ыми"].map(|end| format!("{stem}{end}")));
    } else if word.chars().next_back().is_some_and(|last| !is_vowel(last) && last.is_alphabetic()) {
        let stem = word.trim_end_matches(['ь', 'й']);
        forms.extend(["ы", "и", "ов", "ей", "ам", "ами", "ах"].map(|end| format!("{stem}{end}")));
    }
    forms
}

/// All forms of a common noun or adjective, singular and plural.
#[must_use]
pub fn word_forms(word: &str) -> Vec<String> {
    if let Some(stem) = adjective_stem(word) {
        let mut forms: Vec<String> = adjective(word, stem, false).into();
        forms.extend(adjective(word, stem, true));
        forms.extend(["ие", "их", "ими", "ые", "ых", "ыми"].map(|end| format!("{stem}{end}")));
        return forms;
    }
    if let Some(stem) = word.strip_suffix("ая") {
        return adjective(word, stem, true).into();
    }
    let mut forms: Vec<String> = noun(word, false).into();
    if word.ends_with('ь') {
        forms.extend(noun(word, true));
    }
    if word.ends_with("ие") || word.ends_with("ье") || word.ends_with("во") || word.ends_with("ло")
    {
        let stem: String = word.chars().take(word.chars().count() - 1).collect();
        forms.extend(["я", "ю", "ем", "и", "а", "у", "ом", "е"].map(|end| format!("{stem}{end}")));
    }
    let stem = word.trim_end_matches(['а', 'я', 'ь', 'й', 'о', 'е']);
    if stem.chars().count() > 2 {
        forms.extend(
            ["ы", "и", "ов", "ев", "ам", "ям", "ами", "ями", "ах", "ях"]
                .map(|end| format!("{stem}{end}")),
        );
    }
    forms
}

/// The patronymic that children of a man have.
#[must_use]
pub fn patronymic(father: &str, feminine: bool) -> String {
    let (man, woman): (String, String) = match father {
        "павел" => ("павлович".into(), "павловна".into()),
        "лев" => ("львович".into(), "львовна".into()),
        "яков" => ("яковлевич".into(), "яковлевна".into()),
        "михаил" => ("михайлович".into(), "михайловна".into()),
        "илья" => ("ильич".into(), "ильинична".into()),
        "кузьма" => ("кузьмич".into(), "кузьминична".into()),
        _ => {
            let stem: String = father.chars().take(father.chars().count().max(1) - 1).collect();
            match father.chars().next_back() {
                Some('а' | 'я') => (format!("{stem}ич"), format!("{stem}ична")),
                Some('й') => match stem.strip_suffix('и') {
                    Some(short) if !short.ends_with("тр") => {
                        (format!("{short}ьевич"), format!("{short}ьевна"))
                    }
                    _ => (format!("{stem}евич"), format!("{stem}евна")),
                },
                Some('ь') => (format!("{stem}евич"), format!("{stem}евна")),
                _ => (format!("{father}ович"), format!("{father}овна")),
            }
        }
    };
    if feminine { woman } else { man }
}

/// How a word is written in Latin letters, in the usual ways.
#[must_use]
pub fn latin(word: &str) -> Vec<String> {
    let mut all = Vec::new();
    for last in ["iy", "y", "ii", "yi"] {
        let (stem, end) = match word.strip_suffix("ий").or_else(|| word.strip_suffix("ый")) {
            Some(stem) => (stem, last),
            None if last == "iy" => (word, ""),
            None => continue,
        };
        for soft in [true, false] {
            let plain: String = stem.chars().map(|letter| letter_in_latin(letter, soft)).collect();
            for spelled in [plain.clone(), plain.replace("ks", "x"), plain.replace("kh", "h")] {
                all.push(format!("{spelled}{end}"));
            }
        }
    }
    all.sort();
    all.dedup();
    all
}

fn letter_in_latin(letter: char, with_y: bool) -> &'static str {
    match letter {
        'а' => "a",
        'б' => "b",
        'в' => "v",
        'г' => "g",
        'д' => "d",
        'е' | 'э' => "e",
        'ж' => "zh",
        'з' => "z",
        'и' => "i",
        'й' if with_y => "y",
        'й' => "i",
        'к' => "k",
        'л' => "l",
        'м' => "m",
        'н' => "n",
        'о' => "o",
        'п' => "p",
        'р' => "r",
        'с' => "s",
        'т' => "t",
        'у' => "u",
        'ф' => "f",
        'х' => "kh",
        'ц' => "ts",
        'ч' => "ch",
        'ш' => "sh",
        'щ' => "shch",
        'ы' => "y",
        'ю' if with_y => "yu",
        'ю' => "iu",
        'я' if with_y => "ya",
        'я' => "ia",
        '-' => "-",
        _ => "",
    }
}
