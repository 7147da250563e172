//! What a prompt looks like, where only its text is known.

use crate::request::{PromptFeatures, TaskClass};

/// The features of a prompt.
pub(super) fn scan(prompt: &str) -> PromptFeatures {
    let (mut letters, mut cyrillic, mut brackets, mut figures, mut characters) = (0, 0, 0, 0, 0u32);
    for character in prompt.chars() {
        characters += 1;
        if character.is_alphabetic() {
            letters += 1;
            cyrillic += u32::from(('\u{400}'..='\u{52f}').contains(&character));
        }
        brackets += u32::from("{}();<>_=".contains(character));
        figures += u32::from(character.is_ascii_digit() || "+-*/^=√∑∫".contains(character));
    }
    let share = |part: u32, of: u32| if of == 0 { 0.0 } else { part as f32 / of as f32 };
    let code = (share(brackets, characters) * 10.0).min(1.0);
    let mathematics = (share(figures, characters) * 5.0).min(1.0);
    let log_tokens = (1.0 + characters as f32 / 4.0).ln();
    let class = if prompt.contains("\nA. ") || prompt.contains("\nA) ") {
        TaskClass::Reasoning
    } else if code > 0.5 {
        TaskClass::Code
    } else if mathematics > 0.5 {
        TaskClass::Mathematics
    } else {
        TaskClass::Conversation
    };
    PromptFeatures {
        class,
        complexity: (log_tokens / 10.0 + 0.2 * code.max(mathematics)).min(1.0),
        log_tokens,
        cyrillic: share(cyrillic, letters),
        code,
        mathematics,
        turns: 1,
        tools: 0,
        images: 0,
        topic: topic(prompt),
    }
}

fn topic(prompt: &str) -> [f32; PromptFeatures::TOPICS] {
    let mut topic = [0.0f32; PromptFeatures::TOPICS];
    let mut count = |bytes: &[u8], weight: f32| {
        // FNV-1a.
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let sign = if hash >> 63 == 0 { weight } else { -weight };
        if let Some(place) = topic.get_mut((hash >> 32) as usize % PromptFeatures::TOPICS) {
            *place += sign;
        }
    };
    for word in prompt.to_lowercase().split(|c: char| !c.is_alphanumeric()) {
        if word.len() > 3 {
            count(word.as_bytes(), 1.0);
            word.as_bytes().windows(3).for_each(|group| count(group, 0.3));
        }
    }
    let length = topic.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        topic = topic.map(|value| value / length);
    }
    topic
}
