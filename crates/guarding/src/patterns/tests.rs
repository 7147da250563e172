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
