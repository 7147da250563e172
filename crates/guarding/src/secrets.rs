//! Keys, tokens and passwords.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use crate::anchored::Anchored;
use crate::{Category, Finding};

struct Shape {
    /// One of these is in every match, in small or large letters of the Latin alphabet.
    anchors: &'static [&'static str],
    category: Category,
    pattern: &'static str,
    confidence: f32,
    rule: &'static str,
}

const fn shape(
    anchors: &'static [&'static str],
    pattern: &'static str,
    confidence: f32,
    rule: &'static str,
) -> Shape {
    Shape { anchors, category: Category::ApiKey, pattern, confidence, rule }
}

/// What keys look like by their makers' own documents. Group 1, where there is one, is the secret.
const SHAPES: [Shape; 36] = [
    shape(&["sk-ant-"], r"(?-u:\b)sk-ant-[a-zA-Z0-9_-]{20,}", 0.98, "secret.anthropic"),
    shape(&["sk-or-v1-"], r"(?-u:\b)sk-or-v1-[a-f0-9]{32,}", 0.98, "secret.openrouter"),
    shape(
        &["sk-"],
        r"(?-u:\b)sk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,}",
        0.95,
        "secret.openai",
    ),
    shape(
        &["akia", "asia", "agpa", "aida", "aroa"],
        r"(?-u:\b)(?:AKIA|ASIA|AGPA|AIDA|AROA)[A-Z0-9]{16}(?-u:\b)",
        0.97,
        "secret.aws.id",
    ),
    shape(
        &["aws"],
        r"(?i)aws[a-z0-9_ .-]{0,24}(?:secret|key)[a-z0-9_ .-]{0,12}['\x22]?\s?[:=]\s?['\x22]?([A-Za-z0-9/+]{40})(?-u:\b)",
        0.96,
        "secret.aws.key",
    ),
    shape(&["aiza"], r"(?-u:\b)AIza[A-Za-z0-9_-]{35}", 0.98, "secret.google"),
    shape(&["ya29."], r"(?-u:\b)ya29\.[A-Za-z0-9_-]{20,}", 0.97, "secret.google.oauth"),
    shape(
        &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"],
        r"(?-u:\b)gh[pousr]_[A-Za-z0-9]{36,}",
        0.98,
        "secret.github",
    ),
    shape(&["github_pat_"], r"(?-u:\b)github_pat_[A-Za-z0-9_]{22,}", 0.98, "secret.github"),
    shape(&["glpat-"], r"(?-u:\b)glpat-[A-Za-z0-9_-]{20,}", 0.98, "secret.gitlab"),
    shape(&["xox"], r"(?-u:\b)xox[abeoprs]-[A-Za-z0-9-]{10,}", 0.97, "secret.slack"),
    shape(
        &["hooks.slack"],
        r"https://hooks\.slack\.com/services/[A-Za-z0-9/]{20,}",
        0.97,
        "secret.slack.hook",
    ),
    shape(
        &["k_live_", "k_test_"],
        r"(?-u:\b)(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}",
        0.97,
        "secret.stripe",
    ),
    shape(&["whsec_"], r"(?-u:\b)whsec_[A-Za-z0-9]{24,}", 0.95, "secret.stripe.hook"),
    shape(&[":aa"], r"(?-u:\b)\d{8,10}:AA[A-Za-z0-9_-]{32,34}", 0.97, "secret.telegram"),
    shape(&["aqvn"], r"(?-u:\b)AQVN[A-Za-z0-9_-]{30,}", 0.97, "secret.yandex"),
    shape(
        &["t1."],
        r"(?-u:\b)t1\.[A-Z0-9a-z_-]{20,}={0,2}\.[A-Za-z0-9_-]{40,}",
        0.97,
        "secret.yandex.iam",
    ),
    shape(
        &["y0_", "y1_", "y2_", "y3_"],
        r"(?-u:\b)y[0-3]_[A-Za-z0-9_-]{35,}",
        0.95,
        "secret.yandex.oauth",
    ),
    shape(&["yc"], r"(?-u:\b)YC[a-zA-Z0-9_-]{38}(?-u:\b)", 0.8, "secret.yandex.static"),
    shape(&["hf_"], r"(?-u:\b)hf_[A-Za-z0-9]{30,}", 0.97, "secret.huggingface"),
    shape(&["npm_"], r"(?-u:\b)npm_[A-Za-z0-9]{36}", 0.97, "secret.npm"),
    shape(&["pypi-"], r"(?-u:\b)pypi-[A-Za-z0-9_-]{40,}", 0.97, "secret.pypi"),
    shape(&["sg."], r"(?-u:\b)SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{30,}", 0.98, "secret.sendgrid"),
    shape(&["ac", "sk"], r"(?-u:\b)(?:AC|SK)[a-f0-9]{32}(?-u:\b)", 0.85, "secret.twilio"),
    shape(&["dop_v1_"], r"(?-u:\b)dop_v1_[a-f0-9]{64}", 0.98, "secret.digitalocean"),
    shape(&["glsa_"], r"(?-u:\b)glsa_[A-Za-z0-9]{32}_[a-f0-9]{8}", 0.97, "secret.grafana"),
    shape(&["hvs."], r"(?-u:\b)hvs\.[A-Za-z0-9_-]{24,}", 0.97, "secret.vault"),
    shape(&["vk1.a."], r"(?-u:\b)vk1\.a\.[A-Za-z0-9_-]{40,}", 0.97, "secret.vk"),
    shape(&["gsk_"], r"(?-u:\b)gsk_[A-Za-z0-9]{40,}", 0.97, "secret.groq"),
    shape(
        &["bearer"],
        r"(?i)(?-u:\b)bearer\s+([A-Za-z0-9_.~+/-]{24,}={0,2})",
        0.8,
        "secret.bearer",
    ),
    shape(
        &["gigachat", "sber", "гигачат", "Гигачат"],
        r"(?i)\b(?:gigachat|sber|гигачат)[^\n]{0,40}?\b([A-Za-z0-9+/]{60,}={0,2})",
        0.9,
        "secret.gigachat",
    ),
    Shape {
        anchors: &["eyj"],
        category: Category::JsonWebToken,
        pattern: r"(?-u:\b)eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
        confidence: 0.98,
        rule: "secret.jwt",
    },
    Shape {
        anchors: &["-----begin "],
        category: Category::PrivateKey,
        pattern: r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----[A-Za-z0-9+/=\s\\:,.()-]{16,}?(?:-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----|\z)",
        confidence: 0.99,
        rule: "secret.private_key",
    },
    Shape {
        anchors: &["://"],
        category: Category::ConnectionString,
        pattern: r"(?i)(?-u:\b)(?:jdbc:)?(?:postgres(?:ql)?|mysql|mariadb|mongodb(?:\+srv)?|rediss?|amqps?|mssql|sqlserver|clickhouse|oracle|ftp|sftp|smtps?|ldaps?|https?)://[^\s:/@'\x22]{0,64}:([^\s@'\x22]{3,128})@[^\s'\x22<>]{2,}",
        confidence: 0.95,
        rule: "secret.connection",
    },
    Shape {
        anchors: &["password=", "pwd=", "accountkey="],
        category: Category::ConnectionString,
        pattern: r"(?i)(?-u:\b)(?:server|data source|host|accountname)=[^;\n]{2,80};[^\n]{0,160}?(?-u:\b)(?:password|pwd|accountkey)=[^;\s]{3,128}",
        confidence: 0.95,
        rule: "secret.connection",
    },
    Shape {
        anchors: &[
            "pass",
            "pwd",
            "pin code",
            "credential",
            "парол",
            "Парол",
            "ПАРОЛ",
            "пасс",
            "Пасс",
            "пинкод",
            "Пинкод",
            "пин-код",
            "Пин-код",
            "кодовое слово",
            "Кодовое слово",
        ],
        category: Category::Secret,
        pattern: r"(?i)\b(?:pass(?:word|wd|phrase)?|pwd|парол[ьяеюи]м?|пасс(?:ворд)?|пинкод|пин-код|pin code|кодовое слово|credentials?)\b['\x22»]?\s{0,2}(?:(?:от|для|к|на|for|to|of)\s[^\n:=]{1,40})?\s{0,2}(?:[:=]|=>|—|–|-|is|это)\s{0,2}['\x22«]?([^\s'\x22»,;]{4,64})",
        confidence: 0.85,
        rule: "secret.password",
    },
];

