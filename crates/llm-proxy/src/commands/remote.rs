//! Commands that work through the admin API of a running llm-proxy.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{Failure, print};

/// Where the admin API is, and who asks.
#[derive(Args)]
pub(super) struct Remote {
    /// The admin API
    #[arg(
        long,
        env = "LLM_PROXY_ADMIN_URL",
        default_value = "http://127.0.0.1:8081",
        global = true
    )]
    admin_url: String,
    /// A key for it
    #[arg(
        long,
        env = "LLM_PROXY_ADMIN_KEY",
        default_value = "",
        hide_env_values = true,
        global = true
    )]
    admin_key: String,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

/// What is done with resources of a kind.
#[derive(Subcommand)]
pub(super) enum Action {
    /// List them
    List {
        /// Only of this tenant
        #[arg(long)]
        tenant: Option<String>,
        /// Only of this team
        #[arg(long)]
        team: Option<String>,
        /// Only of this name
        #[arg(long)]
        name: Option<String>,
    },
    /// Show one
    Get {
        /// Its id
        id: String,
    },
    /// Create one
    Create {
        /// Its members, NAME=VALUE; VALUE is JSON or a text: name=web policy='{"models":["chat"]}'
        #[arg(required = true)]
        members: Vec<String>,
    },
    /// Change one
    Update {
        /// Its id
        id: String,
        /// The members to change, NAME=VALUE; null takes one away
        #[arg(required = true)]
        members: Vec<String>,
    },
    /// Delete one
    Delete {
        /// Its id
        id: String,
    },
    /// Keys: a new secret; the old one stays good for a while
    Rotate {
        /// The key's id
        id: String,
        /// Seconds for which the old secret stays good
        #[arg(long)]
        overlap_s: Option<u64>,
    },
    /// Keys: refuse it from now on
    Block {
        /// The key's id
        id: String,
    },
    /// Keys: take it again
    Unblock {
        /// The key's id
        id: String,
    },
    /// Budgets: how it stands
    Status {
        /// The budget's id
        id: String,
    },
}

/// What `prices` does.
#[derive(Subcommand)]
pub(super) enum PriceAction {
    /// List what deployments cost now
    List,
}

impl Remote {
    /// Does `action` to resources below `path`.
    pub(super) fn run(&self, path: &str, action: Action) -> Result<(), Failure> {
        let one = |id: &str| format!("{path}/{}", encoded(id));
        let answer = match action {
            Action::List { tenant, team, name } => {
                return self.list(path, &[("tenant", tenant), ("team", team), ("name", name)]);
            }
            Action::Get { id } => self.call("GET", &one(&id), None)?,
            Action::Create { members } => self.call("POST", path, Some(object(&members)?))?,
            Action::Update { id, members } => {
                self.call("PATCH", &one(&id), Some(object(&members)?))?
            }
            Action::Delete { id } => self.call("DELETE", &one(&id), None)?,
            Action::Rotate { id, overlap_s } => {
                let body = overlap_s.map_or(json!({}), |s| json!({"overlap_s": s}));
                self.call("POST", &format!("{}/rotate", one(&id)), Some(body))?
            }
            Action::Block { id } => self.call("POST", &format!("{}/block", one(&id)), None)?,
            Action::Unblock { id } => self.call("POST", &format!("{}/unblock", one(&id)), None)?,
            Action::Status { id } => self.call("GET", &format!("{}/status", one(&id)), None)?,
        };
        if !answer.is_null() {
            print(&self.shown(&answer));
        }
        Ok(())
    }

    /// Lists what deployments cost.
    pub(super) fn prices(&self, action: &PriceAction) -> Result<(), Failure> {
        match action {
            PriceAction::List => self.list("prices", &[]),
        }
    }

