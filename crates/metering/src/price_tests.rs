use super::*;

const NOVEMBER_2026: i64 = 1_795_000_000_000;

/// At the shipped rate.
const NANOS_PER_DOLLAR: i64 = 80_000_000_000;

fn catalogue() -> PriceCatalogue {
    PriceCatalogue::shipped(&[]).unwrap()
}

fn usage(prompt: u64, cached: u64, completion: u64) -> ChargedUsage {
    ChargedUsage {
        prompt_tokens: prompt,
        cached_tokens: cached,
        completion_tokens: completion,
        ..ChargedUsage::default()
    }
}

fn cost(kind: &str, model: &str, usage: ChargedUsage, at_ms: i64) -> Cost {
    catalogue().resolve(kind, model, None).unwrap().at(at_ms).unwrap().cost(&usage)
}

#[test]
fn every_shipped_price_resolves() {
    let catalogue = catalogue();
    for (_, entry) in &catalogue.prices {
        let prices = catalogue.resolve(&entry.provider, &entry.model, None);
        let prices = prices.unwrap_or_else(|error| panic!("{}: {error}", entry.model));
        assert!(prices.at(NOVEMBER_2026).is_some());
    }
}

#[test]
fn roubles_are_exact_to_the_nano() {
    // 65 roubles for a million: 65 micro-roubles a token.
    let cost = cost("gigachat", "GigaChat-2", usage(1000, 400, 7), NOVEMBER_2026);
    assert_eq!(cost.nanos, (600 + 7) * 65_000);
    assert_eq!(cost.vat_nanos, divide_half_even(607 * 65_000 * 22, 122) as i64);
}

#[test]
fn other_currencies_are_exchanged_and_versions_of_models_found() {
    let cost =
        cost("openai", "gpt-4o-mini-2024-07-18", usage(1_000_000, 0, 1_000_000), NOVEMBER_2026);
    assert_eq!(cost.nanos, 60_000_000_000, "0.75 USD at 80 roubles");
    assert_eq!(cost.vat_nanos, 0);
}

#[test]
fn the_longest_name_wins_and_a_mere_prefix_is_no_version() {
    let catalogue = catalogue();
    let price = |model| {
        let prices = catalogue.resolve("openai", model, None).ok()?;
        Some(prices.at(NOVEMBER_2026)?.cost(&usage(1_000_000, 0, 0)).nanos)
    };
    assert_eq!(price("gpt-4.1-mini-2025-04-14"), Some(32_000_000_000));
    assert_eq!(price("gpt-4.1"), Some(160_000_000_000));
    assert_eq!(price("gpt-4omega"), None);
}

#[test]
fn versions_have_the_price_of_their_model_and_variants_have_not() {
    let catalogue = catalogue();
    let completion = |kind, model: &str| {
        let prices = catalogue.resolve(kind, model, None).ok()?;
        let per_million = usage(0, 0, 1_000_000);
        Some(prices.at(NOVEMBER_2026)?.cost(&per_million).nanos / NANOS_PER_DOLLAR)
    };
    for model in ["gpt-4o", "gpt-4o-2024-08-06", "gpt-4o:latest", "gpt-4o-latest"] {
        assert_eq!(completion("openai", model), Some(10), "{model}");
    }
    // A dated name of its own goes before the model that it is a version of.
    assert_eq!(completion("openai", "gpt-4o-2024-05-13"), Some(15));
    for (model, dollars) in [("gpt-5", 10), ("gpt-5-pro", 120), ("gpt-5.5", 30), ("o3-pro", 80)] {
        assert_eq!(completion("openai", model), Some(dollars), "{model}");
    }
    for model in ["gpt-4o-audio-preview", "gpt-4o-", "gpt-4o:", "gpt-5-ultra", "gpt-4o\u{e9}"] {
        assert_eq!(completion("openai", model), None, "{model}");
    }
    for (model, dollars) in [
        ("claude-opus-4-1-20250805", Some(75)),
        ("claude-opus-4-5-20251101", Some(25)),
        ("claude-opus-4-9", None),
        ("claude-sonnet-4-5", Some(15)),
    ] {
        assert_eq!(completion("anthropic", model), dollars, "{model}");
    }
    let roubles = |model| completion("yandexgpt", model).map(|dollars| dollars * 80);
    for model in ["yandexgpt", "yandexgpt/latest", "yandexgpt/latest@tuned"] {
        assert_eq!(roubles(model), Some(400), "{model}");
    }
    assert_eq!(roubles("yandexgpt-5.1/latest"), Some(800));
    assert_eq!(completion("gemini", "gemini-2.5-pro-preview-05-06"), Some(10));
    assert_eq!(completion("ollama", "qwen3:8b"), Some(0));
}

#[test]
fn a_missing_price_names_model_and_provider() {
    let error = catalogue().resolve("openai", "gpt-99", None).unwrap_err();
    assert!(error.to_string().contains("`gpt-99` of openai"), "{error}");
}

#[test]
fn tax_on_top_follows_the_day() {
    let price = PriceOverride {
        currency: "RUB".to_owned(),
        prompt: Nanos::parse("100").unwrap(),
        cached: None,
        completion: Nanos(0),
        reasoning: None,
        image: Nanos::parse("2").unwrap(),
        request: Nanos::parse("0.01").unwrap(),
        vat: Vat::Added,
    };
    let prices = catalogue().resolve("any", "thing", Some(&price)).unwrap();
    let usage = ChargedUsage { prompt_tokens: 10_000, images: 1, ..ChargedUsage::default() };
    let net = 1_000_000_000 + 2_000_000_000 + 10_000_000;
    let in_2025 = 1_750_000_000_000;
    assert_eq!(prices.at(in_2025).unwrap().cost(&usage).nanos, net * 120 / 100);
    assert_eq!(prices.at(NOVEMBER_2026).unwrap().cost(&usage).nanos, net * 122 / 100);
}

#[test]
fn given_rates_replace_the_shipped_ones() {
    let rate = |from: &str, rate: &str| ExchangeRate {
        currency: "USD".to_owned(),
        from: from.to_owned(),
        rate: Nanos::parse(rate).unwrap(),
        source: String::new(),
    };
    let rates = [rate("2026-06-01", "90"), rate("2026-11-20", "100")];
    let prices =
        PriceCatalogue::shipped(&rates).unwrap().resolve("openai", "gpt-4o", None).unwrap();
    let at = |at_ms| prices.at(at_ms).unwrap().cost(&usage(1_000_000, 0, 0)).nanos;
    assert_eq!(at(1_782_000_000_000), 225_000_000_000);
    assert_eq!(at(NOVEMBER_2026 + 1_000_000_000), 250_000_000_000);
}

#[test]
fn huge_counts_do_not_overflow() {
    let cost = cost("gigachat", "GigaChat-2-Max", usage(u64::MAX, 0, u64::MAX), NOVEMBER_2026);
    assert!(cost.nanos > 0);
}
