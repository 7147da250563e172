//! What the directory costs in memory. A process of its own: it looks at what the process holds.

#![cfg(target_os = "linux")]

use identity::{DirectoryView, KeyDigest, Record, RecordKind};
use serde_json::json;

const KEYS: usize = 100_000;
/// Issue: 100,000 keys under 100 MB.
const MOST_BYTES: usize = 100_000_000;

/// Bytes of memory that the process holds.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

fn apply(view: &mut DirectoryView, kind: RecordKind, body: &serde_json::Value) {
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let id = text("id");
    let tenant = if kind == RecordKind::Tenant { id.clone() } else { text("tenant") };
    let revision = view.revision() + 1;
    view.apply(&Record { kind, id, tenant, revision, body: Some(body.to_string()) }).unwrap();
}

#[test]
fn a_hundred_thousand_keys_fit_into_100_mb() {
    let before = resident();
    let mut view = DirectoryView::default();
    for number in 0..100 {
        let tenant = format!("ten_{number:026}");
        apply(&mut view, RecordKind::Tenant, &json!({"id": tenant, "name": "Organisation"}));
        for team in 0..10 {
            let team = format!("team_{:026}", number * 10 + team);
            let body = json!({"id": team, "tenant": tenant, "name": "A team"});
            apply(&mut view, RecordKind::Team, &body);
        }
    }
    for number in 0..KEYS {
        let tenant = format!("ten_{:026}", number / 10 % 100);
        let user = format!("usr_{:026}", number / 10);
        if number % 10 == 0 {
            let body = json!({"id": user, "tenant": tenant, "name": "A user", "subject": user});
            apply(&mut view, RecordKind::User, &body);
        }
        let mut body = json!({
            "id": format!("key_{number:026}"),
            "tenant": tenant,
            "team": format!("team_{:026}", number / 10 % 100 * 10),
            "user": user,
            "name": format!("application number {number}"),
            "digest": KeyDigest::of(&number.to_string()).to_hex(),
            "hint": "abcd",
            "issued_ms": 1_764_000_000_000_i64,
            "tags": ["department-7", "production"],
            "metadata": {"contact": "someone@example.com"},
        });
        // Every fourth key is narrower than its team, every tenth was just rotated.
        if number % 4 == 0 {
            body["policy"] = json!({
                "models": ["gigachat", "yandexgpt-lite"],
                "addresses": ["10.0.0.0/8"],
                "limits": {"requests_per_minute": 60},
            });
        }
        if number % 10 == 1 {
            let digest = KeyDigest::of(&format!("old {number}")).to_hex();
            body["previous"] = json!({"digest": digest, "valid_until_ms": 1_764_100_000_000_i64});
        }
        apply(&mut view, RecordKind::Key, &body);
    }
    let held = resident().saturating_sub(before);
    assert_eq!(view.len(RecordKind::Key), KEYS);
    println!("{KEYS} keys: {held} bytes, {} each", held / KEYS);
    assert!(held < MOST_BYTES, "{held}");
    // A measurement that sees nothing would pass as well: a digest alone is 32 bytes.
    assert!(held > KEYS * 32, "{held}");
}
