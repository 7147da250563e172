use std::collections::BTreeMap;
use std::fmt::Write as _;

use async_trait::async_trait;
use metering::{
    ChargedUsage, Dimension, LedgerEntry, LedgerError, LedgerFilter, LedgerOutcome, LedgerStore,
    LedgerSum,
};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use crate::database::{Database, Engine, explain, places, storable};

const COLUMNS: [&str; 22] = [
    "id",
    "request_id",
    "at_ms",
    "tenant",
    "team",
    "user_id",
    "key_id",
    "tags",
    "surface",
    "route",
    "provider",
    "model",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "images",
    "cost_nanos",
    "avoided_nanos",
    "price",
    "estimated",
    "outcome",
];

/// Entries of one statement: 22 columns each, and SQLite takes 32,766 parameters. Any number is put
/// together from these, so that there are few statements, each of which is parsed once.
const BATCHES: [usize; 5] = [500, 100, 25, 5, 1];

#[cfg(test)]
const DAY_MS: i64 = 86_400_000;

/// What is summed in two parts, above and below [`PART`].
const WIDE: [&str; 7] = [
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "images",
    "cost_nanos",
    "avoided_nanos",
];

const PART: i64 = 1_000_000_000;

fn unavailable(error: sqlx::Error) -> LedgerError {
    LedgerError::Unavailable(explain(&error))
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn unsigned(row: &AnyRow, column: usize) -> Result<u64, sqlx::Error> {
    row.try_get::<i64, _>(column).map(|count| u64::try_from(count).unwrap_or(0))
}

/// Tags as one text in which each can be looked for exactly: a line end before and after each.
fn joined(tags: &[String]) -> String {
    if tags.is_empty() {
        return String::new();
    }
    format!("\n{}\n", tags.iter().map(|tag| tag.replace('\n', " ")).collect::<Vec<_>>().join("\n"))
}

fn outcome_name(outcome: LedgerOutcome) -> &'static str {
    match outcome {
        LedgerOutcome::Completed => "completed",
        LedgerOutcome::Cut => "cut",
        LedgerOutcome::Discarded => "discarded",
        LedgerOutcome::Recovered => "recovered",
        LedgerOutcome::Cached => "cached",
    }
}

fn outcome(name: &str) -> Result<LedgerOutcome, LedgerError> {
    use LedgerOutcome::{Cached, Completed, Cut, Discarded, Recovered};
    [Completed, Cut, Discarded, Recovered, Cached]
        .into_iter()
        .find(|outcome| outcome_name(*outcome) == name)
        .ok_or_else(|| LedgerError::Damaged(format!("an entry with the outcome `{name}`")))
}

fn insert_statement(engine: Engine, entries: usize) -> String {
    // SQLite would keep a copy of each page that a statement of several rows changes, to take back
    // this statement alone if it fails. We take back the whole transaction.
    let insert = match engine {
        Engine::Sqlite => "INSERT OR FAIL",
        Engine::Postgres => "INSERT",
    };
    format!(
        "{insert} INTO ledger ({}) VALUES {} ON CONFLICT (id) DO NOTHING",
        COLUMNS.join(", "),
        places(engine, entries, COLUMNS.len())
    )
}

/// A condition on the entries, and what is bound to it.
struct Condition {
    sql: String,
    texts: Vec<(usize, String)>,
    numbers: Vec<(usize, i64)>,
}

fn condition(filter: &LedgerFilter, engine: Engine) -> Condition {
    let mut condition =
        Condition { sql: "1 = 1".to_owned(), texts: Vec::new(), numbers: Vec::new() };
    let mut place = 0;
    let exact = [
        ("tenant", &filter.tenant),
        ("team", &filter.team),
        ("user_id", &filter.user),
        ("key_id", &filter.key),
        ("route", &filter.route),
    ];
    for (column, wanted) in exact {
        let Some(wanted) = wanted else { continue };
        place += 1;
        _ = write!(condition.sql, " AND {column} = ${place}");
        condition.texts.push((place, storable(wanted)));
    }
    if let Some(tag) = &filter.tag {
        place += 1;
        let find = match engine {
            Engine::Sqlite => "instr",
            Engine::Postgres => "strpos",
        };
        _ = write!(condition.sql, " AND {find}(tags, ${place}) > 0");
        condition.texts.push((place, storable(&joined(std::slice::from_ref(tag)))));
    }
    for (comparison, bound) in [(">=", filter.from_ms), ("<", filter.to_ms)] {
        let Some(bound) = bound else { continue };
        place += 1;
        _ = write!(condition.sql, " AND at_ms {comparison} ${place}");
        condition.numbers.push((place, bound));
    }
    condition
}

