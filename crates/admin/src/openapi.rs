use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use crate::error::ErrorBody;
use crate::resource::{Resource, input_schema};

/// An HTTP method that the admin API uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Patch,
    Delete,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

type MakeSchema = Box<dyn Fn(&mut SchemaGenerator) -> Value>;

/// One endpoint as the document describes it.
pub(crate) struct Endpoint {
    verb: Verb,
    path: String,
    summary: String,
    query: Option<MakeSchema>,
    body: Option<(MakeSchema, bool)>,
    answer: Option<MakeSchema>,
    created: bool,
}

fn schema_of<T: JsonSchema>() -> MakeSchema {
    Box::new(|generator| generator.subschema_for::<T>().to_value())
}

impl Endpoint {
    pub(crate) fn new(verb: Verb, path: impl Into<String>, summary: impl Into<String>) -> Self {
        Self {
            verb,
            path: path.into(),
            summary: summary.into(),
            query: None,
            body: None,
            answer: None,
            created: false,
        }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(Box::new(|generator| generator.root_schema_for::<T>().to_value()));
        self
    }

    pub(crate) fn body<T: JsonSchema>(mut self) -> Self {
        self.body = Some((schema_of::<T>(), true));
        self
    }

    pub(crate) fn optional_body<T: JsonSchema>(mut self) -> Self {
        self.body = Some((schema_of::<T>(), false));
        self
    }

    /// The body is the resource without what the server sets.
    pub(crate) fn input<R: Resource>(mut self) -> Self {
        self.body = Some((Box::new(input_of::<R>), true));
        self
    }

    /// The body is any part of what [`Endpoint::input`] takes.
    pub(crate) fn patch<R: Resource>(mut self) -> Self {
        let make = |generator: &mut SchemaGenerator| {
            let mut schema = input_of::<R>(generator);
            if let Some(schema) = schema.as_object_mut() {
                schema.remove("required");
            }
            schema
        };
        self.body = Some((Box::new(make), true));
        self
    }

    pub(crate) fn answer<T: JsonSchema>(mut self) -> Self {
        self.answer = Some(schema_of::<T>());
        self
    }

    pub(crate) fn creates<T: JsonSchema>(mut self) -> Self {
        self.created = true;
        self.answer::<T>()
    }

    fn operation(&self, generator: &mut SchemaGenerator) -> Value {
        let mut parameters = Vec::new();
        if self.path.contains("{id}") {
            parameters.push(json!({
                "name": "id", "in": "path", "required": true, "schema": {"type": "string"},
            }));
        }
        if let Some(query) = &self.query {
            let schema = query(generator);
            let members = schema["properties"].as_object().cloned().unwrap_or_default();
            parameters.extend(members.into_iter().map(|(name, schema)| {
                let description = schema["description"].clone();
                json!({"name": name, "in": "query", "description": description, "schema": schema})
            }));
        }
        if self.verb == Verb::Post {
            parameters.push(json!({
                "name": "Idempotency-Key", "in": "header", "schema": {"type": "string"},
                "description": "The same key with the same body gives the same answer again.",
            }));
        }
        if matches!(self.verb, Verb::Patch | Verb::Delete) {
            parameters.push(json!({
                "name": "If-Match", "in": "header", "schema": {"type": "string"},
                "description": "The ETag that was read; 412 if it was changed since.",
            }));
        }
        let error = generator.subschema_for::<ErrorBody>().to_value();
        let mut responses = Map::new();
        let (status, description) = match (&self.answer, self.created) {
            (None, _) => ("204", "Done"),
            (_, true) => ("201", "Created"),
            _ => ("200", "Done"),
        };
        let mut success = json!({"description": description});
        if let Some(answer) = &self.answer {
            success["content"] = json!({"application/json": {"schema": answer(generator)}});
        }
        responses.insert(status.to_owned(), success);
        responses.insert(
            "default".to_owned(),
            json!({
                "description": "Refused or failed",
                "content": {"application/json": {"schema": error}},
            }),
        );
        let mut operation = json!({
            "operationId": self.id(),
            "summary": self.summary,
            "parameters": parameters,
            "responses": responses,
        });
        if let Some((body, required)) = &self.body {
            operation["requestBody"] = json!({
                "required": required,
                "content": {"application/json": {"schema": body(generator)}},
            });
        }
        operation
    }

    fn id(&self) -> String {
        let path = self.path.trim_start_matches('/').replace("/{id}", "_one").replace('/', "_");
        format!("{}_{path}", self.verb.name())
    }
}

fn input_of<R: Resource>(generator: &mut SchemaGenerator) -> Value {
    let root: Schema = generator.root_schema_for::<R>();
    let mut schema = input_schema::<R>(&root);
    if let Some(schema) = schema.as_object_mut() {
        // What it refers to stands among the document's components.
        schema.remove("$defs");
        schema.remove("$schema");
        schema.remove("components");
    }
    _ = generator.subschema_for::<R>();
    schema
}

pub(crate) fn document<'e>(endpoints: impl Iterator<Item = &'e Endpoint>) -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in endpoints {
        let path = format!("/admin/v1{}", endpoint.path);
        let operation = endpoint.operation(&mut generator);
        let operations = paths.entry(path).or_insert_with(|| json!({}));
        operations[endpoint.verb.name()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "llm-proxy admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Tenants, teams, users, virtual keys, budgets, usage.",
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}],
    })
}