/// Words that make a random text beside them a secret, and the expression for both.
const NAMES: [&str; 16] = [
    "api",
    "access",
    "auth",
    "secret",
    "client",
    "token",
    "private",
    "токен",
    "Токен",
    "ТОКЕН",
    "секрет",
    "Секрет",
    "СЕКРЕТ",
    "ключ",
    "Ключ",
    "КЛЮЧ",
];
const NAMED: &str = r"(?i)(?:api[_ -]?key|apikey|access[_ -]?(?:key|token)|auth(?:orization)?[_ -]?(?:key|token)?|secret(?:[_ -]?key)?|client[_ -]?secret|token|private[_ -]?key|токен\p{L}{0,2}|секрет\p{L}{0,4}|ключ\p{L}{0,2}(?:\s(?:api|доступа|авторизации))?)['\x22]?\s{0,2}(?:[:=]|=>|—|–|-|is)\s{0,2}['\x22«]?([A-Za-z0-9_+/=.~-]{16,256})";

/// Bytes before the place of an anchor in which a match may begin, and after it in which it ends: most
/// are shorter by far, keys and tokens of some kilobytes are signed documents.
const BEFORE: usize = 240;
const AFTER: usize = 600;
const AFTER_LONG: usize = 16_384;

struct Compiled {
    anchors: AhoCorasick,
    /// By number of the anchor: the shape, or the number of all shapes for the names.
    owners: Vec<usize>,
    shapes: Vec<Anchored>,
    named: Anchored,
}

