//! What a URL says.

use ::redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use ::redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates, TlsMode,
};

use super::RedisOptions;
use super::link::Source;
use crate::shared::SharedError;

const FORM: &str = "the URL must be redis://, rediss://, redis+sentinel:// or rediss+sentinel://";
const SENTINEL_FORM: &str =
    "the URL must be redis+sentinel://[user:password@]host:port,host:port/service[/db]";

pub(super) fn source(url: &str, options: &RedisOptions) -> Result<Source, SharedError> {
    let certificates = certificates(options)?;
    if let Some(rest) = url.strip_prefix("redis+sentinel://") {
        return sentinel(rest, options, None);
    }
    if let Some(rest) = url.strip_prefix("rediss+sentinel://") {
        return sentinel(rest, options, Some(certificates));
    }
    let secure = url.starts_with("rediss://");
    if !secure && !url.starts_with("redis://") {
        return Err(SharedError::Config(FORM));
    }
    let info = parse(url, FORM)?;
    let client =
        if secure { Client::build_with_tls(info, certificates) } else { Client::open(info) };
    client
        .map(|client| Source::Server(Box::new(client)))
        .map_err(|_| SharedError::Config("ca_file: not PEM certificates"))
}

// The error of the parser is not passed on: it could hold the password.
fn parse(url: &str, problem: &'static str) -> Result<ConnectionInfo, SharedError> {
    url.into_connection_info().map_err(|_| SharedError::Config(problem))
}

fn certificates(options: &RedisOptions) -> Result<TlsCertificates, SharedError> {
    let read =
        |path| std::fs::read(path).map_err(|_| SharedError::Config("ca_file: cannot be read"));
    let root_cert = options.ca_file.as_ref().map(read).transpose()?;
    Ok(TlsCertificates { client_tls: None, root_cert })
}

fn sentinel(
    rest: &str,
    options: &RedisOptions,
    certificates: Option<TlsCertificates>,
) -> Result<Source, SharedError> {
    let wrong = || SharedError::Config(SENTINEL_FORM);
    let (authority, path) = rest.split_once('/').ok_or_else(wrong)?;
    let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (service, db) = path.split_once('/').unwrap_or((path, "0"));
    let db: i64 = db.parse().map_err(|_| wrong())?;
    if service.is_empty() || db < 0 {
        return Err(wrong());
    }
    let secure = certificates.is_some();
    let nodes = hosts.split(',').map(|host| node(host, secure).ok_or_else(wrong));
    let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
    // Names and passwords are decoded as in any other URL.
    let info = parse(&format!("redis://{user}@localhost"), SENTINEL_FORM)?;
    let refused = |_| SharedError::Config("Sentinel cannot be configured; check ca_file");
    let mut builder = SentinelClientBuilder::new(nodes, service, SentinelServerType::Master)
        .map_err(refused)?
        .set_client_to_redis_db(db);
    if let Some(name) = info.redis_settings().username() {
        builder = builder.set_client_to_redis_username(name);
    }
    if let Some(password) = info.redis_settings().password() {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(name) = &options.sentinel_username {
        builder = builder.set_client_to_sentinel_username(name);
    }
    if let Some(password) = &options.sentinel_password {
        builder = builder.set_client_to_sentinel_password(password);
    }
    if let Some(certificates) = certificates {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_sentinel_tls_mode(TlsMode::Secure)
            .set_client_to_redis_certificates(certificates.clone())
            .set_client_to_sentinel_certificates(certificates);
    }
    let client = builder.build().map_err(refused)?;
    Ok(Source::Sentinel(Box::new(tokio::sync::Mutex::new(client))))
}

fn node(host: &str, secure: bool) -> Option<ConnectionAddr> {
    let (name, port) = match host.rsplit_once(':') {
        // A bare address of IPv6 ends with its bracket.
        Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()?),
        _ => (host, 26379),
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let host = name.to_owned();
    if host.is_empty() {
        return None;
    }
    Some(match secure {
        true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        false => ConnectionAddr::Tcp(host, port),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_all_forms_are_taken_and_others_refused_without_saying_the_password() {
        let options = RedisOptions::new("t");
        for url in [
            "redis://localhost",
            "redis://user:p%40ss@localhost:6380/2",
            "rediss://:pass@redis.example:6380",
            "redis+sentinel://a:26379,b,[::1]:26380/main",
            "redis+sentinel://user:p%2Fss@a:1,b:2/main/3",
            "rediss+sentinel://a:26379/main/0",
        ] {
            assert!(source(url, &options).is_ok(), "{url}");
        }
        for url in [
            "",
            "http://user:hunter2@localhost",
            "unix:///hunter2",
            "redis://user:hunter2@:x",
            "redis+sentinel://user:hunter2@a:26379",
            "redis+sentinel://user:hunter2@a:26379/",
            "redis+sentinel://user:hunter2@a:port/main",
            "redis+sentinel://user:hunter2@a:1/main/x",
            "redis+sentinel://user:hunter2@,/main",
        ] {
            let error = source(url, &options).map(|_| ()).unwrap_err();
            assert!(matches!(error, SharedError::Config(_)), "{url}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{url}");
        }
    }

    #[test]
    fn a_ca_file_must_be_there_and_be_one() {
        let mut options = RedisOptions::new("t");
        options.ca_file = Some("/nonexistent/ca.pem".into());
        assert!(source("rediss://localhost", &options).is_err());
    }
}
