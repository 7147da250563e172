//! The control: nginx as a plain reverse proxy with kept-alive upstream connections.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Kind, Places, Providers, System};
use crate::error::{Doing, Result};
use crate::server::{Server, free_address};

pub(super) fn version() -> Option<String> {
    let output = Command::new(program()).arg("-v").output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.trim().rsplit('/').next().map(str::to_owned)
}

/// Debian keeps it out of the path of users who are not root.
fn program() -> &'static str {
    const DEBIAN: &str = "/usr/sbin/nginx";
    if Path::new(DEBIAN).is_file() { DEBIAN } else { "nginx" }
}

pub(super) fn start(places: &Places, providers: &Providers) -> Result<System> {
    let address = free_address()?;
    let stream_address = free_address()?;
    let fixed_address = free_address()?;
    let directory = places.scratch.join("nginx");
    fs::create_dir_all(&directory).doing(|| format!("creating {}", directory.display()))?;
    let config = directory.join("nginx.conf");
    let text = configuration(
        &directory,
        [address, stream_address, fixed_address],
        [providers.address(), providers.fixed_address()],
    );
    fs::write(&config, text).doing(|| format!("writing {}", config.display()))?;
    let mut command = Command::new(program());
    command.arg("-c").arg(&config).arg("-p").arg(&directory).args(["-e", "stderr"]);
    let mut server = Server::start("nginx", &places.scratch, command)?;
    let ready_in = server.wait_ready(address, "/_sim/healthz", Duration::from_secs(20))?;
    Ok(System {
        kind: Kind::Nginx,
        version: version().unwrap_or_default(),
        server: Some(server),
        ready_in,
        address,
        stream_address,
        fixed_address,
        routes: providers.routes(),
    })
}

fn configuration(
    directory: &Path,
    [address, stream_address, fixed_address]: [SocketAddr; 3],
    [simulator, fixed]: [SocketAddr; 2],
) -> String {
    let directory = directory.display();
    format!(
        r#"daemon off;
worker_processes 2;
worker_rlimit_nofile 16384;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    client_max_body_size 64m;
    client_body_buffer_size 2m;
    keepalive_requests 100000000;
    upstream simulator {{
        server {simulator};
        keepalive 256;
        keepalive_requests 100000000;
    }}
    upstream fixed {{
        server {fixed};
        keepalive 256;
        keepalive_requests 100000000;
    }}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    server {{
        listen {address};
        location / {{ proxy_pass http://simulator; }}
    }}
    server {{
        listen {stream_address};
        location / {{ proxy_pass http://simulator; proxy_buffering off; }}
    }}
    server {{
        listen {fixed_address};
        location / {{ proxy_pass http://fixed; }}
    }}
}}
"#
    )
}