static COMPILED: LazyLock<Option<Compiled>> = LazyLock::new(|| {
    let of_shapes = SHAPES.iter().enumerate();
    let of_shapes =
        of_shapes.flat_map(|(at, shape)| shape.anchors.iter().map(move |word| (*word, at)));
    let of_names = NAMES.iter().map(|word| (*word, SHAPES.len()));
    let (words, owners): (Vec<&str>, Vec<usize>) = of_shapes.chain(of_names).unzip();
    let anchors = AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .kind(Some(AhoCorasickKind::DFA))
        .build(words)
        .ok()?;
    let expression = |shape: &Shape| {
        let long = matches!(shape.category, Category::JsonWebToken | Category::PrivateKey);
        Anchored::new(shape.pattern, BEFORE, if long { AFTER_LONG } else { AFTER })
    };
    let shapes = SHAPES.iter().map(expression).collect::<Option<Vec<_>>>()?;
    Some(Compiled { anchors, owners, shapes, named: Anchored::new(NAMED, 0, 400)? })
});

/// Adds what is in the text.
pub fn find(text: &str, findings: &mut Vec<Finding>) {
    let Some(compiled) = COMPILED.as_ref() else { return };
    let mut places: Vec<Vec<usize>> = vec![Vec::new(); SHAPES.len() + 1];
    for hit in compiled.anchors.find_overlapping_iter(text) {
        let owner = compiled.owners.get(hit.pattern().as_usize());
        if let Some(places) = owner.and_then(|owner| places.get_mut(*owner)) {
            places.push(hit.start());
        }
    }
    let by_shape = SHAPES.iter().zip(&compiled.shapes).zip(&places);
    for ((shape, expression), places) in by_shape.filter(|(_, places)| !places.is_empty()) {
        for found in expression.find(text, places.iter().copied()) {
            let inner = found.get(1).filter(|_| shape.category != Category::ConnectionString);
            let mut range = inner.unwrap_or(found.whole());
            let value = text.get(found.get(1).unwrap_or(range.clone())).unwrap_or_default();
            trim(text, &mut range);
            let said = text.get(range.clone()).unwrap_or_default();
            let ordinary = shape.category == Category::Secret && !is_password(said);
            if !is_placeholder(value) && !is_placeholder(said) && !ordinary {
                let (category, rule) = (shape.category, shape.rule);
                let confidence = shape.confidence;
                findings.push(Finding { category, span: range, confidence, rule });
            }
        }
    }
    let places = places.last().map(Vec::as_slice).unwrap_or_default();
    for found in compiled.named.find(text, places.iter().copied()) {
        let begins_word = text
            .get(..found.whole().start)
            .and_then(|before| before.chars().next_back())
            .is_none_or(|before| !before.is_alphanumeric());
        let Some(mut range) = found.get(1).filter(|_| begins_word) else { continue };
        trim(text, &mut range);
        let said = text.get(range.clone()).unwrap_or_default();
        if !is_placeholder(said) && is_random(said) {
            let (category, rule) = (Category::Secret, "secret.named");
            findings.push(Finding { category, span: range, confidence: 0.8, rule });
        }
    }
}

