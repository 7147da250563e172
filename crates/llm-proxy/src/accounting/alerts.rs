use std::time::Duration;

use metering::BudgetAlert;
use serde_json::json;
use tokio::sync::mpsc;

/// How often a webhook is tried.
const TRIES: u32 = 3;
const TIMEOUT: Duration = Duration::from_secs(5);

/// Tells of shares of budgets that were passed: in the log, and where the budget says.
pub(super) async fn run(mut alerts: mpsc::UnboundedReceiver<BudgetAlert>) {
    while let Some(alert) = alerts.recv().await {
        tracing::warn!(
            event = "budget_alert",
            budget = alert.budget.id,
            tenant = alert.budget.tenant,
            percent = alert.percent,
            "{alert}"
        );
        if alert.budget.alert_url.is_some() {
            tokio::spawn(post(alert));
        }
    }
}

async fn post(alert: BudgetAlert) {
    let body = json!({
        "event": "budget_alert",
        "budget": alert.budget.id,
        "name": alert.budget.name,
        "tenant": alert.budget.tenant,
        "scope": alert.budget.scope,
        "period": alert.budget.period,
        "percent": alert.percent,
        "spent_nanos": alert.spent_nanos,
        "amount_nanos": alert.budget.amount_nanos,
        "text": alert.to_string(),
    });
    let url = alert.budget.alert_url.clone().unwrap_or_default();
    for attempt in 1..=TRIES {
        let (url, body) = (url.clone(), body.clone());
        let posted = tokio::task::spawn_blocking(move || {
            let agent = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).build();
            ureq::Agent::new_with_config(agent).post(&url).send_json(&body).map(|_| ())
        });
        match posted.await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                // The address may hold a token: it is not shown.
                let reason = match error {
                    ureq::Error::StatusCode(status) => format!("status {status}"),
                    _ => "it cannot be reached".to_owned(),
                };
                tracing::warn!(
                    event = "alert_not_delivered",
                    budget = alert.budget.id,
                    attempt,
                    reason,
                    "the webhook did not take an alert"
                );
            }
            Err(_) => return,
        }
        tokio::time::sleep(Duration::from_secs(u64::from(attempt))).await;
    }
}
