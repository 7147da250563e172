use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Millis;

/// Bytes of a prompt that are compared as one.
const BLOCK: usize = 1024;
/// Blocks of a prompt that are compared at most.
const MAX_BLOCKS: usize = 64;
/// Engines of a pool that can be told apart; further ones get requests by load alone.
pub const MAX_ENGINES: usize = 64;
/// Entries among which a hash may stand.
const WAYS: usize = 8;

const MIX: [u64; 4] =
    [0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db, 0x8ebc_6af0_9c88_c6e3, 0x5899_65cc_7537_4cc3];

/// The beginning of a prompt, in blocks: each hash stands for all text up to the end of its block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixHashes {
    hashes: [u64; MAX_BLOCKS],
    len: u8,
}

impl PrefixHashes {
    /// Hashes the first 64 KiB of a prompt in blocks of 1 KiB; what does not fill a block is left out.
    ///
    /// `rendered` is the whole prompt as the engine sees it: system message, tools, then all messages
    /// in their order. `salt` is made from the tenant and a secret of the installation: equal texts
    /// of two tenants are different then, and nobody can construct texts that are taken for others.
    #[must_use]
    pub fn of(rendered: &[u8], salt: u64) -> Self {
        let mut hashes = [0; MAX_BLOCKS];
        let mut len = 0;
        let mut chain = fold(salt ^ MIX[0], MIX[1]);
        for (hash, block) in hashes.iter_mut().zip(rendered.chunks_exact(BLOCK)) {
            chain = hash_block(block, chain, salt);
            *hash = chain;
            len += 1;
        }
        Self { hashes, len }
    }

    /// Blocks.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether the prompt is shorter than a block.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn blocks(&self) -> &[u64] {
        self.hashes.get(..self.len()).unwrap_or_default()
    }
}

fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    (product as u64) ^ ((product >> 64) as u64)
}

fn hash_block(block: &[u8], chain: u64, salt: u64) -> u64 {
    let word = |bytes: &[u8], at: usize| {
        let word = bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        u64::from_le_bytes(word.unwrap_or_default())
    };
    // Two lanes, as one would wait for its own multiplications.
    let (mut left, mut right) = (chain ^ MIX[2], chain.rotate_left(32) ^ salt);
    for piece in block.chunks_exact(32) {
        left = fold(word(piece, 0) ^ MIX[0] ^ salt, word(piece, 8) ^ left);
        right = fold(word(piece, 16) ^ MIX[1] ^ salt, word(piece, 24) ^ right);
    }
    // 0 marks an empty entry.
    fold(left ^ MIX[3], right ^ chain ^ MIX[2]).max(1)
}

/// How requests are sent to the engine that has the beginning of their prompts in its cache.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PrefixOptions {
    /// Whether prompts' beginnings decide at all. Default true.
    pub enabled: bool,
    /// How many times the mean load an engine may have and still get a request because of its cache.
    /// Default 1.25.
    #[schemars(range(min = 1))]
    pub load_bound: f32,
    /// Requests above the mean that an engine may always have, so that a nearly idle pool does not
    /// spread what belongs together. Default 4.
    #[schemars(range(min = 0))]
    pub load_slack: f32,
    /// Blocks of 1 KiB that are remembered for the whole pool, at 24 bytes each. Default 262,144.
    #[schemars(range(min = 8, max = 16_777_216))]
    pub blocks: u32,
    /// Seconds after which an unused block is taken to have left the engines' caches. Default 600.
    pub max_age_seconds: u32,
}

impl Default for PrefixOptions {
    fn default() -> Self {
        Self {
            enabled: true,
            load_bound: 1.25,
            load_slack: 4.0,
            blocks: 262_144,
            max_age_seconds: 600,
        }
    }
}

/// Why an engine was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrefixReason {
    /// It has the beginning of the prompt, the longest of those that are not too busy.
    Cached,
    /// None that is not too busy has it; such prompts are sent here.
    Home,
    /// The prompt has no beginning to remember: the less busy of two.
    Load,
}

/// The engine for a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixChoice {
    /// Index of the engine.
    pub engine: usize,
    /// Blocks of the prompt that it probably has.
    pub matched: usize,
    /// Why.
    pub reason: PrefixReason,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    /// 0: empty.
    hash: u64,
    engines: u64,
    used: Millis,
}

/// Which engines of a pool probably have which beginnings of prompts in their caches.
///
/// It is told what was sent where ([`PrefixIndex::note`]); engines do not say what they evict, so a
/// match is a guess. Memory is fixed: [`PrefixOptions::blocks`]; what was unused for longest goes.
#[derive(Debug)]
pub struct PrefixIndex {
    options: PrefixOptions,
    entries: Vec<Entry>,
}

