//! Checksums. Digits are values from 0 to 9.

fn weighted(digits: &[u8], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| u32::from(*digit) * weight).sum()
}

fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(*digit))
}

/// INN of an organisation, 10 digits (order of the Federal Tax Service MM-3-6/115).
pub(super) fn inn10(digits: &[u8]) -> bool {
    let sum = weighted(digits, &[2, 4, 10, 3, 5, 9, 4, 6, 8]);
    digits.len() == 10 && number(digits) > 0 && sum % 11 % 10 == u32::from(digits[9])
}

/// INN of a person, 12 digits.
pub(super) fn inn12(digits: &[u8]) -> bool {
    let first = weighted(digits, &[7, 2, 4, 10, 3, 5, 9, 4, 6, 8]);
    let second = weighted(digits, &[3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8]);
    digits.len() == 12
        && number(digits) > 0
        && first % 11 % 10 == u32::from(digits[10])
        && second % 11 % 10 == u32::from(digits[11])
}

/// SNILS, 11 digits; numbers up to 001-001-998 have no checksum.
pub(super) fn snils(digits: &[u8]) -> bool {
    if digits.len() != 11 || number(&digits[..9]) <= 1_001_998 {
        return false;
    }
    let sum = weighted(digits, &[9, 8, 7, 6, 5, 4, 3, 2, 1]);
    sum % 101 % 100 == u32::from(digits[9]) * 10 + u32::from(digits[10])
}

/// OGRN, 13 digits, with a plausible year and region.
pub(super) fn ogrn(digits: &[u8]) -> bool {
    digits.len() == 13
        && matches!(digits[0], 1 | 5)
        && year(digits)
        && (number(&digits[..12]) % 11 % 10) as u8 == digits[12]
}

/// OGRNIP, 15 digits, with a plausible year.
pub(super) fn ogrnip(digits: &[u8]) -> bool {
    digits.len() == 15
        && digits[0] == 3
        && year(digits)
        && (number(&digits[..14]) % 13 % 10) as u8 == digits[14]
}

/// Numbers of the state register begin in 2002.
fn year(digits: &[u8]) -> bool {
    (2..=40).contains(&(digits[1] * 10 + digits[2])) && digits[3] * 10 + digits[4] > 0
}

/// ISO/IEC 7812-1.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let value = u32::from(*digit) * if place % 2 == 1 { 2 } else { 1 };
            value / 10 + value % 10
        })
        .sum();
    sum.is_multiple_of(10) && digits.iter().any(|digit| *digit != digits[0])
}

/// Whether a payment system issues cards that begin so and are so long.
pub(super) fn card_prefix(digits: &[u8]) -> bool {
    let (two, four) = (number(&digits[..2]), number(&digits[..4]));
    match digits.len() {
        16..=19 if (2200..=2204).contains(&four) => true,
        16 if (51..=55).contains(&two) || (2221..=2720).contains(&four) => true,
        13 | 16 | 19 if digits[0] == 4 => true,
        15 if matches!(two, 34 | 37) => true,
        16..=19 if two == 62 || matches!(two, 60 | 64 | 65) => true,
        12..=19 if matches!(two, 50 | 56..=58 | 61 | 63 | 66..=69) => true,
        16..=19 if (3528..=3589).contains(&four) => true,
        14..=19 if two == 36 || two == 38 || (300..=305).contains(&(four / 10)) => true,
        16 if four == 9792 || two == 81 || two == 82 => true,
        _ => false,
    }
}

/// Account at a bank with this BIK (Bank of Russia regulation 515).
pub(super) fn account(digits: &[u8], bik: &[u8]) -> bool {
    if digits.len() != 20 || bik.len() != 9 {
        return false;
    }
    let correspondent = digits.starts_with(&[3, 0, 1]);
    let head = if correspondent { [0, bik[4], bik[5]] } else { [bik[6], bik[7], bik[8]] };
    let all = head.iter().chain(digits);
    let weights = [7_u32, 1, 3].into_iter().cycle();
    all.zip(weights).map(|(digit, weight)| u32::from(*digit) * weight % 10).sum::<u32>() % 10 == 0
}

/// Whether 20 digits have the structure of an account: balance account and currency.
pub(super) fn account_structure(digits: &[u8]) -> bool {
    let balance = number(&digits[..3]);
    let currency = number(&digits[5..8]);
    matches!(balance, 301..=303 | 401..=411 | 413..=426 | 452..=458 | 474 | 501..=526)
        && matches!(
            currency,
            810 | 643 | 840 | 978 | 156 | 826 | 756 | 392 | 398 | 933 | 980 | 51 | 949
        )
}

/// Policy of medical insurance, 16 digits: as the digits to the left of the last one, counted from
/// the right, those at odd places form a number that is doubled, those at even places are put before
/// it, and the sum of digits goes to the next ten.
pub(super) fn medical_policy(digits: &[u8]) -> bool {
    if digits.len() != 16 {
        return false;
    }
    let pick = |from: usize| digits[..15].iter().rev().skip(from).step_by(2).map(|d| u64::from(*d));
    let odd = pick(0).fold(0_u64, |sum, digit| sum * 10 + digit) * 2;
    let even: u64 = pick(1).sum();
    let mut left = odd;
    let mut sum = even;
    while left > 0 {
        sum += left % 10;
        left /= 10;
    }
    (10 - sum % 10) % 10 == u64::from(digits[15])
}

/// IBAN (ISO 13616), letters and digits only.
pub(super) fn iban(text: &[u8]) -> bool {
    let turned = text.iter().skip(4).chain(text.iter().take(4));
    let rest = turned.fold(0_u32, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        b'A'..=b'Z' => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
        _ => 0,
    });
    (15..=34).contains(&text.len()) && rest == 1
}

/// Check digit of a VIN (ISO 3779, obligatory in North America).
pub(super) fn vin(text: &[u8]) -> bool {
    const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    let value = |byte: u8| match byte {
        b'0'..=b'9' => u32::from(byte - b'0'),
        b'A'..=b'H' => u32::from(byte - b'A') + 1,
        b'J'..=b'N' => u32::from(byte - b'J') + 1,
        b'P' => 7,
        b'R' => 9,
        b'S'..=b'Z' => u32::from(byte - b'S') + 2,
        _ => 0,
    };
    let sum: u32 = text.iter().zip(WEIGHTS).map(|(byte, weight)| value(*byte) * weight).sum();
    let check = match sum % 11 {
        10 => b'X',
        digit => b'0' + digit as u8,
    };
    text.len() == 17 && text[8] == check
}

/// Whether a region of Russia or a successor of one has this number in series of passports (OKATO).
pub(super) fn okato_region(two: u32) -> bool {
    matches!(two, 1 | 3..=5 | 7 | 8 | 10..=12 | 14 | 15 | 17..=20 | 22 | 24..=30 | 32..=34 | 36..=38
        | 40..=42 | 44..=47 | 49 | 50 | 52..=54 | 56..=58 | 60 | 61 | 63..=66 | 68..=71 | 73 | 75..=99)
}
