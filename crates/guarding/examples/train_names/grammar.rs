//! Sentences with names in all cases, made from templates.

use std::ops::Range;

use guarding::names::declension::{Forms, latin, noun, patronymic, surname, word_forms};
use guarding::names::lexicon::{
    EASTERN, LATIN, LATIN_SURNAMES, PLACES, RUSSIAN, SHORT, SURNAMES, TITLES, WESTERN, WORDS, words,
};

/// A text with the bytes of its names.
pub(crate) struct Row {
    pub(crate) text: String,
    pub(crate) names: Vec<Range<usize>>,
}

/// Makes names and sentences.
pub(crate) struct Grammar {
    random: fastrand::Rng,
    men: Vec<&'static str>,
    women: Vec<&'static str>,
    short: Vec<&'static str>,
    eastern: Vec<&'static str>,
    western: Vec<&'static str>,
    latin: Vec<&'static str>,
    surnames: Vec<&'static str>,
    latin_surnames: Vec<&'static str>,
    places: Vec<&'static str>,
    titles: Vec<&'static str>,
    english_titles: Vec<&'static str>,
    words: Vec<&'static str>,
    english_places: Vec<&'static str>,
}

/// Cases by the letters of templates.
fn case(letter: &str) -> usize {
    "ngdaip".find(letter).unwrap_or(0)
}

struct Person {
    feminine: bool,
    given: Forms,
    surname: Forms,
    patronymic: Forms,
}

impl Grammar {
    pub(crate) fn new(seed: u64) -> Self {
        let mut men = Vec::new();
        let mut women = Vec::new();
        let mut in_women = false;
        for (word, _) in words(RUSSIAN) {
            in_women |= word == "августа";
            if in_women { women.push(word) } else { men.push(word) }
        }
        let list = |list: &'static str| words(list).map(|(word, _)| word).collect::<Vec<_>>();
        let (places, english_places): (Vec<_>, Vec<_>) =
            list(PLACES).into_iter().partition(|word| !word.is_ascii());
        let (titles, english_titles): (Vec<_>, Vec<_>) =
            list(TITLES).into_iter().partition(|word| !word.is_ascii());
        Self {
            titles,
            english_titles,
            words: list(WORDS),
            random: fastrand::Rng::with_seed(seed),
            men,
            women,
            short: list(SHORT),
            eastern: list(EASTERN),
            western: list(WESTERN),
            latin: list(LATIN),
            surnames: list(SURNAMES),
            latin_surnames: list(LATIN_SURNAMES),
            places,
            english_places,
        }
    }

