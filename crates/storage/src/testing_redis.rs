//! Starts Redis and Sentinel for tests, on free ports and in directories of their own.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A server that ends when it is dropped.
pub struct RedisServer {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl RedisServer {
    /// A plain server.
    ///
    /// # Errors
    ///
    /// `redis-server` is not installed or does not start; the text says what it said.
    pub fn start() -> io::Result<Self> {
        Self::start_with("", Listen::Plain)
    }

    /// A server with these lines in its configuration, which says nothing about ports.
    ///
    /// # Errors
    ///
    /// As [`RedisServer::start`].
    pub fn start_with(lines: &str, listen: Listen) -> io::Result<Self> {
        let config = |port: u16| {
            let ports = match listen {
                Listen::Plain => format!("port {port}"),
                Listen::Tls => format!("port 0\ntls-port {port}"),
            };
            format!("{ports}\nbind 127.0.0.1\nsave \"\"\nappendonly no\n{lines}\n")
        };
        start("redis-server", &config, "Ready to accept connections")
    }

    /// A server on a port where one was before.
    ///
    /// # Errors
    ///
    /// As [`RedisServer::start`].
    pub fn start_on(port: u16) -> io::Result<Self> {
        let config = format!("port {port}\nbind 127.0.0.1\nsave \"\"\nappendonly no\n");
        start_once("redis-server", port, &config, "Ready to accept connections")
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `redis://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Kills it and waits until it is gone.
    pub fn kill(&mut self) {
        // One that is gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a server listens for.
#[derive(Debug, Clone, Copy)]
pub enum Listen {
    /// Without TLS.
    Plain,
    /// Only with TLS.
    Tls,
}

/// A master, two replicas and three Sentinels that watch them, as service `main`.
pub struct SentinelCluster {
    /// The master first.
    pub servers: Vec<RedisServer>,
    /// The Sentinels.
    pub sentinels: Vec<RedisServer>,
}

impl SentinelCluster {
    /// Starts all, and waits until each Sentinel knows the others and the replicas.
    ///
    /// # Errors
    ///
    /// `redis-server` or `redis-sentinel` is not installed or does not start.
    pub fn start() -> io::Result<Self> {
        let master = RedisServer::start()?;
        let port = master.port();
        let mut servers = vec![master];
        for _ in 0..2 {
            let lines = format!("replicaof 127.0.0.1 {port}\nrepl-diskless-sync-delay 0");
            servers.push(RedisServer::start_with(&lines, Listen::Plain)?);
        }
        let config = |own: u16| {
            format!(
                "port {own}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {port} 2\n\
                 sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n"
            )
        };
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(start("redis-sentinel", &config, "+monitor master main")?);
        }
        let cluster = Self { servers, sentinels };
        for sentinel in &cluster.sentinels {
            while !knows_all(sentinel.port())? {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        }
        Ok(cluster)
    }

    /// `redis+sentinel://...` with all three.
    pub fn url(&self) -> String {
        let mut url = String::from("redis+sentinel://");
        for (index, sentinel) in self.sentinels.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            // Writing to a string does not fail.
            let _ = write!(url, "{comma}127.0.0.1:{}", sentinel.port());
        }
        url + "/main"
    }
}

fn knows_all(port: u16) -> io::Result<bool> {
    let known = || -> ::redis::RedisResult<std::collections::HashMap<String, String>> {
        let client = ::redis::Client::open(format!("redis://127.0.0.1:{port}"))?;
        ::redis::cmd("SENTINEL").arg("MASTER").arg("main").query(&mut client.get_connection()?)
    };
    let known = known().map_err(io::Error::other)?;
    let is = |name: &str, value: &str| known.get(name).is_some_and(|there| there == value);
    Ok(is("num-other-sentinels", "2") && is("num-slaves", "2"))
}

fn start(program: &str, config: &dyn Fn(u16) -> String, ready: &str) -> io::Result<RedisServer> {
    let mut last = io::Error::other("not tried");
    // Somebody else may take the port before the server does.
    for _ in 0..5 {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        match start_once(program, port, &config(port), ready) {
            Ok(server) => return Ok(server),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn start_once(program: &str, port: u16, config: &str, ready: &str) -> io::Result<RedisServer> {
    let dir = TempDir::new()?;
    let path = dir.path().join("redis.conf");
    let place = dir.path().display();
    std::fs::write(&path, format!("{config}\ndir {place}\ndaemonize no\nlogfile \"\"\n"))?;
    let mut child = Command::new(program)
        .arg(&path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let output = child.stdout.take();
    let mut server = RedisServer { child, port, dir };
    let Some(output) = output else { return Err(io::Error::other("no output")) };
    let mut output = BufReader::new(output);
    let mut said = String::new();
    loop {
        let from = said.len();
        if output.read_line(&mut said)? == 0 {
            server.kill();
            return Err(io::Error::other(format!("{program} did not start: {said}")));
        }
        if said.get(from..).is_some_and(|line| line.contains(ready)) {
            break;
        }
    }
    // What it says later is read too: a full pipe would stop it.
    std::thread::spawn(move || {
        let _ = io::copy(&mut output.by_ref(), &mut io::sink());
    });
    Ok(server)
}
