use proptest::prelude::*;

use super::*;

fn made() -> (Pseudonyms, String, String) {
    let mut made = Pseudonyms::new(&[7; 32], b"conversation");
    let text = "Иванова Мария, +7 916 123-45-67";
    let name = made.placeholder(Category::PersonName, "Иванова Мария", text);
    let phone = made.placeholder(Category::Phone, "+7 916 123-45-67", text);
    (made, name, phone)
}

#[test]
fn the_same_value_is_the_same_placeholder_in_a_conversation_only() {
    let (mut one, name, _) = made();
    assert_eq!(one.placeholder(Category::PersonName, "Иванова Мария", ""), name);
    assert_eq!(one.len(), 2);
    for other in [Pseudonyms::new(&[7; 32], b"another"), Pseudonyms::new(&[8; 32], b"conversation")]
    {
        let mut other = other;
        assert_ne!(other.placeholder(Category::PersonName, "Иванова Мария", ""), name);
    }
}

#[test]
fn what_models_make_of_placeholders_is_known_again() {
    let (made, name, phone) = made();
    let bare = name.trim_matches(['<', '>']).to_owned();
    let code = bare.split('_').nth(1).unwrap().to_owned();
    for said in [
        name.clone(),
        bare.clone(),
        format!("{bare}ой"),
        format!("<{bare}у>"),
        format!("{name}ой"),
        format!("<Персона_{code}>"),
        format!("person_{}", code.to_lowercase()),
        bare.replace('_', "\\_"),
    ] {
        let text = format!("Для {said}, звоните {phone}.");
        let wanted = "Для Иванова Мария, звоните +7 916 123-45-67.";
        assert_eq!(made.restore(&text, false), wanted, "{said}");
    }
    let glued = format!("{bare}оченьдлинное");
    assert!(made.restore(&glued, false).ends_with("оченьдлинное"));
}

#[test]
fn what_only_looks_like_one_stays() {
    let (made, ..) = made();
    for text in ["<PERSON_AAAAA>", "a_b", "snake_case_name", "<PERSON>", "_", "\\_", "PERSON_1"] {
        assert_eq!(made.restore(text, false), text);
        assert!(!made.stands_in(text));
    }
}

#[test]
fn a_code_that_the_user_wrote_is_not_used() {
    let mut first = Pseudonyms::new(&[7; 32], b"c");
    let taken = first.placeholder(Category::Phone, "1", "");
    let mut second = Pseudonyms::new(&[7; 32], b"c");
    let text = format!("мой код {taken}, телефон 1");
    let other = second.placeholder(Category::Phone, "1", &text);
    assert_ne!(taken, other);
    assert_eq!(second.restore(&taken, false), taken);
}

#[test]
fn values_are_escaped_in_json() {
    let mut made = Pseudonyms::new(&[7; 32], b"c");
    let place = made.placeholder(Category::PostalAddress, "ул. \"Ленина\"\n5", "");
    let json = format!("{{\"to\":\"{place}\"}}");
    let value: serde_json::Value = serde_json::from_str(&made.restore(&json, true)).unwrap();
    assert_eq!(value["to"], "ул. \"Ленина\"\n5");
}

#[test]
fn the_last_four_are_left_of_what_is_masked() {
    assert_eq!(masked("2200 1234 5678 9019"), "**** **** **** 9019");
    assert_eq!(masked("1234567"), "*******");
    assert_eq!(masked("+7 (916) 123-45-67"), "+* (***) ***-45-67");
}

#[test]
fn ordinary_words_are_not_held_back() {
    let (made, ..) = made();
    let mut restorer = Restorer::default();
    assert_eq!(restorer.push("обычный текст", &made, false), "обычный текст");
    assert_eq!(restorer.push(" и Слово", &made, false), " и ");
    assert_eq!(restorer.push(" дальше", &made, false), "Слово дальше");
    assert_eq!(restorer.finish(&made, false), "");
}

proptest! {
    #[test]
    fn however_it_is_cut_the_text_is_the_same(
        parts in prop::collection::vec(0_usize..6, 0..12),
        cuts in prop::collection::vec(1_usize..9, 1..80),
    ) {
        let (made, name, phone) = made();
        let bent = format!("{}ой", name.trim_matches(['<', '>']));
        let words = [&name, " и ", &phone, "Слово", &bent, "x < y_z "];
        let text: String = parts.iter().map(|part| words[*part]).collect();
        let whole = made.restore(&text, false);
        let characters: Vec<char> = text.chars().collect();
        let (mut restorer, mut out, mut at) = (Restorer::default(), String::new(), 0);
        for cut in cuts.iter().cycle() {
            if at >= characters.len() { break; }
            let end = (at + cut).min(characters.len());
            let piece: String = characters[at..end].iter().collect();
            out += &restorer.push(&piece, &made, false);
            at = end;
        }
        out += &restorer.finish(&made, false);
        prop_assert_eq!(out, whole);
    }

    #[test]
    fn any_text_is_survived(text in "\\PC{0,200}") {
        let (made, ..) = made();
        let mut restorer = Restorer::default();
        let mut out = restorer.push(&text, &made, false);
        out += &restorer.finish(&made, false);
        prop_assert_eq!(out, made.restore(&text, false));
    }
}
