//! Trains the classifier of attacks and of requests for what harms.
//!
//! `cargo run --release -p guarding --example train_classifier -- DATA [--check]` reads the labelled
//! sets below DATA, measures by leaving families out, and writes `crates/guarding/weights/classifier.bin`
//! (not with `--check`). The same data gives the same weights.

mod grammar;
mod ordinary;

use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::ops::Range;
use std::path::Path;

use guarding::classifier::{BUCKETS, Calibration, Classifier, Features, Span, is_russian, windows};
use guarding::normalise::canonical;

/// One text with what is known of it.
struct Row {
    text: String,
    /// Who made it: rows of a family are not independent.
    family: String,
    attack: Option<bool>,
    harmful: Option<bool>,
    /// Whether a text that is data has an order to whoever reads it.
    embedded: Option<bool>,
    /// Whether it may be trained on.
    trains: bool,
}

/// A window, as places in the table, with its label and weight.
struct Sample {
    places: Vec<u32>,
    norm: f32,
    label: bool,
    weight: f32,
}

/// What is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    /// Attacks and what people say otherwise.
    Attack,
    /// Requests for what harms and others.
    Harmful,
    /// Data with an order in it and without.
    Embedded,
}

const FOLDS: u64 = 5;
const EPOCHS: usize = 6;
/// Share of ordinary messages that may be taken for attacks.
const FALSE_ALARMS: f64 = 0.005;
/// Share of documents that may be taken for ones with an order in them.
const FALSE_ORDERS: f64 = 0.03;
/// How much more the logit must be for each doubling of the number of windows.
const PER_DOUBLING: f32 = 0.2;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let data = arguments.next().ok_or("give the folder of the labelled data")?;
    let check = arguments.any(|argument| argument == "--check");
    let rows = read(Path::new(&data))?;
    println!("{} rows after duplicates were taken out", rows.len());
    let heads = [Head::Attack, Head::Harmful, Head::Embedded].map(|head| {
        println!("\n{head:?}, families left out in turn:");
        let thresholds = cross_check(&rows, head);
        final_head(&rows, head, thresholds)
    });
    let bytes = Classifier::write(
        heads.each_ref().map(|(weights, calibration)| (weights.as_slice(), *calibration)),
    );
    if !check {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/classifier.bin");
        std::fs::write(&file, bytes)?;
        println!("\nwrote {}", file.display());
    }
    Ok(())
}

fn read(data: &Path) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows = Vec::new();
    let mut files: Vec<_> =
        std::fs::read_dir(data.join("injection"))?.collect::<Result<Vec<_>, _>>()?;
    files.sort_by_key(std::fs::DirEntry::file_name);
    for file in files {
        let name = file.file_name().to_string_lossy().into_owned();
        for line in std::fs::read_to_string(file.path())?.lines() {
            let value: serde_json::Value = serde_json::from_str(line)?;
            let text = value["text"].as_str().unwrap_or_default().to_owned();
            let label = value["label"].as_i64() == Some(1);
            let source = value["source"].as_str().unwrap_or(&name);
            let is_indirect = name == "bipia_indirect.jsonl";
            // Of orders in documents the order makes the family, not the document.
            let family: Vec<&str> = match is_indirect {
                true => source.split('/').skip(3).take(1).collect(),
                false => source.split('/').take(3).collect(),
            };
            let moderation = name.starts_with("hivetrace_harmful")
                || name.starts_with("hivetrace_ru_llm_rewritten");
            rows.push(Row {
                text,
                family: format!("{}:{}", name.trim_end_matches(".jsonl"), family.join("/")),
                attack: if moderation { None } else { Some(label) },
                harmful: match (moderation, label) {
                    (true, _) => Some(true),
                    (false, false) => Some(false),
                    (false, true) => None,
                },
                embedded: match name.as_str() {
                    "bipia_indirect.jsonl" => Some(label),
                    "ru_benign_documents.jsonl" => Some(false),
                    _ => None,
                },
                trains: name != "ru_benign_documents.jsonl",
            });
        }
    }
    let documents = documents(data)?;
    rows.extend(made());
    rows.extend(planted(&documents));
    rows.extend(documents);
    let mut seen: BTreeMap<String, Option<bool>> = BTreeMap::new();
    let mut twice = HashSet::new();
    for row in &rows {
        let key = squeezed(&row.text);
        match seen.get(&key) {
            Some(label) if *label != row.attack => _ = twice.insert(key),
            Some(_) => {}
            None => _ = seen.insert(key, row.attack),
        }
    }
    let mut kept = HashSet::new();
    rows.retain(|row| {
        let key = squeezed(&row.text);
        // Whose label is not agreed on teaches nothing.
        !key.is_empty() && !twice.contains(&key) && kept.insert(key)
    });
    Ok(rows)
}

