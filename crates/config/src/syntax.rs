//! What single texts must look like.

use http::Uri;

/// Whether a text is an address of HTTP with a host, a port that can exist, and no user.
pub(crate) fn is_url(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let Some(authority) = uri.authority() else { return false };
    matches!(uri.scheme_str(), Some("http" | "https"))
        && !authority.host().is_empty()
        && !authority.as_str().contains('@')
        && match authority.as_str().strip_prefix(authority.host()) {
            Some("") => true,
            _ => authority.port_u16().is_some_and(|port| port != 0),
        }
}

/// Whether a text is an address of an HTTP proxy: with a port, and with or without a user.
pub(crate) fn is_proxy(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("http://") else { return false };
    // The rest must be sound without the user, and the whole with it.
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    let place = place.strip_suffix('/').unwrap_or(place);
    let sound = |uri: Uri| {
        uri.path() == "/"
            && uri.query().is_none()
            && uri.authority().is_some_and(|authority| authority.port().is_some())
    };
    is_url(&format!("http://{place}")) && !place.contains('#') && text.parse().is_ok_and(sound)
}

/// Whether a text is a host alone, as it stands in a URL: a name, or an IP address, that of
/// version 6 in brackets.
pub(crate) fn is_host(text: &str) -> bool {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(address) = bracketed {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

/// Whether a text can be a name in headers and logs: something is in it, and nothing that is not
/// seen, such as a line end.
pub(crate) fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_need_a_scheme_a_host_and_a_port_that_can_exist() {
        for sound in [
            "http://v",
            "https://v:8443/v1",
            "http://[::1]:8000/v1",
            "http://10.0.0.1",
            "http://v?a=b",
        ] {
            assert!(is_url(sound), "{sound}");
        }
        for wrong in [
            "",
            "v:80",
            "/v1",
            "ftp://v",
            "http://",
            "http://:80/v1",
            "http://v:/v1",
            "http://v:0",
            "http://v:99999",
            "http://user:word@v",
            "http://v w",
            "http://хост",
        ] {
            assert!(!is_url(wrong), "{wrong}");
        }
    }

    #[test]
    fn proxies_have_a_port_and_may_have_a_user() {
        for sound in [
            "http://proxy:3128",
            "http://10.0.0.1:80/",
            "http://[::1]:8080",
            "http://user:a%40b@proxy:3128",
            "http://user@proxy:3128",
        ] {
            assert!(is_proxy(sound), "{sound}");
        }
        for wrong in [
            "",
            "proxy:3128",
            "http://proxy",
            "http://user:word@proxy",
            "http://user:word@:3128",
            "http://proxy:0",
            "http://proxy:99999",
            "https://proxy:3128",
            "socks5://proxy:3128",
            "http://proxy:3128/path",
            "http://proxy:3128?q",
            "http://proxy:3128#f",
            "http://us er:word@proxy:3128",
        ] {
            assert!(!is_proxy(wrong), "{wrong}");
        }
    }

    #[test]
    fn hosts_stand_alone() {
        for sound in ["minio", "files.example.org", "10.0.0.1", "[::1]", "xn--e1aybc.xn--p1ai"] {
            assert!(is_host(sound), "{sound}");
        }
        for wrong in [
            "",
            "http://minio",
            "minio:9000",
            "minio/bucket",
            "*.example.org",
            "хост",
            "::1",
            "[v]",
        ] {
            assert!(!is_host(wrong), "{wrong}");
        }
    }

    #[test]
    fn names_can_be_seen() {
        assert!(is_name("чат 😀"));
        for wrong in ["", " \t", "a\nb", "a\u{7f}"] {
            assert!(!is_name(wrong), "{wrong:?}");
        }
    }
}
