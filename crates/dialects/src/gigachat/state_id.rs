//! Ids of calls that carry GigaChat's `functions_state_id`.

/// Stands between what makes an id unique and the state id in it.
const MARK: &str = "_fs_";

/// The id that a caller sees for a call.
pub(super) fn call_id(seed: &str, choice: u32, state_id: Option<&str>) -> String {
    match state_id {
        Some(state) => format!("call_{seed}{choice}{MARK}{state}"),
        None => format!("call_{seed}{choice}"),
    }
}

/// The state id to send back with a call. A call that another provider made gets one that is a
/// function of its id, so that the same conversation is always sent alike.
pub(super) fn state_id(call_id: &str) -> String {
    if let Some((_, state)) = call_id.split_once(MARK)
        && state.len() == 36
    {
        return state.to_owned();
    }
    let high = fnv(call_id.as_bytes(), 0xcbf2_9ce4_8422_2325);
    let low = fnv(call_id.as_bytes(), high);
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    )
}

/// FNV-1a, 64 bits.
fn fnv(bytes: &[u8], basis: u64) -> u64 {
    bytes.iter().fold(basis, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_ids_come_back() {
        let state = "0198c1a2-1111-4222-8333-444455556666";
        assert_eq!(state_id(&call_id("seed", 0, Some(state))), state);
        let made = state_id("toolu_01");
        assert_eq!(made.len(), 36);
        assert_eq!(made, state_id("toolu_01"));
        assert_ne!(made, state_id("toolu_02"));
    }
}