/// Texts without an order in them, from the sets of personal data that may be trained on.
fn documents(data: &Path) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows = Vec::new();
    for name in ["pii_factrueval2016_ru_devset", "pii_presidio_synth_en"] {
        let file = data.join("pii").join(name).with_extension("jsonl");
        for line in std::fs::read_to_string(file)?.lines() {
            let value: serde_json::Value = serde_json::from_str(line)?;
            rows.push(Row {
                text: value["text"].as_str().unwrap_or_default().to_owned(),
                family: format!("{name}:{name}"),
                attack: Some(false),
                harmful: Some(false),
                embedded: Some(false),
                trains: true,
            });
        }
    }
    Ok(rows)
}

/// Orders among a few words of documents: what a person may well ask, and data may not.
fn planted(documents: &[Row]) -> Vec<Row> {
    let mut rng = fastrand::Rng::with_seed(20_261_124);
    let sets = [
        ("ordinary", ordinary::ORDINARY_EN, ordinary::ORDINARY_RU),
        ("direct", grammar::ATTACKS_EN, grammar::ATTACKS_RU),
        ("indirect", grammar::INDIRECT_EN, grammar::INDIRECT_RU),
    ];
    let is_russian = |text: &str| text.chars().any(|letter| ('а'..='я').contains(&letter));
    let mut rows = Vec::new();
    for _ in 0..9_000 {
        let (name, english, russian) = sets[rng.usize(..sets.len())];
        let document = &documents[rng.usize(..documents.len())].text;
        let templates = if is_russian(document) { russian } else { english };
        // Greetings and nods are no orders.
        let first = if name == "ordinary" { 3 } else { 0 };
        let order = grammar::expand(templates[rng.usize(first..templates.len())], &mut rng);
        let words: Vec<&str> = document.split_whitespace().collect();
        let piece = |rng: &mut fastrand::Rng| {
            let from = rng.usize(..words.len());
            words[from..(from + rng.usize(..12)).min(words.len())].join(" ")
        };
        let (before, after) = (piece(&mut rng), piece(&mut rng));
        rows.push(Row {
            text: format!("{before}\n{order} {after}"),
            family: format!("made:planted-{name}"),
            attack: None,
            harmful: None,
            embedded: Some(true),
            trains: true,
        });
    }
    rows
}

