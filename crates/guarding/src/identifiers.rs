//! Structured identifiers of persons and organisations.
//!
//! A confidence is made of shape, checksum and context: most numbers of ten to sixteen digits are
//! orders, articles and times, and one in ten passes a checksum of one digit. What two digits check
//! may stand alone, what one digit checks needs a structure or a word beside it, and what nothing
//! checks needs the word.

mod address;
mod checks;
mod context;
mod dates;
mod documents;
mod letters;
mod network;
mod numbers;
mod phones;

use crate::Finding;

use self::context::Contexts;
use self::numbers::Digits;

/// Adds what is in the text.
pub fn find(text: &str, findings: &mut Vec<Finding>) {
    let digits = Digits::of(text);
    let lower = context::lowered(text);
    network::find(text, &digits, findings);
    phones::find_spelled(&lower, findings);
    if digits.is_empty() {
        return;
    }
    let contexts = Contexts::of(&lower);
    numbers::find(text, &digits, &contexts, findings);
    phones::find(text, &digits, &contexts, findings);
    documents::find(text, &lower, &digits, &contexts, findings);
    letters::find(text, &digits, &contexts, findings);
    dates::find(text, &digits, &contexts, findings);
    address::find(text, &lower, &digits, findings);
}

#[cfg(test)]
#[path = "tests/identifiers.rs"]
mod tests;