    fn one(&mut self, list: &[&'static str]) -> &'static str {
        list.get(self.random.usize(0..list.len().max(1))).copied().unwrap_or("иван")
    }

    /// A word that no dictionary has.
    fn made_up(&mut self) -> String {
        let starts = [
            "б", "в", "г", "д", "ж", "з", "к", "л", "м", "н", "п", "р", "с", "т", "ф", "х", "ч",
            "ш", "бр", "гр", "др", "кр", "пр", "тр", "ст", "кл", "гл", "св", "",
        ];
        let vowels = ["а", "е", "и", "о", "у", "ы", "э", "ю", "я", "а", "о", "е"];
        let ends = [
            "б", "в", "г", "д", "ж", "з", "к", "л", "м", "н", "п", "р", "с", "т", "х", "ч", "ш",
            "рт", "нд", "ль", "ст", "рк",
        ];
        let mut word = String::new();
        for _ in 0..self.random.usize(1..3) {
            word.push_str(starts[self.random.usize(0..starts.len())]);
            word.push_str(vowels[self.random.usize(0..vowels.len())]);
        }
        word.push_str(ends[self.random.usize(0..ends.len())]);
        word
    }

    fn surname(&mut self, western: bool) -> String {
        if self.random.u8(0..100) < 45 {
            return self.one(&self.surnames.clone()).to_owned();
        }
        let stem = self.made_up();
        let stem = stem.trim_end_matches('ь').to_owned();
        let ends: &[&str] = if western {
            &[
                "",
                "",
                "",
                "ер",
                "ман",
                "сон",
                "берг",
                "штейн",
                "ини",
                "ес",
                "ос",
                "и",
                "о",
                "ез",
                "тон",
                "ли",
                "ард",
                "ель",
            ]
        } else {
            &[
                "ов",
                "ев",
                "ин",
                "ский",
                "енко",
                "ко",
                "юк",
                "чук",
                "ян",
                "дзе",
                "швили",
                "ович",
                "цкий",
                "ый",
                "ых",
                "их",
                "ак",
                "ец",
                "ов",
                "ин",
                "уллин",
                "беков",
                "аев",
                "оев",
            ]
        };
        format!("{stem}{}", ends[self.random.usize(0..ends.len())])
    }

    fn person(&mut self, feminine: Option<bool>) -> Person {
        let kind = self.random.u8(0..100);
        let western = kind >= 72;
        let feminine = feminine.unwrap_or_else(|| self.random.bool());
        let men = [
            "александр",
            "сергей",
            "иван",
            "дмитрий",
            "андрей",
            "алексей",
            "михаил",
            "николай",
            "владимир",
            "игорь",
            "олег",
            "павел",
            "юрий",
            "виктор",
            "евгений",
            "максим",
            "артем",
            "денис",
            "илья",
            "кирилл",
        ];
        let women = [
            "елена",
            "ольга",
            "наталья",
            "мария",
            "анна",
            "татьяна",
            "ирина",
            "светлана",
            "екатерина",
            "юлия",
            "анастасия",
            "марина",
            "галина",
            "людмила",
            "дарья",
            "ксения",
            "вера",
            "надежда",
            "любовь",
            "алина",
        ];
        let given = match kind {
            0..15 if feminine => women[self.random.usize(0..women.len())].to_owned(),
            0..15 => men[self.random.usize(0..men.len())].to_owned(),
            15..45 if feminine => self.one(&self.women.clone()).to_owned(),
            15..45 => self.one(&self.men.clone()).to_owned(),
            45..52 => self.one(&self.short.clone()).to_owned(),
            52..72 => self.one(&self.eastern.clone()).to_owned(),
            72..92 => self.one(&self.western.clone()).to_owned(),
            _ => self.made_up(),
        };
        let feminine = if kind < 45 { feminine } else { given.ends_with(['а', 'я']) };
        let mut family = self.surname(western);
        if self.random.u8(0..100) < 4 {
            family = format!("{family}-{}", self.surname(western));
        }
        if western && self.random.u8(0..100) < 6 {
            let particles = ["фон", "ван", "де", "ди", "ла", "дель", "аль", "бен"];
            family = format!("{} {family}", particles[self.random.usize(0..particles.len())]);
        }
        let father = if self.random.u8(0..100) < 80 {
            self.one(&self.men.clone())
        } else {
            self.one(&self.eastern.clone())
        };
        Person {
            feminine,
            given: noun(&given, feminine),
            surname: surname(&family, feminine),
            patronymic: noun(&patronymic(father, feminine), feminine),
        }
    }

    /// A name of a kind in a case, lower case; `None` when the kind is no name.
    fn name(&mut self, kind: &str, case: usize) -> Option<String> {
        let feminine = match kind {
            "iof" | "surf" | "fiof" => Some(true),
            "iom" | "surm" => Some(false),
            _ => None,
        };
        let person = self.person(feminine);
        let (given, family, father) =
            (&person.given[case], &person.surname[case], &person.patronymic[case]);
        let first = |word: &str| word.chars().next().unwrap_or('и').to_string();
        let kind = match kind {
            "any" => {
                let kinds =
                    ["full", "full", "fio", "io", "ini", "sur", "given", "dim", "rev", "iofam"];
                kinds[self.random.usize(0..kinds.len())]
            }
            other => other,
        };
        Some(match kind {
            "full" => match self.random.u8(0..10) {
                0 => format!("{family} {given}"),
                1 => format!("{given} {father} {family}"),
                2 if case == 0 => format!("{given} {}. {family}", first(father)),
                _ => format!("{given} {family}"),
            },
            "rev" => format!("{family} {given}"),
            "fio" | "fiof" => match self.random.u8(0..12) {
                0 => format!("{family} {given}"),
                1 => format!("{given} {father} {family}"),
                2 => {
                    let ends = if person.feminine {
                        ["кызы", "гызы"]
                    } else {
                        ["оглы", "оглу"]
                    };
                    let father = self.one(&self.eastern.clone());
                    format!(
                        "{family} {given} {} {}",
                        noun(father, false)[0],
                        ends[self.random.usize(0..2)]
                    )
                }
                _ => format!("{family} {given} {father}"),
            },
            "iofam" => format!("{given} {father} {family}"),
            "io" | "iom" | "iof" => format!("{given} {father}"),
            "ini" => {
                let (one, two) = (first(given), first(father));
                match self.random.u8(0..8) {
                    0 => format!("{one}.{two}. {family}"),
                    1 => format!("{one}. {two}. {family}"),
                    2 => format!("{family} {one}.{two}."),
                    3 => format!("{family} {one}. {two}."),
                    4 => format!("{one}.{two}.{family}"),
                    5 => format!("{one}. {family}"),
                    6 => format!("{family} {one}."),
                    _ => format!("{family} {one}.{two}."),
                }
            }
            "sur" | "surf" | "surm" => family.clone(),
            "surpl" => format!(
                "{}ы",
                surname(&self.one(&self.surnames.clone()).replace('й', ""), false)[0]
            ),
            "given" => given.clone(),
            "dim" => noun(self.one(&self.short.clone()), false)[case].clone(),
            "en" | "enrev" => {
                let given = self.one(&self.latin.clone()).to_owned();
                let family = self.english_surname();
                match self.random.u8(0..8) {
                    _ if kind == "enrev" && self.random.bool() => format!("{family} {given}"),
                    0 => format!("{given} {}. {family}", first(self.one(&self.latin.clone()))),
                    1 => format!("{given} {} {family}", self.one(&self.latin.clone())),
                    2 => given,
                    3 => format!("{given} {family}-{}", self.english_surname()),
                    _ => format!("{given} {family}"),
                }
            }
            "engiven" => self.one(&self.latin.clone()).to_owned(),
            "ensur" => self.english_surname(),
            "ru_latin" | "ru_latin_rev" => {
                let spell = |word: &str, pick: usize| {
                    let all = latin(word);
                    all.get(pick % all.len().max(1)).cloned().unwrap_or_default()
                };
                let pick = self.random.usize(0..9);
                let (given, family) =
                    (spell(&person.given[0], pick), spell(&person.surname[0], pick));
                if kind == "ru_latin" && self.random.u8(0..4) > 0 {
                    format!("{given} {family}")
                } else {
                    format!("{family} {given}")
                }
            }
            _ => return None,
        })
    }

    fn english_surname(&mut self) -> String {
        match self.random.u8(0..10) {
            0..5 => self.one(&self.latin_surnames.clone()).to_owned(),
            5..7 => {
                let made = self.made_up();
                let ends =
                    ["son", "man", "er", "ton", "ley", "field", "berg", "ini", "ez", "ski", "sen"];
                format!("{}{}", latin(&made)[0], ends[self.random.usize(0..ends.len())])
            }
            _ => {
                let made = self.surname(true);
                latin(&made)[0].clone()
            }
        }
    }

    fn filler(&mut self, kind: &str, case: usize) -> String {
        let pick = |random: &mut fastrand::Rng, list: &[&str]| {
            list[random.usize(0..list.len())].to_owned()
        };
        match kind {
            "num" => self.random.u32(1..5000).to_string(),
            "letter" => pick(&mut self.random, &["А", "Б", "В", "К", "П", "С"]),
            "phone" => format!(
                "+7 9{} {}-{}-{}",
                self.random.u32(10..99),
                self.random.u32(100..999),
                self.random.u32(10..99),
                self.random.u32(10..99)
            ),
            "date" => format!(
                "{:02}.{:02}.{}",
                self.random.u32(1..29),
                self.random.u32(1..13),
                self.random.u32(1950..2026)
            ),
            "email" => {
                pick(&mut self.random, &["info@mail.ru", "a.b@yandex.ru", "sales@corp.example"])
            }
            "city" | "country" => {
                let place = self.one(&self.places.clone());
                let forms = noun(place, true);
                titled(&forms[self.random.usize(0..6)])
            }
            "encity" => {
                let place =
                    self.one(&self.english_places.clone()[..60.min(self.english_places.len())]);
                titled(place)
            }
            "enorg" => pick(
                &mut self.random,
                &[
                    "Microsoft",
                    "Acme Inc.",
                    "Northern Bank",
                    "Stanford University",
                    "Global Logistics Ltd",
                    "Red Cross",
                ],
            ),
            "role" => noun(self.one(&self.titles.clone()), false)[case].clone(),
            "Role" => titled_first(&noun(self.one(&self.titles.clone()), false)[case]),
            "enrole" => self.one(&self.english_titles.clone()).to_owned(),
            "word" | "Word" => {
                let forms = word_forms(self.one(&self.words.clone()));
                let word = &forms[self.random.usize(0..forms.len().min(6))];
                if kind == "Word" { titled_first(word) } else { word.clone() }
            }
            "newplace" => {
                let stem = self.made_up();
                let ends = [
                    "ск",
                    "град",
                    "бург",
                    "ия",
                    "стан",
                    "ово",
                    "ино",
                    "а",
                    "",
                    "ль",
                    "он",
                    "ай",
                    "ур",
                    "истан",
                    "инск",
                    "ополь",
                    "и",
                    "ия",
                ];
                let end = ends[self.random.usize(0..ends.len())];
                titled(&noun(&format!("{}{end}", stem.trim_end_matches('ь')), false)[case])
            }
            "instit" => {
                let nouns = [
                    ("университет", false),
                    ("институт", false),
                    ("суд", false),
                    ("район", false),
                    ("фестиваль", false),
                    ("театр", false),
                    ("край", false),
                    ("завод", false),
                    ("собор", false),
                    ("область", true),
                    ("улица", true),
                    ("епархия", true),
                    ("школа", true),
                    ("премия", true),
                    ("область", true),
                    ("академия", true),
                ];
                let (word, feminine) = nouns[self.random.usize(0..nouns.len())];
                let adjective =
                    surname(&format!("{}ский", self.made_up().trim_end_matches('ь')), feminine);
                let extra = if self.random.u8(0..4) == 0 {
                    format!("{} ", surname("городской", feminine)[case])
                } else {
                    String::new()
                };
                format!("{} {extra}{}", titled_first(&adjective[case]), noun(word, feminine)[case])
            }
            "enwords" => {
                let words = [
                    "Green", "Valley", "Silver", "Bridge", "Summer", "Garden", "Daily", "Mail",
                    "Global", "Systems", "Open", "Source", "Fast", "Track", "Heart", "Night",
                    "Blue", "River", "World", "Media", "Group", "Iron", "City", "Dream", "United",
                    "Energy", "Bank", "Logic", "Works", "First", "Digital", "Data", "Cloud", "Red",
                    "Mountain",
                ];
                let count = self.random.usize(1..4);
                (0..count)
                    .map(|_| words[self.random.usize(0..words.len())])
                    .collect::<Vec<_>>()
                    .join(" ")
            }
            "neworg" => {
                let heads = [
                    "Национальная",
                    "Народная",
                    "Партия",
                    "Фонд",
                    "Союз",
                    "Комитет",
                    "Высший",
                    "Палата",
                    "Международный",
                    "Центральная",
                    "Демократическая",
                    "Республиканская",
                    "Ассоциация",
                    "Служба",
                    "Агентство",
                ];
                let tails = [
                    "партия",
                    "коллегия",
                    "комитет",
                    "союз",
                    "палата",
                    "развития",
                    "труда",
                    "народов",
                    "ученых",
                    "обороны",
                    "печати",
                    "гвардия",
                    "фронт",
                    "академия",
                ];
                let head = pick(&mut self.random, &heads);
                let tail = pick(&mut self.random, &tails);
                if self.random.bool() {
                    format!("{head} {}", titled_first(&tail))
                } else {
                    format!("{head} {tail}")
                }
            }
            "newbrand" => {
                let made = titled(&self.made_up());
                let second = titled(&self.made_up());
                match self.random.u8(0..5) {
                    0 => titled(&latin(&made.to_lowercase())[0]),
                    1 => format!("{made}-{second}"),
                    2 => format!(
                        "{made}{}",
                        pick(&mut self.random, &["банк", "нефть", "газ", "строй", "пром", "торг"])
                    ),
                    3 => made.to_uppercase(),
                    _ => made,
                }
            }
            "label" => pick(
                &mut self.random,
                &[
                    "Заявитель",
                    "Клиент",
                    "Пациент",
                    "Ответственный",
                    "Подпись",
                    "Автор",
                    "Контакт",
                    "Менеджер",
                    "Покупатель",
                    "Продавец",
                    "Арендатор",
                    "Заёмщик",
                    "Владелец",
                    "Представитель",
                    "Руководитель",
                    "Отправитель",
                    "Куратор",
                    "Студент",
                    "Плательщик",
                    "Застрахованный",
                    "Ф.И.О.",
                    "ФИО",
                    "Имя и фамилия",
                    "Собеседник",
                    "Кому",
                    "От кого",
                    "Поручитель",
                    "Гость",
                ],
            ),
            "enlabel" => pick(
                &mut self.random,
                &[
                    "Customer",
                    "Client",
                    "Name",
                    "Full name",
                    "Patient",
                    "Manager",
                    "Attn",
                    "Guest",
                    "Tenant",
                    "Author",
                    "Contact",
                    "Owner",
                    "Sender",
                    "Recipient",
                    "Signed",
                    "User",
                    "Reviewer",
                    "To",
                    "From",
                    "Cc",
                    "Passenger",
                    "Student",
                    "Driver",
                ],
            ),
            "vp" => pick(
                &mut self.random,
                &[
                    "заявил, что готов к диалогу",
                    "отметил важность решения",
                    "прибыл с визитом",
                    "подписал указ",
                    "подал в отставку",
                    "выступил с речью",
                    "не согласен с обвинениями",
                    "дал интервью",
                    "посетил выставку",
                    "возглавил список",
                    "намерен судиться",
                    "обратился к народу",
                    "вылетел на родину",
                    "проиграл выборы",
                    "занял третье место",
                    "получил премию",
                    "пояснил позицию ведомства",
                    "был задержан",
                    "скончался после болезни",
                    "родился в деревне",
                    "признал вину",
                    "ушёл",
                    "назначен на должность",
                ],
            ),
            "envp" => pick(
                &mut self.random,
                &[
                    "said the deal was done",
                    "was born in 1970",
                    "has resigned",
                    "won the race",
                    "did not comment",
                    "wants a refund",
                    "called yesterday",
                    "joined the team",
                    "regarding the invoice",
                    "will attend",
                    "lives here",
                    "died on Sunday",
                    "wrote the book",
                    "sent a message",
                ],
            ),
            "prep" => pick(
                &mut self.random,
                &[
                    "в городе",
                    "в деревне",
                    "в районе",
                    "на реке",
                    "в провинции",
                    "близ города",
                    "на станции",
                    "в тюрьме",
                    "в отеле",
                    "на острове",
                    "в посёлке",
                ],
            ),
            "street" => pick(
                &mut self.random,
                &[
                    "Ленина",
                    "Гагарина",
                    "Советская",
                    "Тверская",
                    "Мира",
                    "Пушкина",
                    "Садовая",
                    "Кирова",
                    "Лесная",
                    "Комсомольская",
                    "Маршала Жукова",
                    "Площадь Революции",
                ],
            ),
            "org" => pick(
                &mut self.random,
                &[
                    "Сбербанк",
                    "МГУ",
                    "ООО «Ромашка»",
                    "Газпром",
                    "РИА Новости",
                    "Интерфакс",
                    "МВД России",
                    "Министерство обороны",
                    "ОАО «РЖД»",
                    "Следственный комитет",
                    "ВТБ",
                    "«Яндекс»",
                    "ТАСС",
                    "ФСБ",
                    "Центробанк",
                    "Госдума",
                    "Единая Россия",
                    "Лукойл",
                    "НАТО",
                    "ООН",
                    "BBC",
                    "Reuters",
                ],
            ),
            "brand" => pick(
                &mut self.random,
                &[
                    "Спартак",
                    "Зенит",
                    "Ромашка",
                    "Рубин",
                    "Динамо",
                    "Вымпел",
                    "Магнит",
                    "Пятёрочка",
                    "Оскар",
                    "Ника",
                    "Ювентус",
                    "Реал",
                    "Евросеть",
                    "Вектор",
                    "Альфа",
                    "Форд",
                    "Тойота",
                ],
            ),
            "title" => pick(
                &mut self.random,
                &[
                    "Анна Каренина",
                    "Евгений Онегин",
                    "Война и мир",
                    "Тихий Дон",
                    "Мастер и Маргарита",
                    "Иван Васильевич меняет профессию",
                    "Гарри Поттер",
                    "Вий",
                    "Звезда",
                    "Левиафан",
                    "Дорога",
                    "Тарас Бульба",
                ],
            ),
            _ => String::new(),
        }
    }

    /// A sentence of a template.
    pub(crate) fn sentence(&mut self, template: &str, plain: bool) -> Row {
        let mut row = Row { text: String::new(), names: Vec::new() };
        let style = if plain { 5 } else { self.random.u8(0..20) };
        let negative = super::templates::NEGATIVE.contains(&template);
        let mut rest = template;
        while let Some(open) = rest.find('{') {
            let Some(close) = rest.find('}') else { break };
            push(&mut row.text, &rest[..open], style);
            let slot = &rest[open + 1..close];
            let (kind, letter) = slot.split_once(':').unwrap_or((slot, "n"));
            match self.name(kind, case(letter)) {
                Some(name) => {
                    let small_template = template.chars().next().is_some_and(char::is_lowercase);
                    let written = match style {
                        0 | 1 => name.clone(),
                        2 | 3 if small_template => name.clone(),
                        4 => name.to_uppercase(),
                        _ => titled(&name),
                    };
                    let start = row.text.len();
                    row.text.push_str(&written);
                    if !negative {
                        row.names.push(start..row.text.len());
                    }
                }
                None => {
                    let filler = self.filler(kind, case(letter));
                    push(&mut row.text, &filler, style);
                }
            }
            rest = &rest[close + 1..];
        }
        push(&mut row.text, rest, style);
        row
    }
}

fn push(text: &mut String, part: &str, style: u8) {
    match style {
        0 => text.push_str(&part.to_lowercase()),
        _ => text.push_str(part),
    }
}

/// With a capital first letter.
fn titled_first(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Words with a capital letter each, but for particles.
fn titled(name: &str) -> String {
    let mut out = String::new();
    let mut begins = true;
    let particles =
        ["фон", "ван", "де", "ди", "ла", "дель", "аль", "бен", "оглы", "оглу", "кызы", "гызы"];
    for (at, letter) in name.char_indices() {
        let word: String = name[at..].chars().take_while(|letter| letter.is_alphabetic()).collect();
        if begins && !particles.contains(&word.as_str()) {
            out.extend(letter.to_uppercase());
        } else {
            out.push(letter);
        }
        begins = !letter.is_alphabetic();
    }
    out
}
