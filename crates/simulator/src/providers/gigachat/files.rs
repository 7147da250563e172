//! The file store: upload, look up, list, delete, download.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::draw::{Draw, stable_hash};
use crate::exchange::Exchange;
use crate::providers::Provider;
use crate::world::UploadedFile;

use super::error::ApiError;

/// Largest picture, bytes.
const MAX_IMAGE: usize = 15 * 1024 * 1024;

/// Largest file of any kind, bytes.
const MAX_FILE: usize = 40 * 1024 * 1024;

/// The smallest JPEG a viewer opens stands for every stored file's content.
const CONTENT: &[u8] =
    b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00\xff\xd9";

/// Answers below `/files`; `rest` is the path after it.
///
/// # Errors
/// 404 for a file that is not there, 400 and 413 for an upload that cannot be taken.
pub(crate) fn handle(exchange: &Exchange, rest: &str) -> Result<Answer, ApiError> {
    let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
    match (exchange.method(), parts.as_slice()) {
        (&Method::POST, []) => upload(exchange),
        (&Method::GET, []) => Ok(list(exchange)),
        (&Method::GET, [id]) => {
            let file = find(exchange, id)?;
            Ok(Answer::json(200, describe(id, &file).to_string()))
        }
        (&Method::GET, [id, "content"]) => {
            find(exchange, id)?;
            Ok(Answer::bytes(200, "application/jpg", CONTENT))
        }
        (&Method::POST, [id, "delete"]) => {
            find(exchange, id)?;
            exchange.world.files.lock().remove(*id);
            Ok(Answer::json(200, json!({"id": id, "object": "file", "deleted": true}).to_string()))
        }
        _ => Err(ApiError::of_status(404)),
    }
}

/// The file with `id`.
///
/// # Errors
/// 404 when there is none.
pub(crate) fn find(exchange: &Exchange, id: &str) -> Result<UploadedFile, ApiError> {
    let files = exchange.world.files.lock();
    files
        .get(id)
        .filter(|file| file.provider == Provider::GigaChat)
        .cloned()
        .ok_or_else(|| ApiError::not_found("file"))
}

fn describe(id: &str, file: &UploadedFile) -> Value {
    json!({
        "id": id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": file.created_at,
        "filename": file.filename,
        "purpose": file.purpose,
        "access_policy": "private",
    })
}

fn list(exchange: &Exchange) -> Answer {
    let files = exchange.world.files.lock();
    let mut data: Vec<Value> = files
        .iter()
        .filter(|(_, file)| file.provider == Provider::GigaChat)
        .map(|(id, file)| describe(id, file))
        .collect();
    data.sort_by(|a, b| a["id"].as_str().cmp(&b["id"].as_str()));
    Answer::json(200, json!({"data": data}).to_string())
}

fn upload(exchange: &Exchange) -> Result<Answer, ApiError> {
    let parts = exchange
        .header("content-type")
        .and_then(boundary)
        .and_then(|boundary| parse_form(exchange.body(), boundary))
        .ok_or_else(|| ApiError::bad_request("Invalid multipart form"))?;
    let purpose = parts
        .iter()
        .find(|part| part.name == "purpose")
        .map(|part| String::from_utf8_lossy(part.body).into_owned())
        .unwrap_or_default();
    if !matches!(purpose.as_str(), "general" | "assistant") {
        return Err(ApiError::bad_request("Invalid purpose"));
    }
    let file = parts
        .iter()
        .find(|part| part.name == "file")
        .ok_or_else(|| ApiError::bad_request("File is required"))?;
    let content_type = file.content_type.unwrap_or("application/octet-stream");
    if !supported(content_type) {
        return Err(ApiError::bad_request(format!("File type {content_type} is not supported")));
    }
    let most = if content_type.starts_with("image/") { MAX_IMAGE } else { MAX_FILE };
    if file.body.len() > most {
        return Err(ApiError::of_status(StatusCode::PAYLOAD_TOO_LARGE.as_u16()));
    }
    let id = Draw::new(exchange.world.seed)
        .branch(stable_hash(b"file"))
        .branch(stable_hash(file.body))
        .branch(exchange.record.ordinal)
        .uuid();
    let stored = UploadedFile {
        provider: Provider::GigaChat,
        filename: file.filename.unwrap_or("file").to_owned(),
        content_type: content_type.to_owned(),
        bytes: file.body.len(),
        purpose,
        created_at: exchange.world.now(),
    };
    let body = describe(&id, &stored).to_string();
    exchange.world.files.lock().insert(id, stored);
    Ok(Answer::json(200, body))
}

