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
    network::find(text, findings);
    if digits.is_empty() {
        let lower = context::lowered(text);
        let contexts = Contexts::of(&lower);
        phones::find_spelled(&lower, findings);
        address::find(text, &lower, &contexts, findings);
        return;
    }
    let lower = context::lowered(text);
    let contexts = Contexts::of(&lower);
    numbers::find(text, &digits, &contexts, findings);
    phones::find(text, &digits, &contexts, findings);
    phones::find_spelled(&lower, findings);
    documents::find(text, &lower, &digits, &contexts, findings);
    letters::find(text, &lower, &contexts, findings);
    dates::find(text, &lower, &contexts, findings);
    address::find(text, &lower, &contexts, findings);
}

#[cfg(test)]
#[path = "tests/identifiers.rs"]
mod tests;