impl PrefixIndex {
    /// An index that knows of nothing.
    #[must_use]
    pub fn new(options: PrefixOptions) -> Self {
        let sets = (options.blocks as usize / WAYS).max(1);
        Self { options, entries: vec![Entry::default(); sets * WAYS] }
    }

    /// A prompt was sent to an engine, which has its beginning now.
    pub fn note(&mut self, engine: usize, hashes: &PrefixHashes, now: Millis) {
        if engine >= MAX_ENGINES {
            return;
        }
        let max_age = self.max_age();
        // From the end: of a chain that is too long for its memory, the beginning is used last and
        // stays.
        for hash in hashes.blocks().iter().rev() {
            let set = self.set(*hash);
            let Some(ways) = self.entries.get_mut(set..set + WAYS) else { continue };
            let at = ways.iter().position(|entry| entry.hash == *hash).or_else(|| {
                let oldest =
                    ways.iter().enumerate().min_by_key(|(_, entry)| (entry.hash != 0, entry.used));
                oldest.map(|(at, _)| at)
            });
            let Some(entry) = at.and_then(|at| ways.get_mut(at)) else { continue };
            if entry.hash != *hash || now.saturating_sub(entry.used) > max_age {
                *entry = Entry { hash: *hash, engines: 0, used: now };
            }
            entry.engines |= 1 << engine;
            entry.used = entry.used.max(now);
        }
    }

    /// An engine was restarted: it has nothing any more.
    pub fn forget(&mut self, engine: usize) {
        if engine < MAX_ENGINES {
            for entry in &mut self.entries {
                entry.engines &= !(1 << engine);
            }
        }
    }

    /// For each engine, how many blocks from the beginning of the prompt it probably has.
    #[must_use]
    pub fn longest_match(&self, hashes: &PrefixHashes, now: Millis) -> [u8; MAX_ENGINES] {
        let mut matched = [0; MAX_ENGINES];
        let max_age = self.max_age();
        let mut all = u64::MAX;
        for (number, hash) in (1_u8..).zip(hashes.blocks()) {
            let set = self.set(*hash);
            let ways = self.entries.get(set..set + WAYS).unwrap_or_default();
            let entry = ways.iter().find(|entry| entry.hash == *hash);
            all &= entry
                .filter(|entry| now.saturating_sub(entry.used) <= max_age)
                .map_or(0, |entry| entry.engines);
            if all == 0 {
                break;
            }
            let mut left = all;
            while left != 0 {
                if let Some(blocks) = matched.get_mut(left.trailing_zeros() as usize) {
                    *blocks = number;
                }
                left &= left - 1;
            }
        }
        matched
    }

    /// The engine for a prompt, given how busy each is relative to what it can do (in requests, not
    /// below 0; infinite or NaN: it must not be used). `None`: no engine may be used.
    ///
    /// The engine with the longest match, among those whose load with this request is within
    /// [`PrefixOptions::load_bound`] times the mean. Without a match, the first of them in an order
    /// that the prompt's first block gives, the same on all replicas. Prompts without a block go to
    /// the less busy of two.
    #[must_use]
    pub fn choose(
        &self,
        hashes: &PrefixHashes,
        loads: &[f32],
        now: Millis,
        random: &mut fastrand::Rng,
    ) -> Option<PrefixChoice> {
        let usable = || loads.iter().enumerate().filter(|(_, load)| load.is_finite());
        let count = usable().count();
        if count == 0 {
            return None;
        }
        let Some(first) = hashes.blocks().first().filter(|_| self.options.enabled) else {
            let engine = less_busy_of_two(loads, count, random)?;
            return Some(PrefixChoice { engine, matched: 0, reason: PrefixReason::Load });
        };
        let mean = usable().map(|(_, load)| load.max(0.0)).sum::<f32>() / count as f32;
        let mean_with = mean + 1.0 / count as f32;
        let bound = (mean_with * self.options.load_bound.max(1.0))
            .max(mean_with + self.options.load_slack.max(0.0));
        let matched = self.longest_match(hashes, now);
        let blocks = |engine: usize| matched.get(engine).copied().unwrap_or(0);
        let not_too_busy = || usable().filter(|(_, load)| load.max(0.0) + 1.0 <= bound);
        let longest = not_too_busy()
            .filter(|(engine, _)| blocks(*engine) > 0)
            .max_by(|(a, of_a), (b, of_b)| blocks(*a).cmp(&blocks(*b)).then(of_b.total_cmp(of_a)));
        if let Some((engine, _)) = longest {
            let matched = usize::from(blocks(engine));
            return Some(PrefixChoice { engine, matched, reason: PrefixReason::Cached });
        }
        let home = not_too_busy().max_by_key(|(engine, _)| {
            fold(*first ^ MIX[1], (*engine as u64 + 1).wrapping_mul(MIX[0]))
        });
        // With so little slack that nobody is within the bound, the least busy is nearest to it.
        let least = || usable().min_by(|(_, a), (_, b)| a.total_cmp(b));
        let (engine, _) = home.or_else(least)?;
        Some(PrefixChoice { engine, matched: 0, reason: PrefixReason::Home })
    }

