use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::ledger::ChargedUsage;
use crate::money::{Nanos, divide_half_even};

/// The catalogue that the program ships with.
const SHIPPED: &str = include_str!("../data/prices.yaml");

/// Whether a price holds value-added tax.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Vat {
    /// It is in the price.
    #[default]
    Included,
    /// It comes on top.
    Added,
    /// There is none.
    None,
}

/// What a deployment costs, where it differs from the catalogue. Amounts are per million tokens
/// unless they say otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceOverride {
    /// Currency, ISO 4217.
    #[serde(default = "rub")]
    pub currency: String,
    /// Prompt tokens.
    pub prompt: Nanos,
    /// Prompt tokens that the provider served from its cache; without it, as `prompt`.
    #[serde(default)]
    pub cached: Option<Nanos>,
    /// Completion tokens.
    pub completion: Nanos,
    /// Reasoning tokens; without it, as `completion`.
    #[serde(default)]
    pub reasoning: Option<Nanos>,
    /// One picture in the prompt.
    #[serde(default)]
    pub image: Nanos,
    /// One request.
    #[serde(default)]
    pub request: Nanos,
    /// Whether the amounts hold value-added tax.
    #[serde(default)]
    pub vat: Vat,
}

fn rub() -> String {
    "RUB".to_owned()
}

/// What one currency is worth in roubles from a day on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExchangeRate {
    /// Currency, ISO 4217.
    pub currency: String,
    /// From this day on, `2026-01-01`, Moscow time.
    pub from: String,
    /// Roubles for one unit.
    pub rate: Nanos,
    /// Where the rate comes from.
    #[serde(default)]
    pub source: String,
}