fn supported(content_type: &str) -> bool {
    matches!(
        content_type,
        "image/jpeg"
            | "image/png"
            | "image/tiff"
            | "image/bmp"
            | "text/plain"
            | "application/pdf"
            | "application/msword"
            | "application/epub"
            | "application/epub+zip"
    ) || content_type.starts_with("application/vnd.openxmlformats-officedocument")
        || content_type.starts_with("application/ppt")
        || content_type.starts_with("audio/")
}

/// One part of a form.
struct Part<'a> {
    name: &'a str,
    filename: Option<&'a str>,
    content_type: Option<&'a str>,
    body: &'a [u8],
}

fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    parameters
        .split(';')
        .find_map(|parameter| parameter.trim().strip_prefix("boundary="))
        .map(|value| value.trim_matches('"'))
        .filter(|value| !value.is_empty())
}

fn parse_form<'a>(body: &'a [u8], boundary: &str) -> Option<Vec<Part<'a>>> {
    let delimiter = format!("--{boundary}");
    let mut parts = Vec::new();
    let start = memchr::memmem::find(body, delimiter.as_bytes())?;
    let mut rest = &body[start + delimiter.len()..];
    let next = memchr::memmem::Finder::new(&delimiter);
    while !rest.starts_with(b"--") {
        rest = rest.strip_prefix(b"\r\n")?;
        let end = next.find(rest)?;
        let part = rest[..end].strip_suffix(b"\r\n")?;
        rest = &rest[end + delimiter.len()..];
        let split = memchr::memmem::find(part, b"\r\n\r\n")?;
        let head = std::str::from_utf8(&part[..split]).ok()?;
        parts.push(read_part(head, &part[split + 4..])?);
    }
    Some(parts)
}

fn read_part<'a>(head: &'a str, body: &'a [u8]) -> Option<Part<'a>> {
    let (mut name, mut filename, mut content_type) = (None, None, None);
    for line in head.split("\r\n") {
        let (header, value) = line.split_once(':')?;
        if header.eq_ignore_ascii_case("content-type") {
            content_type = Some(value.trim());
        }
        if header.eq_ignore_ascii_case("content-disposition") {
            for parameter in value.split(';').map(str::trim) {
                if let Some(quoted) = parameter.strip_prefix("name=") {
                    name = Some(quoted.trim_matches('"'));
                }
                if let Some(quoted) = parameter.strip_prefix("filename=") {
                    filename = Some(quoted.trim_matches('"'));
                }
            }
        }
    }
    Some(Part { name: name?, filename, content_type, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_taken_apart() {
        let body = "--xx\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\ngeneral\r\n\
            --xx\r\nContent-Disposition: form-data; name=\"file\"; filename=\"кот.jpg\"\r\n\
            Content-Type: image/jpeg\r\n\r\n\u{1}\r\n--x\r\n--xx--\r\n";
        let parts = parse_form(body.as_bytes(), "xx").expect("well-formed");
        assert_eq!((parts[0].name, parts[0].body), ("purpose", &b"general"[..]));
        assert_eq!(parts[1].filename, Some("кот.jpg"));
        assert_eq!(parts[1].content_type, Some("image/jpeg"));
        assert_eq!(parts[1].body, b"\x01\r\n--x");
        assert!(parse_form(b"--xx\r\nno end", "xx").is_none());
        assert!(parse_form(b"", "xx").is_none());
    }

    #[test]
    fn boundaries_are_found() {
        assert_eq!(boundary("multipart/form-data; boundary=\"a b\""), Some("a b"));
        assert_eq!(boundary("multipart/form-data; charset=x; boundary=ab"), Some("ab"));
        assert_eq!(boundary("application/json"), None);
    }
}