    fn list(&self, path: &str, filters: &[(&str, Option<String>)]) -> Result<(), Failure> {
        let mut rows = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut query: Vec<String> = vec!["limit=1000".to_owned()];
            let given = filters.iter().filter_map(|(name, value)| Some((*name, value.clone()?)));
            for (name, value) in given.chain(after.iter().map(|after| ("after", after.clone()))) {
                query.push(format!("{name}={}", encoded(&value)));
            }
            let page = self.call("GET", &format!("{path}?{}", query.join("&")), None)?;
            rows.extend(page["data"].as_array().cloned().unwrap_or_default());
            match page["next"].as_str() {
                Some(next) => after = Some(next.to_owned()),
                None => break,
            }
        }
        if self.json {
            print(&format!("{}\n", Value::Array(rows)));
        } else {
            print(&table(&rows));
        }
        Ok(())
    }

    fn shown(&self, answer: &Value) -> String {
        if self.json {
            return format!("{answer}\n");
        }
        let pretty = serde_json::to_string_pretty(answer).unwrap_or_default();
        let note = if answer.get("key").is_some() {
            "\nThe key is shown only this once; keep it.\n"
        } else {
            "\n"
        };
        format!("{pretty}{note}")
    }

    /// Calls the admin API.
    pub(super) fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Failure> {
        if self.admin_key.is_empty() {
            return Err(Failure::Usage(
                "no key for the admin API; set LLM_PROXY_ADMIN_KEY or give --admin-key".to_owned(),
            ));
        }
        call(&self.admin_url, &self.admin_key, method, path, body).map_err(Failure::Failed)
    }
}

/// Calls the admin API at `base`. The error is for people.
pub(super) fn call(
    base: &str,
    key: &str,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> Result<Value, String> {
    let url = format!("{}/admin/v1/{path}", base.trim_end_matches('/'));
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .timeout_global(Some(std::time::Duration::from_secs(30)));
    let agent = ureq::Agent::new_with_config(config.build());
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let request = ureq::http::Request::builder()
        .method(method)
        .uri(&url)
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", "application/json")
        .body(body)
        .map_err(|error| format!("{url}: {error}"))?;
    let mut answer = agent
        .run(request)
        .map_err(|error| format!("the admin API at {base} does not answer: {error}"))?;
    let text = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
    let parsed: Value = serde_json::from_str(&text).unwrap_or_default();
    if answer.status().is_success() {
        return Ok(parsed);
    }
    match parsed["error"]["message"].as_str() {
        Some(message) => Err(message.to_owned()),
        None => Err(format!("the admin API at {base} answered {}", answer.status())),
    }
}

fn object(members: &[String]) -> Result<Value, Failure> {
    let mut object = Map::new();
    for member in members {
        let (name, value) = member.split_once('=').ok_or_else(|| {
            Failure::Usage(format!("`{member}` is no member; write NAME=VALUE, such as name=web"))
        })?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        object.insert(name.to_owned(), value);
    }
    Ok(Value::Object(object))
}

/// Percent-encodes what stands in a path or a query (RFC 3986).
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Rows as a table: the columns of the first row that are short.
pub(super) fn table(rows: &[Value]) -> String {
    let Some(Value::Object(first)) = rows.first() else { return "nothing\n".to_owned() };
    let columns: Vec<&String> =
        first.iter().filter(|(_, value)| !value.is_object()).map(|(name, _)| name).collect();
    let cell = |row: &Value, column: &str| match &row[column] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut lines: Vec<Vec<String>> = vec![columns.iter().map(|name| (*name).clone()).collect()];
    lines.extend(rows.iter().map(|row| columns.iter().map(|column| cell(row, column)).collect()));
    let widths: Vec<usize> = (0..columns.len())
        .map(|column| {
            let width =
                |line: &Vec<String>| line.get(column).map_or(0, |cell| cell.chars().count());
            lines.iter().map(width).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for line in &lines {
        for (cell, width) in line.iter().zip(&widths) {
            _ = write!(text, "{cell:width$}  ");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_json_or_text() {
        let read = object(&[
            "name=веб".to_owned(),
            "blocked=true".to_owned(),
            r#"policy={"models":["chat"]}"#.to_owned(),
        ]);
        let Ok(read) = read else { panic!("must be read") };
        assert_eq!(read, json!({"name": "веб", "blocked": true, "policy": {"models": ["chat"]}}));
        assert!(object(&["name".to_owned()]).is_err());
    }

    #[test]
    fn tables_are_aligned() {
        let rows = [json!({"id": "ten_1", "name": "Ромашка"}), json!({"id": "t", "name": "б"})];
        assert_eq!(table(&rows), "id     name\nten_1  Ромашка\nt      б\n");
    }
}