/// Leaves off what ends a sentence.
fn trim(text: &str, range: &mut Range<usize>) {
    while let Some(last) = text.get(range.clone()).and_then(|said| said.chars().next_back()) {
        if !matches!(last, '.' | ',' | ';' | ')' | '!' | '?') {
            return;
        }
        range.end -= last.len_utf8();
    }
}

/// Whether a text stands for a secret and is none: `sk-xxxx`, `${KEY}`, `your-api-key`.
fn is_placeholder(text: &str) -> bool {
    const SAID: [&str; 22] = [
        "xxxx",
        "****",
        "....",
        "your",
        "example",
        "placeholder",
        "changeme",
        "change_me",
        "dummy",
        "insert",
        "redacted",
        "<",
        "{",
        "$",
        "%(",
        "ваш",
        "пример",
        "env.",
        "getenv",
        "process.env",
        "todo",
        "12345678901234567890",
    ];
    let small = text.to_lowercase();
    SAID.iter().any(|said| small.contains(said)) || text.starts_with(['[', '(', '_'])
}

/// Whether what follows `password:` is one and no word of the sentence.
fn is_password(text: &str) -> bool {
    let letters = text.chars().filter(|character| character.is_alphabetic()).count();
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let others = text.chars().count() - letters - digits;
    let mixed =
        text.chars().any(char::is_uppercase) && text.chars().skip(1).any(char::is_uppercase);
    text.is_ascii()
        && (digits > 0 && letters > 0 || others > 0 && letters > 2 || mixed && text.len() >= 8)
        || digits >= 4 && letters == 0 && others == 0 && text.len() <= 12
}

/// Whether a text is drawn at random: many different characters, of several kinds, no words.
fn is_random(text: &str) -> bool {
    let mut counts = [0_u32; 128];
    for byte in text.bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let length = text.len() as f64;
    let entropy: f64 = counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = f64::from(*count) / length;
            -share * share.log2()
        })
        .sum();
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let upper = text.bytes().any(|byte| byte.is_ascii_uppercase());
    let lower = text.bytes().any(|byte| byte.is_ascii_lowercase());
    let kinds = usize::from(digits > 0) + usize::from(upper) + usize::from(lower);
    let hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits > 0 && (kinds >= 2 && entropy >= 3.4 || hex && entropy >= 2.8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(Category, &str)> {
        let mut findings = Vec::new();
        find(text, &mut findings);
        let kept = crate::finding::resolve(findings);
        kept.into_iter().map(|found| (found.category, &text[found.span])).collect()
    }

    #[test]
    fn secrets_are_found() {
        assert!(COMPILED.is_some());
        for (text, category, secret) in [
            (
                "Ключ sk-proj-aB3dE5fG7hJ9kL1mN2pQ4rS6 не работает",
                Category::ApiKey,
                "sk-proj-aB3dE5fG7hJ9kL1mN2pQ4rS6",
            ),
            (
                "export AWS_ACCESS_KEY_ID=AKIAIOSFODNN7QWERTYU",
                Category::ApiKey,
                "AKIAIOSFODNN7QWERTYU",
            ),
            (
                "бот 123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0, вот",
                Category::ApiKey,
                "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0",
            ),
            (
                "postgres://app:s3cr3tPw@db.internal:5432/prod",
                Category::ConnectionString,
                "postgres://app:s3cr3tPw@db.internal:5432/prod",
            ),
            ("пароль от почты: Qwerty123!", Category::Secret, "Qwerty123"),
            ("password=hunter2x", Category::Secret, "hunter2x"),
            (
                "token: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
                Category::Secret,
                "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
            ),
            (
                "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N",
                Category::JsonWebToken,
                "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N",
            ),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA7\n-----END RSA PRIVATE KEY-----",
                Category::PrivateKey,
                "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA7\n-----END RSA PRIVATE KEY-----",
            ),
        ] {
            assert_eq!(found(text), [(category, secret)], "{text}");
        }
    }

    #[test]
    fn placeholders_and_talk_are_no_secrets() {
        for text in [
            "sk-xxxxxxxxxxxxxxxxxxxxxxxx",
            "api_key: YOUR_API_KEY_GOES_HERE_1",
            "password=${DB_PASSWORD}",
            "пароль: ********",
            "Пароль — это секретное слово.",
            "Забыл пароль от почты, помоги восстановить",
            "token = os.getenv('TOKEN1234567890')",
            "ключ - 42",
            "The password is incorrect",
            "https://example.com/a:b/c",
            "sk-learn и task-management-software-list",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }
}
