use identity::{RecordKind, Team, Tenant, User, VirtualKey};
use metering::Budget;
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::AdminError;

/// Something that is created, read, changed and deleted under a path of its own.
pub(crate) trait Resource:
    Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static
{
    const KIND: RecordKind;
    /// Last part of the path: `teams`.
    const PATH: &'static str;
    /// What ids begin with.
    const PREFIX: &'static str;
    /// Members that the server sets; a caller cannot.
    const SERVER_SET: &'static [&'static str];
    /// Members that other resources are named in, and their kinds.
    const REFERENCES: &'static [(&'static str, RecordKind)];

    fn id(&self) -> &str;
    fn tenant(&self) -> &str;
    fn name(&self) -> &str;

    /// What is wrong with it, beside its form.
    fn validate(&self) -> Result<(), AdminError> {
        named(self.name())
    }
}

fn named(name: &str) -> Result<(), AdminError> {
    if name.trim().is_empty() || name.chars().count() > 200 {
        return Err(AdminError::invalid("name", "`name` must have 1 to 200 characters"));
    }
    Ok(())
}

impl Resource for Tenant {
    const KIND: RecordKind = RecordKind::Tenant;
    const PATH: &'static str = "tenants";
    const PREFIX: &'static str = "ten";
    const SERVER_SET: &'static [&'static str] = &["id"];
    const REFERENCES: &'static [(&'static str, RecordKind)] = &[];

    fn id(&self) -> &str {
        &self.id
    }

    /// A tenant belongs to itself.
    fn tenant(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn validate(&self) -> Result<(), AdminError> {
        named(&self.name)?;
        if !metering::is_time_zone(&self.time_zone) {
            return Err(AdminError::invalid(
                "time_zone",
                "`time_zone` must be an IANA name, Europe/Moscow say",
            ));
        }
        Ok(())
    }
}

macro_rules! of_tenant {
    () => {
        fn id(&self) -> &str {
            &self.id
        }

        fn tenant(&self) -> &str {
            &self.tenant
        }

        fn name(&self) -> &str {
            &self.name
        }
    };
}

impl Resource for Team {
    const KIND: RecordKind = RecordKind::Team;
    const PATH: &'static str = "teams";
    const PREFIX: &'static str = "team";
    const SERVER_SET: &'static [&'static str] = &["id"];
    const REFERENCES: &'static [(&'static str, RecordKind)] = &[("tenant", RecordKind::Tenant)];

    of_tenant!();
}

impl Resource for User {
    const KIND: RecordKind = RecordKind::User;
    const PATH: &'static str = "users";
    const PREFIX: &'static str = "usr";
    const SERVER_SET: &'static [&'static str] = &["id"];
    const REFERENCES: &'static [(&'static str, RecordKind)] =
        &[("tenant", RecordKind::Tenant), ("team", RecordKind::Team)];

    of_tenant!();
}

impl Resource for VirtualKey {
    const KIND: RecordKind = RecordKind::Key;
    const PATH: &'static str = "keys";
    const PREFIX: &'static str = "key";
    const SERVER_SET: &'static [&'static str] = &["id", "digest", "hint", "issued_ms", "previous"];
    const REFERENCES: &'static [(&'static str, RecordKind)] =
        &[("tenant", RecordKind::Tenant), ("team", RecordKind::Team), ("user", RecordKind::User)];

    of_tenant!();
}

impl Resource for Budget {
    const KIND: RecordKind = RecordKind::Budget;
    const PATH: &'static str = "budgets";
    const PREFIX: &'static str = "bud";
    const SERVER_SET: &'static [&'static str] = &["id"];
    const REFERENCES: &'static [(&'static str, RecordKind)] = &[("tenant", RecordKind::Tenant)];

    of_tenant!();

    fn validate(&self) -> Result<(), AdminError> {
        named(&self.name)?;
        if self.amount_nanos <= 0 {
            return Err(AdminError::invalid(
                "amount_nanos",
                "`amount_nanos` must be positive: nano-roubles, 1 rouble is 1000000000",
            ));
        }
        if let Some(url) = &self.alert_url
            && !(url.starts_with("https://") || url.starts_with("http://"))
        {
            return Err(AdminError::invalid(
                "alert_url",
                "`alert_url` must be an http:// or https:// address",
            ));
        }
        Ok(())
    }
}

/// Reads a resource out of a JSON object, with the member at fault in the error.
pub(crate) fn read<R: Resource>(members: Map<String, Value>) -> Result<R, AdminError> {
    let read: R = serde_json::from_value(Value::Object(members)).map_err(|error| {
        let reason = error.to_string();
        let field = reason.split('`').nth(1).unwrap_or_default().to_owned();
        AdminError::invalid(field, reason)
    })?;
    read.validate()?;
    Ok(read)
}

/// What a caller may send to create one: the resource without what the server sets.
pub(crate) fn input_schema<R: Resource>(schema: &Schema) -> Value {
    let mut value = schema.clone().to_value();
    if let Some(properties) = value.get_mut("properties").and_then(Value::as_object_mut) {
        properties.retain(|name, _| !R::SERVER_SET.contains(&name.as_str()));
    }
    if let Some(required) = value.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| {
            name.as_str().is_some_and(|name| !R::SERVER_SET.contains(&name) && name != "tenant")
        });
    }
    value
}
