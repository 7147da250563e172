//! Russian in Latin letters.

/// Groups of letters and what they stand for, the longest first.
const GROUPS: [(&str, &str); 51] = [
    ("shch", "щ"),
    ("sch", "щ"),
    ("tch", "ч"),
    ("yo", "е"),
    ("jo", "е"),
    ("yu", "ю"),
    ("ju", "ю"),
    ("iu", "ю"),
    ("ya", "я"),
    ("ja", "я"),
    ("ia", "я"),
    ("zh", "ж"),
    ("kh", "х"),
    ("ts", "ц"),
    ("ch", "ч"),
    ("sh", "ш"),
    ("ye", "е"),
    ("je", "е"),
    ("iy", "ий"),
    ("ij", "ий"),
    ("yy", "ый"),
    ("yj", "ый"),
    ("ey", "ей"),
    ("ay", "ай"),
    ("oy", "ой"),
    ("uy", "уй"),
    ("a", "а"),
    ("b", "б"),
    ("v", "в"),
    ("w", "в"),
    ("g", "г"),
    ("d", "д"),
    ("e", "е"),
    ("z", "з"),
    ("i", "и"),
    ("j", "й"),
    ("k", "к"),
    ("l", "л"),
    ("m", "м"),
    ("n", "н"),
    ("o", "о"),
    ("p", "п"),
    ("r", "р"),
    ("s", "с"),
    ("t", "т"),
    ("u", "у"),
    ("f", "ф"),
    ("h", "х"),
    ("c", "ц"),
    ("y", "ы"),
    ("'", "ь"),
];

/// A text in small letters with its Latin letters read as Russian.
pub(super) fn to_russian(text: &str) -> String {
    let mut out = String::with_capacity(2 * text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if !matches!(first, 'a'..='z' | '\'') {
            out.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            continue;
        }
        match GROUPS.iter().find(|(group, _)| group.starts_with(first) && rest.starts_with(group)) {
            Some((group, letters)) => {
                out.push_str(letters);
                rest = rest.get(group.len()..).unwrap_or_default();
            }
            None => {
                out.push(first);
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
            }
        }
    }
    out
}
