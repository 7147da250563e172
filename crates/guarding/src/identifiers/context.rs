//! Words beside numbers that say what they are, and what they are not.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use crate::fold::fold;

/// What a word says of the number beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hint {
    Phone,
    Inn,
    Snils,
    Ogrn,
    Kpp,
    Account,
    Bik,
    Passport,
    ForeignPassport,
    Policy,
    Licence,
    Vehicle,
    Vin,
    Birth,
    BirthCertificate,
    Military,
    Card,
    Ssn,
    /// An order, an article, a time: nothing of a person.
    Other,
}

const WORDS: &[(Hint, &[&str])] = &[
    (
        Hint::Phone,
        &[
            "телефон",
            "тел.",
            "тел:",
            "тел ",
            "тлф",
            "моб.",
            "мобильн",
            "сотов",
            "звон",
            "позвон",
            "набер",
            "whatsapp",
            "ватсап",
            "вотсап",
            "вайбер",
            "viber",
            "telegram",
            "номер для связи",
            "контакт",
            "факс",
            "phone",
            "mobile",
            "cell",
            "tel.",
            "tel:",
            "call me",
            "call us",
            "reach me",
            "fax",
            "смс",
            "sms",
            "на связи",
            "связаться",
            "номер клиента",
            "tel ",
            "dial",
        ],
    ),
    (
        Hint::Inn,
        &[
            "инн",
            "inn",
            "идентификационный номер налогоплательщика",
            "налогоплательщик",
            "tax id",
            "taxpayer",
            "tin ",
        ],
    ),
    (
        Hint::Snils,
        &[
            "снилс",
            "snils",
            "страховой номер",
            "страховое свидетельство",
            "пенсионн",
            "лицевого счета застрахованного",
            "pension",
        ],
    ),
    (
        Hint::Ogrn,
        &[
            "огрн",
            "ogrn",
            "основной государственный регистрационный",
            "госрегистрац",
            "регистрационный номер записи",
            "егрюл",
            "егрип",
        ],
    ),
    (Hint::Kpp, &["кпп", "kpp", "код причины постановки"]),
    (
        Hint::Account,
        &[
            "расчетный сч",
            "расчётный сч",
            "р/с",
            "р/сч",
            "р.с.",
            "рассч",
            "лицевой сч",
            "л/с",
            "корр",
            "к/с",
            "кор.сч",
            "счет",
            "счёт",
            "account",
            "acct",
            "iban",
            "реквизит",
            "schet",
        ],
    ),
    (Hint::Bik, &["бик", "bik", "bic"]),
    (
        Hint::Passport,
        &[
            "паспорт",
            "pasport",
            "passport",
            "серия",
            "серии",
            "серией",
            "выдан",
            "код подразделения",
            "удостоверени",
            "документ, удостоверяющ",
            "seriya",
            "уфмс",
            "гу мвд",
            "овд",
        ],
    ),
    (
        Hint::ForeignPassport,
        &[
            "загран",
            "заграничн",
            "zagran",
            "travel passport",
            "international passport",
            "foreign passport",
            "биометрическ",
            "для выезда",
        ],
    ),
    (
        Hint::Policy,
        &[
            "полис",
            "омс",
            "енп",
            "polis",
            "oms",
            "медицинского страхования",
            "medical policy",
            "health insurance",
            "insurance policy",
            "медстрах",
        ],
    ),
    (
        Hint::Licence,
        &[
            "водительск",
            "в/у",
            "ву ",
            "ву:",
            "ву№",
            "права",
            "правами",
            "driver",
            "driving",
            "licence",
            "license",
            "vodit",
            "прав серии",
            "вод. удост",
        ],
    ),
    (
        Hint::Vehicle,
        &[
            "госномер",
            "гос. номер",
            "гос номер",
            "номерной знак",
            "автомоб",
            "машин",
            "авто",
            "грз",
            "г.р.з",
            "plate",
            "vehicle",
            "car ",
            "номер тс",
            "тс ",
            "знак",
            "парковк",
            "припарков",
            "шлагбаум",
            "пропуск на",
            "такси",
        ],
    ),
    (
        Hint::Vin,
        &[
            "vin",
            "вин ",
            "вин-",
            "вин:",
            "номер кузова",
            "кузов",
            "шасси",
            "идентификационный номер тс",
            "идентификационный номер транспортного",
        ],
    ),
    (
        Hint::Birth,
        &[
            "рожд",
            "родил",
            "д.р.",
            "д. р.",
            "д.р",
            "др:",
            "др ",
            "г.р",
            "г. р.",
            "born",
            "birth",
            "dob",
            "d.o.b",
            "день рождения",
            "днюха",
            "bday",
            "datarozhd",
            "rozhd",
        ],
    ),
    (
        Hint::BirthCertificate,
        &["свидетельств", "о рождении", "birth certificate", "св-во", "свид-во", "загс"],
    ),
    (Hint::Military, &["военн", "военник", "военкомат", "воинск", "military"]),
    (
        Hint::Card,
        &[
            "карт",
            "card",
            "visa",
            "виза",
            "mastercard",
            "мастеркард",
            "мир ",
            "maestro",
            "cvv",
            "cvc",
            "pan ",
        ],
    ),
    (Hint::Ssn, &["ssn", "social security", "соцстрах сша"]),
    (
        Hint::Other,
        &[
            "заказ",
            "артикул",
            "арт.",
            "трек",
            "накладн",
            "отправлен",
            "commit",
            "коммит",
            "sha",
            "hash",
            "хеш",
            "хэш",
            "uuid",
            "guid",
            "timestamp",
            "таймстамп",
            "epoch",
            "unixtime",
            "unix time",
            "верси",
            "version",
            "build",
            "сборк",
            "isbn",
            "issn",
            "ean",
            "штрих",
            "barcode",
            "sku",
            "order",
            "tracking",
            "invoice",
            "ticket",
            "тикет",
            "заявк",
            "обращени",
            "инцидент",
            "координат",
            "latitude",
            "longitude",
            "широт",
            "долгот",
            "lat",
            "lon",
            "серийн",
            "serial",
            "s/n",
            "imei",
            "mac",
            "партии",
            "партия",
            "модел",
            "цена",
            "стоимост",
            "рублей",
            "руб",
            "₽",
            "price",
            "сумма",
            "бюджет",
            "выручк",
            "amount",
            "gtin",
            "кадастр",
            "уин",
            "кбк",
            "октмо",
            "оквэд",
            "окпо",
            "лицензи",
            "патент",
            "договор",
            "контракт",
            "акт ",
            "чек",
            "товар",
            "каталож",
            "деталь",
            "запчаст",
            "id ",
            "id:",
            "id=",
            "ид ",
            "код товара",
            "номер рейса",
            "рейс",
            "session",
            "request",
            "trace",
            "лог ",
            "log",
            "порт",
            "port",
            "doi",
            "arxiv",
            "pmid",
            "жалоб",
            "талон",
            "бронь",
            "бронирован",
            "авиабилет",
            "счетчик",
            "счётчик",
            "показани",
            "тираж",
            "населени",
            "километр",
            "просмотр",
        ],
    ),
];