impl Condition {
    fn next_place(&self) -> usize {
        self.texts.len() + self.numbers.len() + 1
    }
}

/// Binds in the order of the places.
macro_rules! bound {
    ($query:expr, $condition:expr) => {{
        let mut query = $query;
        for place in 1..$condition.next_place() {
            if let Some((_, text)) = $condition.texts.iter().find(|(at, _)| *at == place) {
                query = query.bind(text.clone());
            }
            if let Some((_, number)) = $condition.numbers.iter().find(|(at, _)| *at == place) {
                query = query.bind(*number);
            }
        }
        query
    }};
}

fn dimension(dimension: Dimension) -> (&'static str, &'static str) {
    match dimension {
        Dimension::Tenant => ("tenant", "tenant"),
        Dimension::Team => ("team", "team"),
        Dimension::User => ("user", "user_id"),
        Dimension::Key => ("key", "key_id"),
        Dimension::Route => ("route", "route"),
        Dimension::Provider => ("provider", "provider"),
        Dimension::Model => ("model", "model"),
        Dimension::Day => ("day", "at_ms / 86400000"),
    }
}

/// A day by its number since 1970-01-01, as `2026-11-23` (Howard Hinnant's civil-from-days).
fn day_name(number: i64) -> String {
    let shifted = number + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[async_trait]
impl LedgerStore for Database {
    async fn append(&self, entries: &[LedgerEntry]) -> Result<(), LedgerError> {
        if entries.is_empty() {
            return Ok(());
        }
        // Always in the same order: two who store the same entries in different orders would wait
        // for each other.
        let mut entries: Vec<&LedgerEntry> = entries.iter().collect();
        entries.sort_by(|one, other| one.id.cmp(&other.id));
        let mut transaction = self.writer.begin().await.map_err(unavailable)?;
        let mut rest = entries.as_slice();
        while !rest.is_empty() {
            let size = BATCHES.into_iter().find(|size| *size <= rest.len()).unwrap_or(1);
            let (batch, behind) = rest.split_at(size);
            rest = behind;
            let mut query = sqlx::query(AssertSqlSafe(insert_statement(self.engine, size)));
            for entry in batch {
                query = query
                    .bind(storable(&entry.id))
                    .bind(storable(&entry.request_id))
                    .bind(entry.at_ms)
                    .bind(storable(&entry.tenant))
                    .bind(storable(entry.team.as_deref().unwrap_or_default()))
                    .bind(storable(entry.user.as_deref().unwrap_or_default()))
                    .bind(storable(&entry.key))
                    .bind(storable(&joined(&entry.tags)))
                    .bind(storable(&entry.surface))
                    .bind(storable(&entry.route))
                    .bind(storable(&entry.provider))
                    .bind(storable(&entry.model))
                    .bind(signed(entry.usage.prompt_tokens))
                    .bind(signed(entry.usage.cached_tokens))
                    .bind(signed(entry.usage.completion_tokens))
                    .bind(signed(entry.usage.reasoning_tokens))
                    .bind(signed(entry.usage.images))
                    .bind(entry.cost_nanos)
                    .bind(entry.avoided_nanos)
                    .bind(storable(&entry.price))
                    .bind(i64::from(entry.estimated))
                    .bind(outcome_name(entry.outcome));
            }
            query.execute(&mut *transaction).await.map_err(unavailable)?;
        }
        transaction.commit().await.map_err(unavailable)
    }

    async fn sums(
        &self,
        filter: &LedgerFilter,
        by: &[Dimension],
    ) -> Result<Vec<LedgerSum>, LedgerError> {
        let condition = condition(filter, self.engine);
        let groups: Vec<&str> = by.iter().map(|by| dimension(*by).1).collect();
        let mut columns: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        columns.push("COUNT(*)".to_owned());
        let mut add = |of: &str| columns.push(format!("CAST(COALESCE(SUM({of}), 0) AS BIGINT)"));
        add("CASE WHEN outcome = 'cached' THEN 1 ELSE 0 END");
        add("estimated");
        // A sum outgrows 64 bits; that of the thousand millions and that of the rest do not.
        for column in WIDE {
            add(&format!("{column} / {PART}"));
            add(&format!("{column} % {PART}"));
        }
        let mut sql = format!("SELECT {} FROM ledger WHERE {}", columns.join(", "), condition.sql);
        if !groups.is_empty() {
            let places: Vec<String> = (1..=groups.len()).map(|place| place.to_string()).collect();
            _ = write!(sql, " GROUP BY {0} ORDER BY {0}", places.join(", "));
        }
        let rows = bound!(sqlx::query(AssertSqlSafe(sql)), condition)
            .fetch_all(&self.pool)
            .await
            .map_err(unavailable)?;
        rows.iter().map(|row| sum(row, by).map_err(unavailable)).collect()
    }

    async fn entries(
        &self,
        filter: &LedgerFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<LedgerEntry>, LedgerError> {
        let condition = condition(filter, self.engine);
        let place = condition.next_place();
        let (then, limit_place) = if after.is_some() {
            let then =
                format!(" AND (at_ms, id) > (SELECT at_ms, id FROM ledger WHERE id = ${place})");
            (then, place + 1)
        } else {
            (String::new(), place)
        };
        let sql = format!(
            "SELECT {} FROM ledger WHERE {}{then} ORDER BY at_ms, id LIMIT ${limit_place}",
            COLUMNS.join(", "),
            condition.sql
        );
        let mut query = bound!(sqlx::query(AssertSqlSafe(sql)), condition);
        if let Some(after) = after {
            query = query.bind(storable(after));
        }
        let rows = query
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await
            .map_err(unavailable)?;
        rows.iter().map(entry).collect()
    }
}

fn sum(row: &AnyRow, by: &[Dimension]) -> Result<LedgerSum, sqlx::Error> {
    let mut group = BTreeMap::new();
    for (column, by) in by.iter().enumerate() {
        let value = match by {
            Dimension::Day => day_name(row.try_get(column)?),
            _ => row.try_get(column)?,
        };
        group.insert(dimension(*by).0.to_owned(), value);
    }
    let first = by.len();
    // As in WIDE, each in two parts.
    let wide = |place: usize| -> Result<i128, sqlx::Error> {
        let above: i64 = row.try_get(first + 3 + 2 * place)?;
        let below: i64 = row.try_get(first + 4 + 2 * place)?;
        Ok(i128::from(above) * i128::from(PART) + i128::from(below))
    };
    let count = |place: usize| wide(place).map(|sum| u64::try_from(sum).unwrap_or(u64::MAX));
    Ok(LedgerSum {
        group,
        entries: unsigned(row, first)?,
        cached_entries: unsigned(row, first + 1)?,
        estimated_entries: unsigned(row, first + 2)?,
        usage: ChargedUsage {
            prompt_tokens: count(0)?,
            cached_tokens: count(1)?,
            completion_tokens: count(2)?,
            reasoning_tokens: count(3)?,
            images: count(4)?,
        },
        cost_nanos: wide(5)?,
        avoided_nanos: wide(6)?,
    })
}

fn entry(row: &AnyRow) -> Result<LedgerEntry, LedgerError> {
    let text = |column: usize| row.try_get::<String, _>(column).map_err(unavailable);
    let number = |column: usize| row.try_get::<i64, _>(column).map_err(unavailable);
    let count = |column: usize| unsigned(row, column).map_err(unavailable);
    let optional = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(LedgerEntry {
        id: text(0)?,
        request_id: text(1)?,
        at_ms: number(2)?,
        tenant: text(3)?,
        team: optional(text(4)?),
        user: optional(text(5)?),
        key: text(6)?,
        tags: text(7)?.split('\n').filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
        surface: text(8)?,
        route: text(9)?,
        provider: text(10)?,
        model: text(11)?,
        usage: ChargedUsage {
            prompt_tokens: count(12)?,
            cached_tokens: count(13)?,
            completion_tokens: count(14)?,
            reasoning_tokens: count(15)?,
            images: count(16)?,
        },
        cost_nanos: number(17)?,
        avoided_nanos: number(18)?,
        price: text(19)?,
        estimated: number(20)? != 0,
        outcome: outcome(&text(21)?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_names() {
        for (at_ms, name) in
            [(0, "1970-01-01"), (951_782_400_000, "2000-02-29"), (1_795_392_000_000, "2026-11-23")]
        {
            assert_eq!(day_name(at_ms / DAY_MS), name);
        }
    }
}