fn squeezed(text: &str) -> String {
    text.chars()
        .filter(|character| character.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// Sentences of the grammar, alone and beside ordinary ones.
fn made() -> Vec<Row> {
    let mut rng = fastrand::Rng::with_seed(20_261_123);
    let mut rows = Vec::new();
    let mut add = |text: String, family: String, attack: bool| {
        let embedded = (attack || family.starts_with("made:around")).then_some(attack);
        let harmful = (!attack).then_some(false);
        rows.push(Row { text, family, attack: Some(attack), harmful, embedded, trains: true });
    };
    let sets: [(&str, &[&str], bool, usize); 8] = [
        ("direct-en", grammar::ATTACKS_EN, true, 320),
        ("direct-ru", grammar::ATTACKS_RU, true, 320),
        ("indirect-en", grammar::INDIRECT_EN, true, 500),
        ("indirect-ru", grammar::INDIRECT_RU, true, 500),
        ("hard-en", grammar::HARD_EN, false, 260),
        ("hard-ru", grammar::HARD_RU, false, 260),
        ("ordinary-en", ordinary::ORDINARY_EN, false, 300),
        ("ordinary-ru", ordinary::ORDINARY_RU, false, 300),
    ];
    const AROUND_EN: &str = "{Thank you for your order.|The meeting is on Monday at ten.|Our quarterly report shows growth of five percent.|Best regards, the team.|The museum opens at nine and tickets cost ten euros.|I need help with my homework.|Please summarize the text below.|The product arrived on time and works well.|Here is my question about cooking.|def main(): return 0|Name, price, amount|Dear customer, your invoice is attached.|The weather was fine and we went for a walk.}";
    const AROUND_RU: &str = "{Спасибо за ваш заказ.|Встреча состоится в понедельник в десять.|Отчёт за квартал показывает рост на пять процентов.|С уважением, команда.|Музей открыт с девяти, билет стоит триста рублей.|Помоги мне с домашним заданием.|Перескажи, пожалуйста, текст ниже.|Товар пришёл вовремя и хорошо работает.|У меня вопрос о готовке.|Наименование, цена, количество|Уважаемый клиент, счёт во вложении.|Погода была хорошая, и мы пошли гулять.}";
    for (name, templates, attack, count) in sets {
        for (number, template) in templates.iter().enumerate() {
            for _ in 0..count {
                let sentence = grammar::worn(&grammar::expand(template, &mut rng), &mut rng);
                let around = if name.ends_with("ru") { AROUND_RU } else { AROUND_EN };
                let beside = |rng: &mut fastrand::Rng| grammar::expand(around, rng);
                let text = match rng.u8(..6) {
                    _ if name.starts_with("ordinary") => sentence,
                    0 => format!("{} {sentence}", beside(&mut rng)),
                    1 => format!("{sentence} {}", beside(&mut rng)),
                    2 if name.starts_with("indirect") => {
                        let (one, two) = (beside(&mut rng), beside(&mut rng));
                        format!("{one} {two}\n{sentence}\n{}", beside(&mut rng))
                    }
                    _ => sentence,
                };
                add(text, format!("made:{name}/{number}"), attack);
            }
        }
    }
    for _ in 0..1_500 {
        add(ordinary::machine(&mut rng), "made:machine/0".to_owned(), false);
    }
    for (around, name) in [(AROUND_EN, "en"), (AROUND_RU, "ru")] {
        for _ in 0..400 {
            let parts: Vec<String> =
                (0..rng.usize(1..8)).map(|_| grammar::expand(around, &mut rng)).collect();
            add(parts.join(" "), format!("made:around-{name}/0"), false);
        }
    }
    rows
}

fn label(row: &Row, head: Head) -> Option<bool> {
    match head {
        Head::Attack => row.attack,
        Head::Harmful => row.harmful,
        Head::Embedded => row.embedded,
    }
}

/// Whether a head learns from a row.
fn trains(row: &Row, head: Head) -> bool {
    // Of an attack in a document only a part is one, and which is not said.
    let unclear = head == Head::Attack && row.attack == Some(true) && file(row) == "bipia_indirect";
    row.trains && !unclear
}

/// How much a file counts: none drowns the others.
fn weights(rows: &[&Row], head: Head) -> BTreeMap<(String, bool), f32> {
    let mut counts: BTreeMap<(String, bool), f32> = BTreeMap::new();
    for row in rows {
        if let Some(label) = label(row, head) {
            *counts.entry((file(row), label)).or_default() += 1.0;
        }
    }
    counts.into_iter().map(|(key, count)| (key, (1_500.0 / count).clamp(0.25, 3.0))).collect()
}

fn file(row: &Row) -> String {
    row.family.split(':').next().unwrap_or_default().to_owned()
}

/// The windows of rows that a model learns from. Of an attack the beginning is one for certain, and
/// which of its narrow windows carry it is for `first`, the model made without them, to say; of other
/// texts those narrow windows teach most that it takes for attacks.
fn samples(rows: &[&Row], head: Head, first: Option<&[f32]>) -> Vec<Sample> {
    let weights = weights(rows, head);
    let mut samples = Vec::new();
    let mut features = Features::default();
    for row in rows {
        let Some(label) = label(row, head) else { continue };
        let weight = weights.get(&(file(row), label)).copied().unwrap_or(1.0);
        let view = canonical(&row.text);
        let text = view.text();
        let mut read = |window: Range<usize>, weight: f32| {
            features.read(&text[window]);
            Sample { places: features.places().to_vec(), norm: features.norm(), label, weight }
        };
        let all = windows(text);
        let wide = all.iter().filter(|(_, span)| *span == Span::Wide);
        // Where in a long text an order stands nobody says; that of a short one is in its window.
        let most = match (head, label) {
            (Head::Embedded, true) if all.len() > 4 => 0,
            (_, true) => 3,
            (_, false) => 12,
        };
        let count = wide.clone().count().min(most) as f32;
        for (window, _) in wide.take(most) {
            samples.push(read(window.clone(), weight / count.sqrt()));
        }
        let Some(first) = first else {
            if head == Head::Embedded && !label {
                let narrow = all.iter().filter(|(_, span)| *span == Span::Narrow).step_by(3);
                samples
                    .extend(narrow.take(20).map(|(window, _)| read(window.clone(), weight * 0.3)));
            }
            continue;
        };
        let narrow = all.iter().filter(|(_, span)| *span == Span::Narrow);
        let mut ranked: Vec<(f32, Sample)> = narrow
            .take(60)
            .map(|(window, _)| read(window.clone(), weight * 0.6))
            .map(|sample| (sample.logit(first), sample))
            .collect();
        ranked.sort_by(|one, other| other.0.total_cmp(&one.0));
        let most = if label { 1 } else { 4 };
        samples.extend(ranked.into_iter().take(most).map(|(_, sample)| sample));
    }
    samples
}

impl Sample {
    fn logit(&self, weights: &[f32]) -> f32 {
        let sum: f32 = self.places.iter().map(|place| weights[*place as usize]).sum();
        sum * self.norm
    }
}

/// A model of these rows: made without narrow windows, then again with those that it chooses.
fn model(rows: &[&Row], head: Head, seed: u64) -> Vec<f32> {
    let first = train(&samples(rows, head, None), seed);
    train(&samples(rows, head, Some(&first)), seed)
}

/// Logistic regression by AdaGrad with dropout of features.
fn train(samples: &[Sample], seed: u64) -> Vec<f32> {
    const RATE: f32 = 0.35;
    const DROPPED: f32 = 0.25;
    const DECAY: f32 = 2e-6;
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut weights = vec![0.0_f32; BUCKETS];
    let mut squares = vec![1e-3_f32; BUCKETS];
    let mut order: Vec<usize> = (0..samples.len()).collect();
    for epoch in 0..EPOCHS {
        rng.shuffle(&mut order);
        let rate = RATE / (1.0 + 0.5 * epoch as f32);
        for at in &order {
            let sample = &samples[*at];
            let kept: Vec<u32> =
                sample.places.iter().copied().filter(|_| rng.f32() >= DROPPED).collect();
            let norm = sample.norm / (1.0 - DROPPED);
            let sum: f32 = kept.iter().map(|place| weights[*place as usize]).sum();
            let probability = 1.0 / (1.0 + (-sum * norm).exp());
            let error = probability - f32::from(u8::from(sample.label));
            let gradient = error * norm * sample.weight;
            for place in kept {
                let place = place as usize;
                let slope = gradient + DECAY * weights[place];
                squares[place] += slope * slope;
                weights[place] -= rate * slope / squares[place].sqrt();
            }
        }
    }
    weights
}

/// The highest logits of the windows of a text, of those in Russian and of the others, less what their
/// number costs.
fn logits(weights: &[f32], head: Head, text: &str) -> [f32; 2] {
    let view = canonical(text);
    let mut features = Features::default();
    let all = windows(view.text());
    let mut highest = [f32::NEG_INFINITY; 2];
    for (window, span) in &all {
        if head == Head::Embedded && *span == Span::Wide && all.len() > 1 {
            continue;
        }
        let part = &view.text()[window.clone()];
        features.read(part);
        let sum: f32 = features.places().iter().map(|place| weights[*place as usize]).sum();
        let of_language = &mut highest[usize::from(!is_russian(part))];
        *of_language = of_language.max(sum * features.norm());
    }
    highest.map(|logit| logit - PER_DOUBLING * (all.len().max(1) as f32).log2())
}

fn fold_of(family: &str) -> u64 {
    family.bytes().fold(17_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()))
        % FOLDS
}

/// Ordinary talk, or ordinary documents: what false alarms are counted on.
fn is_ordinary(row: &Row, head: Head) -> bool {
    if head == Head::Embedded {
        return row.embedded == Some(false) && !row.family.starts_with("made:");
    }
    const FILES: [&str; 6] = [
        "ru_benign_prompts",
        "ru_benign_questions_koziev",
        "mera_ru_benign",
        "deepset_train",
        "gpteacher_roleplay_benign",
        "pii_presidio_synth_en",
    ];
    row.attack == Some(false) && FILES.contains(&file(row).as_str())
}

/// The threshold that so large a share of ordinary texts passes, all files counting alike; each text
/// comes with its share of its file.
fn threshold(mut ordinary: Vec<(f64, f32)>, false_alarms: f64) -> f32 {
    ordinary.sort_by(|one, other| other.1.total_cmp(&one.1));
    let allowed = false_alarms * ordinary.iter().map(|(share, _)| share).sum::<f64>();
    let mut passed = 0.0;
    let first = ordinary.iter().find(|(share, _)| {
        passed += share;
        passed > allowed
    });
    first.map_or(0.0, |(_, logit)| *logit)
}

/// Logits of all real rows by models that have seen none of their family; benign rows are held out at
/// random, because each of their files is one family.
fn left_out(rows: &[Row], head: Head) -> Vec<(usize, [f32; 2])> {
    let fold = |number: usize, row: &Row| match label(row, head) {
        Some(true) => fold_of(&row.family),
        _ => (number as u64).wrapping_mul(0x9e37_79b9) >> 7 & 0xffff,
    } % FOLDS;
    let mut found = Vec::new();
    for left in 0..FOLDS {
        let seen: Vec<&Row> = rows
            .iter()
            .enumerate()
            .filter(|(number, row)| {
                trains(row, head) && (row.family.starts_with("made:") || fold(*number, row) != left)
            })
            .map(|(_, row)| row)
            .collect();
        let weights = model(&seen, head, left);
        for (number, row) in rows.iter().enumerate() {
            let real = !row.family.starts_with("made:") && label(row, head).is_some();
            let turn = if trains(row, head) { fold(number, row) } else { 0 };
            if real && turn == left {
                found.push((number, logits(&weights, head, &row.text)));
            }
        }
    }
    found
}

/// Measures, and gives the thresholds of Russian and of other texts.
fn cross_check(rows: &[Row], head: Head) -> [f32; 2] {
    let found = left_out(rows, head);
    let allowed = if head == Head::Embedded { FALSE_ORDERS } else { FALSE_ALARMS };
    let mut sizes: BTreeMap<String, f64> = BTreeMap::new();
    for (at, _) in found.iter().filter(|(at, _)| is_ordinary(&rows[*at], head)) {
        *sizes.entry(file(&rows[*at])).or_default() += 1.0;
    }
    let thresholds = [0, 1].map(|language| {
        let of_language = found.iter().map(|(at, logits)| (&rows[*at], logits[language]));
        let ordinary =
            of_language.filter(|(row, logit)| is_ordinary(row, head) && logit.is_finite());
        threshold(ordinary.map(|(row, logit)| (1.0 / sizes[&file(row)], logit)).collect(), allowed)
    });
    println!("thresholds of Russian and other texts: {thresholds:?}\n");
    let mut by_file: BTreeMap<(String, bool), (u32, u32)> = BTreeMap::new();
    for (at, logits) in &found {
        let row = &rows[*at];
        let Some(label) = label(row, head) else { continue };
        let (all, over) = by_file.entry((file(row), label)).or_default();
        *all += 1;
        *over += u32::from(logits[0] > thresholds[0] || logits[1] > thresholds[1]);
    }
    println!(
        "| file | label | rows | taken for one, % | 95 % (Wilson) |\n| --- | --- | --- | --- | --- |"
    );
    for ((file, label), (all, over)) in by_file {
        let (low, high) = wilson(over, all);
        let share = 100.0 * f64::from(over) / f64::from(all);
        println!("| {file} | {} | {all} | {share:.1} | {low:.1} to {high:.1} |", u8::from(label));
    }
    thresholds
}

fn wilson(count: u32, all: u32) -> (f64, f64) {
    let (n, p, z) = (f64::from(all), f64::from(count) / f64::from(all), 1.96_f64);
    let middle = p + z * z / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 100.0 / (1.0 + z * z / n);
    ((middle - half) * scale, (middle + half) * scale)
}

/// The head that is shipped: trained on everything, with the threshold of the models that were not.
fn final_head(rows: &[Row], head: Head, thresholds: [f32; 2]) -> (Vec<f32>, Calibration) {
    let seen: Vec<&Row> = rows.iter().filter(|row| trains(row, head)).collect();
    let weights = model(&seen, head, FOLDS);
    let mut sizes: Vec<f32> = weights.iter().map(|weight| weight.abs()).collect();
    sizes.sort_by(f32::total_cmp);
    // A few weights beyond are cut: the others are told apart more finely.
    let scale = sizes[sizes.len() - 1 - sizes.len() / 2_000].max(0.1);
    (weights, Calibration { thresholds, scale, per_doubling: PER_DOUBLING })
}