static AUTOMATON: LazyLock<Option<(AhoCorasick, Vec<Hint>)>> = LazyLock::new(|| {
    let mut words = Vec::new();
    let mut hints = Vec::new();
    for (hint, list) in WORDS {
        for word in *list {
            words.push(*word);
            hints.push(*hint);
        }
    }
    let built = AhoCorasick::builder()
        .match_kind(MatchKind::LeftmostLongest)
        .kind(Some(AhoCorasickKind::DFA))
        .build(words)
        .ok()?;
    Some((built, hints))
});

/// The text in small letters, `ё` as `е`; each character as long in bytes as before.
pub(super) fn lowered(text: &str) -> String {
    String::from_utf8(fold(text)).unwrap_or_default()
}

/// The hints of a text, in order.
#[derive(Debug)]
pub(super) struct Contexts(Vec<(Range<usize>, Hint)>);

/// How far before a number a word may stand, bytes: some forty Russian letters.
const BEFORE: usize = 90;
/// How far after it.
const AFTER: usize = 48;

impl Contexts {
    pub(super) fn of(lower: &str) -> Self {
        let Some((automaton, hints)) = AUTOMATON.as_ref() else { return Self(Vec::new()) };
        let found = automaton.find_iter(lower).filter_map(|found| {
            let hint = *hints.get(found.pattern().as_usize())?;
            let range = found.range();
            begins_word(lower, range.start).then_some((range, hint))
        });
        Self(found.collect())
    }

    /// Whether a word with this hint stands beside the bytes.
    pub(super) fn near(&self, range: &Range<usize>, hint: Hint) -> bool {
        self.distance(range, |other| other == hint).is_some()
    }

    /// Whether one of these hints stands beside the bytes, and nothing nearer says otherwise.
    pub(super) fn says(&self, range: &Range<usize>, wanted: &[Hint]) -> bool {
        let Some(own) = self.distance(range, |hint| wanted.contains(&hint)) else { return false };
        let other = self.distance(range, |hint| hint == Hint::Other);
        other.is_none_or(|other| own <= other + 12)
    }

    /// Whether something beside the bytes says that they are no identifier of a person.
    pub(super) fn denies(&self, range: &Range<usize>) -> bool {
        self.distance(range, |hint| hint == Hint::Other).is_some()
    }

    /// Bytes between the range and the nearest such word; one after it counts as further away.
    fn distance(&self, range: &Range<usize>, wanted: impl Fn(Hint) -> bool) -> Option<usize> {
        let from = self.0.partition_point(|(place, _)| place.end + BEFORE <= range.start);
        let near = self.0.get(from..).unwrap_or_default();
        let near = near.iter().take_while(|(place, _)| place.start < range.end + AFTER);
        near.filter(|(_, hint)| wanted(*hint))
            .map(|(place, _)| {
                if place.start >= range.end {
                    place.start - range.end + 24
                } else {
                    range.start.saturating_sub(place.end)
                }
            })
            .min()
    }
}

/// Whether a word begins at `start`, so that it is not found in the middle of another.
fn begins_word(lower: &str, start: usize) -> bool {
    let before = lower.get(..start).and_then(|before| before.chars().next_back());
    before.is_none_or(|character| !character.is_alphabetic())
}
