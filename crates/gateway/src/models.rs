//! `GET /v1/models` and `/v1/models/{id}`: the routes that a key may use.

use std::sync::Arc;

use chat::{ApiError, ErrorKind};
use dialects::json::JsonWriter;
use http::{HeaderMap, Response};

use crate::exchange::Exchange;
use crate::reply::{self, ReplyBody};
use crate::snapshot::Route;
use crate::surface::Vendor;
use crate::{answer_headers, pipeline};

/// Answers with all models, or with the one that `asked` names (percent-encoded).
pub(crate) async fn answer(
    mut exchange: Box<Exchange>,
    headers: &HeaderMap,
    asked: Option<&str>,
) -> Response<ReplyBody> {
    let identified = pipeline::identify(&mut exchange, headers).await;
    let found = identified.and_then(|()| find(&exchange, asked));
    let routes = match found {
        Ok(routes) => routes,
        Err(error) => return pipeline::refuse(exchange, &error),
    };
    let (vendor, created) = (exchange.vendor, exchange.snapshot.created);
    let mut body = Vec::new();
    let mut json = JsonWriter::new(&mut body);
    match (asked, routes.first()) {
        (Some(_), Some(route)) => {
            write_model(&mut json, vendor, route, created);
            exchange.route = Some(Arc::clone(route));
        }
        _ => write_list(&mut json, vendor, &routes, created),
    }
    exchange.finish(200);
    let mut response = reply::json(200, body);
    answer_headers::describe(&mut response, &mut exchange);
    response
}

/// The routes that the caller may use; with `asked`, the one of that name.
fn find(exchange: &Exchange, asked: Option<&str>) -> Result<Vec<Arc<Route>>, ApiError> {
    let may_call =
        |name: &str| exchange.principal.as_ref().is_some_and(|principal| principal.may_call(name));
    let usable = exchange.snapshot.routes.values().filter(|route| may_call(&route.name));
    let Some(asked) = asked else { return Ok(usable.cloned().collect()) };
    let name = percent_decoded(asked);
    let found: Vec<_> = usable.filter(|route| route.name == name).cloned().collect();
    if found.is_empty() {
        let shown: String = name.chars().take(100).collect();
        return Err(ApiError::new(
            ErrorKind::NotFound,
            format!("the model `{shown}` does not exist for this key; GET /v1/models lists them"),
        )
        .with_code("model_not_found")
        .with_param("model"));
    }
    Ok(found)
}

fn write_list(json: &mut JsonWriter<'_>, vendor: Vendor, routes: &[Arc<Route>], created: u64) {
    json.begin_object();
    if vendor == Vendor::OpenAi {
        json.field("object", "list");
    }
    json.key("data").begin_array();
    for route in routes {
        write_model(json, vendor, route, created);
    }
    json.end_array();
    if vendor == Vendor::Anthropic {
        let name = |route: Option<&Arc<Route>>| route.map(|route| route.name.clone());
        json.key("has_more").boolean(false);
        for (key, id) in [("first_id", name(routes.first())), ("last_id", name(routes.last()))] {
            match id {
                Some(id) => json.field(key, &id),
                None => json.key(key).null(),
            };
        }
    }
    json.end_object();
}

fn write_model(json: &mut JsonWriter<'_>, vendor: Vendor, route: &Route, created: u64) {
    json.begin_object();
    match vendor {
        Vendor::OpenAi => json
            .field("id", &route.name)
            .field("object", "model")
            .key("created")
            .integer(created)
            .field("owned_by", "llm-proxy"),
        Vendor::Anthropic => json
            .field("type", "model")
            .field("id", &route.name)
            .field("display_name", &route.name)
            .field("created_at", &rfc3339(created)),
    };
    json.end_object();
}

/// A moment, seconds since 1970, as RFC 3339 in UTC (civil-from-days after Howard Hinnant).
fn rfc3339(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let Some(byte) = hex {
            decoded.push(byte);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_moments_are_written_as_the_apis_do() {
        assert_eq!(percent_decoded("qwen%2F3%D1%8F%2"), "qwen/3я%2");
        assert_eq!(rfc3339(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(rfc3339(1_795_436_400), "2026-11-23T12:20:00Z");
    }
}
