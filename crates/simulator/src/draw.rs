//! Seeded randomness: every id, latency and generated value is a function of the seed.

use std::time::Duration;

/// A splitmix64 stream. Cheap to copy; the same start gives the same values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draw(u64);

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed.wrapping_add(GOLDEN)))
    }

    /// A stream of its own for `label`, independent of how much was drawn from others.
    pub(crate) fn branch(self, label: u64) -> Self {
        Self(mix(self.0 ^ mix(label.wrapping_add(GOLDEN))))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }

    /// A number in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// `base` times a log-normal factor with median 1 and the given sigma.
    pub(crate) fn jittered(&mut self, base: Duration, sigma: f64) -> Duration {
        if sigma <= 0.0 || base.is_zero() {
            return base;
        }
        let (u, v) = (1.0 - self.unit(), self.unit());
        let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        // Four sigmas bound the tail, so that a test's time stays bounded too.
        base.mul_f64((normal.clamp(-4.0, 4.0) * sigma).exp())
    }

    /// `length` lower-case hexadecimal digits.
    pub(crate) fn hex(&mut self, length: usize) -> String {
        self.spelled(b"0123456789abcdef", length)
    }

    /// `length` characters of `0-9A-Za-z`, as in OpenAI's ids.
    pub(crate) fn alphanumeric(&mut self, length: usize) -> String {
        self.spelled(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", length)
    }

    /// A version 4 UUID in its usual text form.
    pub(crate) fn uuid(&mut self) -> String {
        let mut text = self.hex(32);
        let variant = ["8", "9", "a", "b"][self.below(4) as usize];
        text.replace_range(12..13, "4");
        text.replace_range(16..17, variant);
        for at in [20, 16, 12, 8] {
            text.insert(at, '-');
        }
        text
    }

    fn spelled(&mut self, alphabet: &[u8], length: usize) -> String {
        let size = alphabet.len() as u64;
        let mut text = String::with_capacity(length);
        let (mut bits, mut left) = (0u64, 0);
        for _ in 0..length {
            if left == 0 {
                (bits, left) = (self.next(), 8);
            }
            text.push(alphabet[((bits & 0xff) % size) as usize] as char);
            bits >>= 8;
            left -= 1;
        }
        text
    }
}

/// FNV-1a over `bytes`: stable across runs and platforms, unlike the standard hasher.
pub(crate) fn stable_hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_values() {
        let (mut a, mut b, mut c) = (Draw::new(7), Draw::new(7), Draw::new(8));
        assert_eq!(a.uuid(), b.uuid());
        assert_eq!(a.alphanumeric(29), b.alphanumeric(29));
        assert_ne!(Draw::new(7).hex(16), c.hex(16));
    }

    #[test]
    fn uuid_is_version_four() {
        let id = Draw::new(1).uuid();
        let groups: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12]);
        assert_eq!(id.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&id.as_bytes()[19]));
    }

    #[test]
    fn jitter_keeps_the_median() {
        let mut draw = Draw::new(3);
        let base = Duration::from_millis(100);
        let mut all: Vec<Duration> = (0..1001).map(|_| draw.jittered(base, 0.5)).collect();
        all.sort();
        assert!((80..125).contains(&all[500].as_millis()));
        assert!(all[1000] <= base.mul_f64(8.0));
        assert_eq!(draw.jittered(base, 0.0), base);
    }
}
