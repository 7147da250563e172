use std::collections::HashMap;
use std::sync::Arc;

use identity::DirectoryView;
use metering::{
    Budget, BudgetMeter, BudgetScope, LedgerError, LedgerFilter, LedgerStore, TimeZone, Window,
};
use storage::Database;

use super::now_ms;

/// Meters by tenant.
pub(super) type Meters = HashMap<Box<str>, Vec<Arc<BudgetMeter>>>;

/// The meters for the budgets of the directory. Those whose budget did not change stay.
pub(super) async fn meters(
    view: &DirectoryView,
    running: &Meters,
    database: &Database,
) -> Result<Meters, LedgerError> {
    let mut meters = Meters::new();
    for (id, record) in view.budgets() {
        let budget: Budget = match serde_json::from_str(&record.body) {
            Ok(budget) => budget,
            Err(error) => {
                tracing::error!(budget = %id, %error, "a budget cannot be read and is not kept");
                continue;
            }
        };
        let kept = running
            .get(budget.tenant.as_str())
            .into_iter()
            .flatten()
            .find(|meter| **meter.budget() == budget);
        let meter = match kept {
            Some(meter) => Arc::clone(meter),
            None => Arc::new(meter(view, budget, database).await?),
        };
        meters.entry(meter.budget().tenant.as_str().into()).or_default().push(meter);
    }
    Ok(meters)
}

async fn meter(
    view: &DirectoryView,
    budget: Budget,
    database: &Database,
) -> Result<BudgetMeter, LedgerError> {
    let name = view.tenant(&budget.tenant).map_or("Europe/Moscow", |tenant| tenant.time_zone());
    let zone = TimeZone::get(name).unwrap_or(TimeZone::UTC);
    let now = now_ms();
    let window = Window::of(budget.period, &zone, now);
    let sums = database.sums(&filter(&budget, window), &[]).await?;
    let spent = sums.first().map_or(0, |sum| sum.cost_nanos);
    let spent = i64::try_from(spent).unwrap_or(i64::MAX);
    Ok(BudgetMeter::new(Arc::new(budget), zone, now, spent))
}

fn filter(budget: &Budget, window: Window) -> LedgerFilter {
    let mut filter = LedgerFilter {
        tenant: Some(budget.tenant.clone()),
        from_ms: Some(window.start_ms.max(0)),
        to_ms: window.end_ms,
        ..LedgerFilter::default()
    };
    match &budget.scope {
        BudgetScope::Tenant => {}
        BudgetScope::Team(id) => filter.team = Some(id.clone()),
        BudgetScope::User(id) => filter.user = Some(id.clone()),
        BudgetScope::Key(id) => filter.key = Some(id.clone()),
        BudgetScope::Model(name) => filter.route = Some(name.clone()),
        BudgetScope::Tag(name) => filter.tag = Some(name.clone()),
    }
    filter
}
