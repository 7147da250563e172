//! Ids of calls that carry GigaChat's `functions_state_id`.
//!
//! A state id is a UUID: `call_fs_`, its 128 bits in 22 letters of URL-safe base64, and what makes
//! the id unique. That stays within the 40 letters that OpenAI takes, to whom the conversation may
//! go on, and in the letters that Anthropic takes. A state id of another form stands as it is
//! behind `_fs_`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const COMPACT: &str = "call_fs_";
const MARK: &str = "_fs_";
/// Letters of 128 bits in base64.
const LETTERS: usize = 22;
/// Longest id that OpenAI takes.
const MAX_ID: usize = 40;

/// The id that a caller sees for call `number` of a choice.
pub(super) fn call_id(seed: &str, choice: u32, number: u32, state_id: Option<&str>) -> String {
    let number = if number == 0 { String::new() } else { format!("-{number}-") };
    let Some(state) = state_id.filter(|state| !state.is_empty()) else {
        return format!("call_{seed}{choice}{number}");
    };
    match uuid_bits(state) {
        Some(bits) => {
            let letters = URL_SAFE_NO_PAD.encode(bits.to_be_bytes());
            let whole = format!("{COMPACT}{letters}{choice}{number}{seed}");
            whole.chars().take(MAX_ID).collect()
        }
        None => format!("call_{seed}{choice}{number}{MARK}{state}"),
    }
}

/// The state id to send back with a call. A call that another provider made gets one that is a
/// function of its id, so that the same conversation is always sent alike.
pub(super) fn state_id(call_id: &str) -> String {
    if let Some(bits) = call_id.strip_prefix(COMPACT).and_then(compact_bits) {
        return uuid(bits);
    }
    if let Some((before, state)) = call_id.split_once(MARK)
        && before.starts_with("call_")
        && !state.is_empty()
    {
        return state.to_owned();
    }
    let high = fnv(call_id.as_bytes(), 0xcbf2_9ce4_8422_2325);
    let low = fnv(call_id.as_bytes(), high);
    let bits = (u128::from(high) << 64) | u128::from(low);
    // Version 4, variant 10: the form of a random UUID (RFC 9562, 5.4).
    let version = (bits & !(0xf << 76)) | (4 << 76);
    uuid((version & !(3 << 62)) | (2 << 62))
}

fn compact_bits(rest: &str) -> Option<u128> {
    let bytes = URL_SAFE_NO_PAD.decode(rest.get(..LETTERS)?).ok()?;
    Some(u128::from_be_bytes(bytes.try_into().ok()?))
}

/// The bits of a UUID that [`uuid`] would write alike.
fn uuid_bits(text: &str) -> Option<u128> {
    let bits = u128::from_str_radix(&text.replace('-', ""), 16).ok()?;
    (uuid(bits) == text).then_some(bits)
}

fn uuid(bits: u128) -> String {
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        bits >> 96,
        (bits >> 80) & 0xffff,
        (bits >> 64) & 0xffff,
        (bits >> 48) & 0xffff,
        bits & 0xffff_ffff_ffff
    )
}

/// FNV-1a, 64 bits.
fn fnv(bytes: &[u8], basis: u64) -> u64 {
    bytes.iter().fold(basis, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_uuid_comes_back(bits: u128, seed in "[a-zA-Z0-9]{0,32}", choice in 0u32..5) {
            let state = uuid(bits);
            let id = call_id(&seed, choice, 0, Some(&state));
            prop_assert_eq!(state_id(&id), state);
            prop_assert!(id.len() <= MAX_ID);
            prop_assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
        }

        #[test]
        fn any_id_gives_a_state_id(id in "\\PC{0,50}") {
            prop_assert!(!state_id(&id).is_empty());
        }
    }

    #[test]
    fn state_ids_of_another_form_come_back() {
        for state in ["abc", "0198C1A2-1111-4222-8333-444455556666", "_fs_"] {
            assert_eq!(state_id(&call_id("seed", 0, 0, Some(state))), state);
        }
    }

    #[test]
    fn ids_differ() {
        let state = Some("0198c1a2-1111-4222-8333-444455556666");
        let ids = [
            call_id("seed", 0, 0, state),
            call_id("seed", 1, 0, state),
            call_id("seed", 0, 1, state),
            call_id("more", 0, 0, state),
            call_id("seed", 0, 0, None),
        ];
        for (at, id) in ids.iter().enumerate() {
            assert!(!ids[..at].contains(id), "{id}");
        }
    }

    #[test]
    fn calls_of_other_providers_get_a_state_id_of_their_own() {
        let made = state_id("toolu_01");
        assert_eq!((made.len(), made.as_bytes()[14]), (36, b'4'));
        assert_eq!(made, state_id("toolu_01"));
        assert_ne!(made, state_id("toolu_02"));
        assert_eq!(state_id("call_fs_коротко").len(), 36);
    }
}
