//! The outline of a body takes what serde takes, and a patch of it is JSON again.
#![no_main]

use bytes::Bytes;
use dialects::json::{Outline, Patch};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;

fuzz_target!(|body: &[u8]| {
    let Ok(outline) = Outline::read(body, 100) else { return };
    let theirs = serde_json::from_slice::<IgnoredAny>(body);
    if let Err(error) = &theirs {
        let told = error.to_string();
        assert!(told.contains("surrogate") || told.contains("hex escape"), "{told}");
        return;
    }
    let body = Bytes::copy_from_slice(body);
    let mut patch = Patch::new(&body, &outline);
    patch.set("model", b"\"m\"".to_vec()).remove("llm_proxy").remove("stream");
    let patched = patch.apply().concat();
    assert!(serde_json::from_slice::<IgnoredAny>(&patched).is_ok());
    let outline = Outline::read(&patched, 100).unwrap();
    assert_eq!(outline.get(&patched, "model"), Some("\"m\""));
    assert_eq!(outline.get(&patched, "llm_proxy"), None);
});
