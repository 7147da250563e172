use super::*;

#[test]
fn the_packs_that_are_shipped_do_what_their_examples_say() {
    for pack in built_in().unwrap() {
        let faults = pack.verify().err().unwrap_or_default();
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert!(told.is_empty(), "{} faults:\n{}", told.len(), told.join("\n"));
    }
}

#[test]
fn a_pack_with_a_fault_is_refused_with_its_line() {
    let text = "name: mine\nversion: 1\nrules:\n  - id: a\n    family: f\n    severity: high\n    any: [\"(open\"]\n    examples: {match: [open]}\n";
    let told = Pack::parse("mine.yaml", text)
        .and_then(|pack| PatternSet::compile(&[pack]).map(|_| ()))
        .unwrap_err()
        .to_string();
    assert!(told.starts_with("mine.yaml:"), "{told}");
    assert!(Pack::parse("mine.yaml", "name: [").is_err());
}

/// Bytes of a text that is made to cost much.
const LONG: usize = 100_000;
/// Of one rule so many matches are told, by the documentation of [`PatternSet`].
const TOLD: usize = 16;

/// The words of a phrase or of an example without what is notation, again and again.
fn repeated(written: &str) -> String {
    let words: Vec<&str> = written
        .split(|c: char| !(c.is_alphanumeric() || matches!(c, '\'' | '-')))
        .filter(|word| !word.is_empty())
        .collect();
    let once = words.join(" ") + " ";
    once.repeat(LONG / once.len() + 1)
}

#[test]
fn of_each_rule_no_more_matches_are_told_than_documented_however_long_the_text() {
    for pack in built_in().unwrap() {
        let set = PatternSet::compile(std::slice::from_ref(&pack)).unwrap();
        let mut most = 0;
        for rule in &pack.content.rules {
            let channel = rule.channels.first().copied().unwrap_or(Channel::User);
            let mut found = Vec::new();
            let example = rule.examples.matching.first().map_or("", |example| &example.value);
            let text = format!("{example}. ").repeat(LONG / (example.len() + 2) + 1);
            set.find(&text, channel, &mut found);
            let told = found.iter().filter(|found| *found.rule == *rule.id.value).count();
            assert!((1..=TOLD).contains(&told), "{}: {told} matches", rule.id.value);
            most = most.max(told);
            for found in found {
                assert!(!found.span.is_empty() && text.get(found.span).is_some());
            }
        }
        assert_eq!(most, TOLD, "{}", pack.name());
    }
}

#[test]
fn literals_without_end_are_survived_by_each_pack() {
    for pack in built_in().unwrap() {
        let set = PatternSet::compile(std::slice::from_ref(&pack)).unwrap();
        for rule in &pack.content.rules {
            let channel = rule.channels.first().copied().unwrap_or(Channel::User);
            let Some(phrase) = rule.any.first() else { continue };
            let text = repeated(&phrase.value);
            let mut found = Vec::new();
            set.find(&text, channel, &mut found);
            let mut by_rule = std::collections::BTreeMap::new();
            for found in found {
                *by_rule.entry(found.rule).or_insert(0) += 1;
            }
            assert!(by_rule.values().all(|told| *told <= TOLD), "{by_rule:?}");
        }
    }
}