    fn max_age(&self) -> Millis {
        Millis::from(self.options.max_age_seconds).saturating_mul(1000)
    }

    fn set(&self, hash: u64) -> usize {
        let sets = (self.entries.len() / WAYS).max(1) as u64;
        (hash % sets) as usize * WAYS
    }
}

fn less_busy_of_two(loads: &[f32], count: usize, random: &mut fastrand::Rng) -> Option<usize> {
    let nth = |n: usize| loads.iter().enumerate().filter(|(_, load)| load.is_finite()).nth(n);
    let one = random.usize(0..count);
    let (engine, load) = nth(one)?;
    if count == 1 {
        return Some(engine);
    }
    let (other, load_of_other) = nth((one + random.usize(1..count)) % count)?;
    Some(if load_of_other < load { other } else { engine })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seed: u64, kilobytes: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(seed);
        (0..kilobytes * 1024).map(|_| random.u8(b'a'..=b'z')).collect()
    }

    fn small(options: PrefixOptions) -> PrefixIndex {
        PrefixIndex::new(PrefixOptions { blocks: 1024, ..options })
    }

    fn choose(index: &PrefixIndex, hashes: &PrefixHashes, loads: &[f32]) -> PrefixChoice {
        index.choose(hashes, loads, 0, &mut fastrand::Rng::with_seed(1)).expect("an engine")
    }

    fn common(one: &PrefixHashes, other: &PrefixHashes) -> usize {
        one.blocks().iter().zip(other.blocks()).take_while(|(a, b)| a == b).count()
    }

    #[test]
    fn equal_beginnings_have_equal_hashes_up_to_the_first_difference() {
        let whole = text(1, 10);
        let mut longer = whole.clone();
        longer.extend(text(2, 3));
        let hashes = PrefixHashes::of(&whole, 7);
        assert_eq!((hashes.len(), common(&hashes, &PrefixHashes::of(&longer, 7))), (10, 10));
        for at in [0, 31, 1023, 1024, 5000, 10 * 1024 - 1] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            let changed = PrefixHashes::of(&changed, 7);
            assert_eq!(common(&hashes, &changed), at / 1024, "{at}");
            // All later hashes differ as well, though their own blocks do not.
            let later = hashes.blocks().iter().zip(changed.blocks()).skip(at / 1024);
            assert!(later.into_iter().all(|(a, b)| a != b), "{at}");
        }
    }

    #[test]
    fn what_does_not_fill_a_block_or_is_far_behind_is_left_out() {
        assert!(PrefixHashes::of(&text(1, 1)[..1023], 7).is_empty());
        assert_eq!(PrefixHashes::of(&text(1, 2)[..2047], 7).len(), 1);
        assert_eq!(PrefixHashes::of(&text(1, 70), 7).len(), 64);
    }

    #[test]
    fn tenants_do_not_share() {
        let prompt = text(1, 10);
        let (one, other) = (PrefixHashes::of(&prompt, 1), PrefixHashes::of(&prompt, 2));
        assert!(one.blocks().iter().all(|hash| !other.blocks().contains(hash)));
        let mut index = small(PrefixOptions::default());
        index.note(3, &one, 0);
        assert_eq!(index.longest_match(&one, 0)[3], 10);
        assert_eq!(index.longest_match(&other, 0), [0; MAX_ENGINES]);
    }

    #[test]
    fn the_longest_beginning_wins() {
        let prompt = text(1, 10);
        let mut index = small(PrefixOptions::default());
        index.note(1, &PrefixHashes::of(&prompt[..4096], 7), 0);
        index.note(2, &PrefixHashes::of(&prompt[..8192], 7), 0);
        let hashes = PrefixHashes::of(&prompt, 7);
        let matched = index.longest_match(&hashes, 0);
        assert_eq!(&matched[..4], [0, 4, 8, 0]);
        let choice = choose(&index, &hashes, &[0.0; 4]);
        let cached = PrefixChoice { engine: 2, matched: 8, reason: PrefixReason::Cached };
        assert_eq!(choice, cached);
        index.forget(2);
        assert_eq!(choose(&index, &hashes, &[0.0; 4]).engine, 1);
    }

    #[test]
    fn a_busy_engine_is_passed_over_for_the_next_longest_and_then_for_any() {
        let prompt = text(1, 10);
        let hashes = PrefixHashes::of(&prompt, 7);
        let mut index = small(PrefixOptions { load_slack: 2.0, ..PrefixOptions::default() });
        index.note(1, &PrefixHashes::of(&prompt[..4096], 7), 0);
        index.note(2, &hashes, 0);
        // The mean with the request is 10.25: up to 12.8 is allowed.
        assert_eq!(choose(&index, &hashes, &[9.0, 10.0, 11.0, 10.0]).engine, 2);
        assert_eq!(choose(&index, &hashes, &[8.0, 9.0, 14.0, 9.0]).engine, 1);
        let choice = choose(&index, &hashes, &[6.0, 14.0, 14.0, 6.0]);
        assert_eq!(choice.reason, PrefixReason::Home);
        assert!([0, 3].contains(&choice.engine));
        // Nearly idle pools do not spread: the slack is 2.
        assert_eq!(choose(&index, &hashes, &[0.0, 0.0, 1.0, 0.0]).engine, 2);
        assert_ne!(choose(&index, &hashes, &[0.0, 0.0, 3.0, 0.0]).engine, 2);
    }

    #[test]
    fn unknown_prompts_have_a_home_that_others_agree_on_and_keep_most_homes_without_an_engine() {
        let index = small(PrefixOptions::default());
        let mut counts = [0; 4];
        let mut moved = 0;
        for seed in 0..400 {
            let hashes = PrefixHashes::of(&text(seed, 1), 7);
            let home = choose(&index, &hashes, &[1.0; 4]);
            assert_eq!(home, choose(&small(PrefixOptions::default()), &hashes, &[1.0; 4]));
            counts[home.engine] += 1;
            let without = choose(&index, &hashes, &[1.0, 1.0, f32::INFINITY, 1.0]);
            moved += usize::from(without.engine != home.engine && home.engine != 2);
        }
        assert!(counts.iter().all(|count| (60..140).contains(count)), "{counts:?}");
        assert_eq!(moved, 0);
    }

    #[test]
    fn short_prompts_and_switched_off_affinity_go_by_load() {
        let short = PrefixHashes::of(b"hello", 7);
        let long = PrefixHashes::of(&text(1, 3), 7);
        let off = small(PrefixOptions { enabled: false, ..PrefixOptions::default() });
        let on = small(PrefixOptions::default());
        let mut random = fastrand::Rng::with_seed(5);
        for (index, hashes) in [(&on, &short), (&off, &long)] {
            let mut counts = [0; 3];
            for _ in 0..300 {
                let choice = index.choose(hashes, &[5.0, 1.0, 3.0], 0, &mut random);
                let choice = choice.expect("an engine");
                assert_eq!(choice.reason, PrefixReason::Load);
                counts[choice.engine] += 1;
            }
            assert!(counts[0] == 0 && counts[1] > counts[2] && counts[2] > 50, "{counts:?}");
        }
    }

    #[test]
    fn engines_that_must_not_be_used_are_not() {
        let hashes = PrefixHashes::of(&text(1, 3), 7);
        let mut index = small(PrefixOptions::default());
        index.note(0, &hashes, 0);
        let mut random = fastrand::Rng::with_seed(5);
        let loads = [f32::INFINITY, 4.0, f32::NAN];
        for prompt in [&hashes, &PrefixHashes::of(b"", 0)] {
            let choice = index.choose(prompt, &loads, 0, &mut random);
            assert_eq!(choice.map(|choice| choice.engine), Some(1));
        }
        assert_eq!(index.choose(&hashes, &[f32::NAN], 0, &mut random), None);
        assert_eq!(index.choose(&hashes, &[], 0, &mut random), None);
    }

    #[test]
    fn old_blocks_are_not_believed_and_a_clock_that_goes_back_ages_nothing() {
        let hashes = PrefixHashes::of(&text(1, 3), 7);
        let mut index = small(PrefixOptions { max_age_seconds: 10, ..PrefixOptions::default() });
        index.note(1, &hashes, 5000);
        assert_eq!(index.longest_match(&hashes, 15_000)[1], 3);
        assert_eq!(index.longest_match(&hashes, 0)[1], 3);
        assert_eq!(index.longest_match(&hashes, 15_001)[1], 0);
        // What comes back on another engine is not believed of the first.
        index.note(2, &hashes, 20_000);
        assert_eq!(&index.longest_match(&hashes, 20_000)[..3], [0, 0, 3]);
    }

    #[test]
    fn memory_is_fixed_and_what_is_used_stays() {
        let mut index = PrefixIndex::new(PrefixOptions { blocks: 256, ..PrefixOptions::default() });
        let used = PrefixHashes::of(&text(0, 8), 7);
        for now in 1..2000 {
            index.note(1, &used, now);
            index.note(2, &PrefixHashes::of(&text(now, 4), 7), now);
        }
        assert_eq!(index.entries.len(), 256);
        assert_eq!(index.longest_match(&used, 2000)[1], 8);
        index.note(64, &used, 2000);
        assert_eq!(index.longest_match(&used, 2000)[0], 0);
    }
}