/// Why there is no price.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// The catalogue does not know the model.
    #[error("there is no price for the model `{model}` of {provider}; give `price`")]
    UnknownModel {
        /// Kind of the provider.
        provider: String,
        /// The provider's name of the model.
        model: String,
    },
    /// There is no rate for the currency on the day.
    #[error("there is no exchange rate from {0} to roubles; add one to `limits.exchange_rates`")]
    UnknownCurrency(String),
    /// A day that is none.
    #[error("`{0}` is no day; write it as 2026-01-31")]
    Day(String),
    /// An amount below zero.
    #[error("`{0}` is negative; a price is not")]
    Negative(&'static str),
    /// The catalogue cannot be read.
    #[error("the price catalogue cannot be read: {0}")]
    Catalogue(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogueFile {
    exchange_rates: Vec<ExchangeRate>,
    vat: Vec<VatRate>,
    providers: std::collections::BTreeMap<String, Source>,
    prices: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct VatRate {
    from: String,
    percent: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    currency: String,
    vat: Vat,
    source: String,
    as_of: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    provider: String,
    model: String,
    from: String,
    prompt: Nanos,
    cached: Option<Nanos>,
    completion: Nanos,
}

/// Known prices, exchange rates and tax rates.
#[derive(Debug)]
pub struct PriceCatalogue {
    /// By day, ascending; milliseconds since 1970.
    rates: Vec<(i64, ExchangeRate)>,
    vat: Vec<(i64, u32)>,
    sources: std::collections::BTreeMap<String, Source>,
    prices: Vec<(i64, Entry)>,
}

/// The beginning of a day in Moscow, milliseconds since 1970.
fn day(text: &str) -> Result<i64, PriceError> {
    let fault = || PriceError::Day(text.to_owned());
    let date: Date = text.parse().map_err(|_| fault())?;
    let moscow = TimeZone::get("Europe/Moscow").map_err(|_| fault())?;
    Ok(date.to_zoned_datetime(moscow).map_err(|_| fault())?.timestamp().as_millisecond())
}

/// The latest of `dated` that is not after `at_ms`.
fn latest<T>(dated: &[(i64, T)], at_ms: i64) -> Option<&(i64, T)> {
    dated.iter().filter(|(from, _)| *from <= at_ms).max_by_key(|(from, _)| *from)
}

impl PriceCatalogue {
    /// The shipped catalogue, with `rates` besides and before its own.
    ///
    /// # Errors
    /// When a day cannot be read.
    pub fn shipped(rates: &[ExchangeRate]) -> Result<Self, PriceError> {
        let file: CatalogueFile = serde_saphyr::from_str(SHIPPED)
            .map_err(|error| PriceError::Catalogue(error.to_string()))?;
        // A currency that is given rates has only those: its days would not fit the shipped ones.
        let shipped = file
            .exchange_rates
            .into_iter()
            .filter(|rate| rates.iter().all(|given| given.currency != rate.currency));
        let dated = |rate: ExchangeRate| Ok((day(&rate.from)?, rate));
        Ok(Self {
            rates: rates.iter().cloned().chain(shipped).map(dated).collect::<Result<_, _>>()?,
            vat: file
                .vat
                .into_iter()
                .map(|rate| Ok((day(&rate.from)?, rate.percent)))
                .collect::<Result<_, _>>()?,
            sources: file.providers,
            prices: file
                .prices
                .into_iter()
                .map(|entry| Ok((day(&entry.from)?, entry)))
                .collect::<Result<_, _>>()?,
        })
    }

    /// The prices of a model by the day on which they begin to hold: `given`, else the catalogue's.
    ///
    /// # Errors
    /// When there is none, or none in roubles.
    pub fn resolve(
        &self,
        provider_kind: &str,
        model: &str,
        given: Option<&PriceOverride>,
    ) -> Result<DatedPrices, PriceError> {
        let dated = match given {
            Some(price) => vec![(i64::MIN, price.clone(), "configuration".to_owned())],
            None => self.entries(provider_kind, model)?,
        };
        let mut starts: Vec<i64> = dated.iter().map(|(from, ..)| *from).collect();
        let currencies: Vec<&str> =
            dated.iter().map(|(_, price, _)| price.currency.as_str()).collect();
        let rated = self.rates.iter().filter(|(_, rate)| currencies.contains(&&*rate.currency));
        starts.extend(rated.map(|(from, _)| *from));
        starts.extend(self.vat.iter().map(|(from, _)| *from));
        starts.sort_unstable();
        starts.dedup();
        let mut prices = Vec::new();
        for start in starts {
            let Some((_, price, version)) =
                dated.iter().filter(|(from, ..)| *from <= start).max_by_key(|(from, ..)| *from)
            else {
                continue;
            };
            match self.at(price, version, start) {
                Ok(price) => prices.push((start, Arc::new(price))),
                // Before its first rate a currency has no worth; what has none at all is refused.
                Err(PriceError::UnknownCurrency(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if prices.is_empty() {
            let currency = currencies.first().copied().unwrap_or_default();
            return Err(PriceError::UnknownCurrency(currency.to_owned()));
        }
        Ok(DatedPrices(prices.into()))
    }

    fn entries(
        &self,
        kind: &str,
        model: &str,
    ) -> Result<Vec<(i64, PriceOverride, String)>, PriceError> {
        let unknown =
            || PriceError::UnknownModel { provider: kind.to_owned(), model: model.to_owned() };
        let source = self.sources.get(kind).ok_or_else(unknown)?;
        let of_kind = || self.prices.iter().filter(|(_, entry)| entry.provider == kind);
        let name = of_kind()
            .map(|(_, entry)| entry.model.as_str())
            .filter(|name| is_version_of(model, name))
            .max_by_key(|name| name.len())
            .ok_or_else(unknown)?;
        let price = |entry: &Entry| PriceOverride {
            currency: source.currency.clone(),
            prompt: entry.prompt,
            cached: entry.cached,
            completion: entry.completion,
            reasoning: None,
            image: Nanos(0),
            request: Nanos(0),
            vat: source.vat,
        };
        Ok(of_kind()
            .filter(|(_, entry)| entry.model == name)
            .map(|(from, entry)| {
                let version = format!("{}, as of {}", source.source, source.as_of);
                (*from, price(entry), version)
            })
            .collect())
    }

    fn at(&self, price: &PriceOverride, version: &str, at_ms: i64) -> Result<Price, PriceError> {
        let rate = if price.currency == "RUB" {
            Nanos(1_000_000_000)
        } else {
            let unknown = || PriceError::UnknownCurrency(price.currency.clone());
            let of_currency: Vec<_> = self
                .rates
                .iter()
                .filter(|(_, rate)| rate.currency == price.currency)
                .map(|(from, rate)| (*from, rate.rate))
                .collect();
            latest(&of_currency, at_ms).ok_or_else(unknown)?.1
        };
        let amount = |name, amount: Nanos| match amount.0 {
            0.. => Ok(i128::from(amount.0)),
            _ => Err(PriceError::Negative(name)),
        };
        let prompt = amount("prompt", price.prompt)?;
        let completion = amount("completion", price.completion)?;
        Ok(Price {
            prompt,
            cached: price.cached.map_or(Ok(prompt), |cached| amount("cached", cached))?,
            completion,
            reasoning: price
                .reasoning
                .map_or(Ok(completion), |reasoning| amount("reasoning", reasoning))?,
            image: amount("image", price.image)?,
            request: amount("request", price.request)?,
            rate: amount("rate", rate)?,
            vat: price.vat,
            vat_percent: latest(&self.vat, at_ms).map_or(0, |(_, percent)| i128::from(*percent)),
            version: format!("{version}; {} at {rate}", price.currency).into(),
        })
    }
}

/// Whether `model` is `name`, or `name` with a version behind it: `gpt-4o-2024-08-06`,
/// `yandexgpt/latest`. A variant is another model with another price: `gpt-5-pro` costs twelve times
/// what `gpt-5` does. An empty name stands for every model.
fn is_version_of(model: &str, name: &str) -> bool {
    name.is_empty() || model.strip_prefix(name).is_some_and(is_version)
}

/// Whether a text is nothing but marks of versions: `-2024-08-06`, `:latest`, `/rc`, `@tuned`,
/// `-preview-05-20`. Short numbers are none, for `claude-opus-4-1` is no version of `claude-opus-4`.
fn is_version(rest: &str) -> bool {
    let Some(mark) = rest.chars().next() else { return true };
    let after = rest.get(mark.len_utf8()..).unwrap_or_default();
    match mark {
        ':' | '@' => !after.is_empty(),
        '/' => {
            let end = after.find(['@', '/']).unwrap_or(after.len());
            let (branch, rest) = after.split_at(end);
            matches!(branch, "latest" | "rc" | "deprecated") && is_version(rest)
        }
        '-' => ["latest", "preview", "exp"]
            .iter()
            .find_map(|word| after.strip_prefix(word))
            .map_or_else(|| is_date_and_version(after), |rest| is_version(rest) || is_day(rest)),
        _ => false,
    }
}

/// `2024-08-06`, `20240806`, `0613` or `001`, and marks of versions behind it.
fn is_date_and_version(text: &str) -> bool {
    let shape = |shape: &str| {
        let (date, rest) = text.split_at_checked(shape.len())?;
        let same = date.bytes().zip(shape.bytes()).all(|(byte, of)| match of {
            b'9' => byte.is_ascii_digit(),
            _ => byte == of,
        });
        same.then_some(rest)
    };
    ["9999-99-99", "99999999", "9999", "999"].iter().filter_map(|date| shape(date)).any(is_version)
}

/// `-05-20`, as behind Gemini's previews.
fn is_day(text: &str) -> bool {
    matches!(text.as_bytes(), [b'-', a, b, b'-', c, d] if [a, b, c, d].iter().all(|x| x.is_ascii_digit()))
}

/// What a model costs at some time.
#[derive(Debug, PartialEq, Eq)]
pub struct Price {
    /// Nano-units of the currency for a million tokens.
    prompt: i128,
    cached: i128,
    completion: i128,
    reasoning: i128,
    /// Nano-units of the currency each.
    image: i128,
    request: i128,
    /// Nano-roubles for one unit of the currency.
    rate: i128,
    vat: Vat,
    vat_percent: i128,
    version: Arc<str>,
}

/// What something costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Nano-roubles, value-added tax included.
    pub nanos: i64,
    /// Of them, value-added tax.
    pub vat_nanos: i64,
}

impl Price {
    /// What `usage` costs: exact, rounded once, halves to even.
    #[must_use]
    pub fn cost(&self, usage: &ChargedUsage) -> Cost {
        let tokens = |count: u64| i128::from(count.min(1 << 40));
        let cached = usage.cached_tokens.min(usage.prompt_tokens);
        let reasoning = usage.reasoning_tokens.min(usage.completion_tokens);
        let per_million = tokens(usage.prompt_tokens - cached) * self.prompt
            + tokens(cached) * self.cached
            + tokens(usage.completion_tokens - reasoning) * self.completion
            + tokens(reasoning) * self.reasoning;
        let each = tokens(usage.images) * self.image + self.request;
        let original = per_million + each * 1_000_000;
        // In the dividend: currency to roubles (a factor of 10^9), per million, and per cent.
        let unit: i128 = 1_000_000_000 * 1_000_000 * 100;
        let percent = 100 + self.vat_percent;
        let roubles = original.saturating_mul(self.rate);
        let gross = match self.vat {
            Vat::Included | Vat::None => divide_half_even(roubles.saturating_mul(100), unit),
            Vat::Added => divide_half_even(roubles.saturating_mul(percent), unit),
        };
        let vat = match self.vat {
            Vat::None => 0,
            Vat::Included | Vat::Added => divide_half_even(gross * self.vat_percent, percent),
        };
        let narrow = |nanos: i128| i64::try_from(nanos).unwrap_or(i64::MAX);
        Cost { nanos: narrow(gross), vat_nanos: narrow(vat) }
    }

    /// No price at all.
    #[must_use]
    pub fn free() -> Self {
        Self {
            prompt: 0,
            cached: 0,
            completion: 0,
            reasoning: 0,
            image: 0,
            request: 0,
            rate: 0,
            vat: Vat::None,
            vat_percent: 0,
            version: Arc::from("no price"),
        }
    }

    /// Where the price comes from, for the ledger.
    #[must_use]
    pub fn version(&self) -> &Arc<str> {
        &self.version
    }

    /// Whether pictures cost something by themselves.
    #[must_use]
    pub fn charges_images(&self) -> bool {
        self.image > 0
    }

    /// Whether nothing can ever cost anything.
    #[must_use]
    pub fn is_free(&self) -> bool {
        [self.prompt, self.cached, self.completion, self.reasoning, self.image, self.request]
            .iter()
            .all(|amount| *amount == 0)
    }
}

/// What a model costs, by the day on which it begins to. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DatedPrices(Arc<[(i64, Arc<Price>)]>);

impl DatedPrices {
    /// The price at a time, milliseconds since 1970; before the first one, the first.
    #[must_use]
    pub fn at(&self, at_ms: i64) -> Option<&Arc<Price>> {
        latest(&self.0, at_ms).or(self.0.first()).map(|(_, price)| price)
    }
}

#[cfg(test)]
#[path = "price_tests.rs"]
mod tests;
