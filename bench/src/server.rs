//! Starts, watches and stops the server processes under test.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{Doing, Error, Result};
use crate::http1::ResponseReader;
use crate::procfs::{self, Usage};

/// How long a server may take to stop before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(8);

/// Pause between two looks at whether a server is ready: the error of the start-up time.
const READY_POLL: Duration = Duration::from_millis(1);

/// A running server process; stopped when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    name: String,
    child: Child,
    log: PathBuf,
    started: Instant,
}

impl Server {
    /// Starts the command with its output in a log file in `directory`.
    pub(crate) fn start(name: &str, directory: &Path, mut command: Command) -> Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let file = File::create(&log).doing(|| format!("creating {}", log.display()))?;
        let errors = file.try_clone().doing(|| format!("creating {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        let started = Instant::now();
        let child = command
            .spawn()
            .doing(|| format!("starting {name} ({})", command.get_program().to_string_lossy()))?;
        Ok(Self { name: name.to_owned(), child, log, started })
    }

    /// Waits until `GET path` at `address` answers 200; returns the time since the start.
    pub(crate) fn wait_ready(
        &mut self,
        address: SocketAddr,
        path: &str,
        patience: Duration,
    ) -> Result<Duration> {
        loop {
            if get_status(address, path).is_ok_and(|status| status == 200) {
                return Ok(self.started.elapsed());
            }
            let ended = self.child.try_wait().doing(|| format!("watching {}", self.name))?;
            let reason = match ended {
                Some(status) => format!("{} ended before it was ready ({status})", self.name),
                None if self.started.elapsed() > patience => {
                    format!("{} was not ready after {patience:?}", self.name)
                }
                None => {
                    thread::sleep(READY_POLL);
                    continue;
                }
            };
            return Err(Error::Setup(format!("{reason}; its last words:\n{}", self.last_words())));
        }
    }

    /// CPU time and memory of the process and its descendants.
    pub(crate) fn usage(&self) -> Result<Usage> {
        procfs::usage_of_tree(self.child.id())
            .map_err(|error| Error::Setup(format!("{}: {error}\n{}", self.name, self.last_words())))
    }

    fn last_words(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let tail = &log[log.len().saturating_sub(2_000)..];
        String::from_utf8_lossy(tail).into_owned()
    }

    fn stop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| matches!(self.child.try_wait(), Ok(None))) {
            // It may have ended by itself in this moment, which is as good.
            let _ = kill_process(pid, Signal::TERM);
        }
        let asked = Instant::now();
        while asked.elapsed() < STOP_PATIENCE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A local address nobody listens at right now.
pub(crate) fn free_address() -> Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .doing(|| "looking for a free port".to_owned())
}

/// Sends one request on a connection of its own and returns status and body.
pub(crate) fn exchange_once(address: SocketAddr, request: &[u8]) -> io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(request)?;
    let mut reader = ResponseReader::new();
    let mut body = Vec::new();
    let mut buffer = [0; 4096];
    while !reader.is_done() {
        let read = stream.read(&mut buffer)?;
        if read == 0 && !reader.end_of_input() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        reader
            .feed(&buffer[..read], |piece| body.extend_from_slice(piece))
            .map_err(io::Error::other)?;
    }
    Ok((reader.status(), body))
}

fn get_status(address: SocketAddr, path: &str) -> io::Result<u16> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    exchange_once(address, request.as_bytes()).map(|(status, _)| status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_ends_early_is_reported_with_its_last_words() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such config >&2; exit 2"]);
        let mut server = Server::start("broken", directory.path(), command).unwrap();
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let error = server.wait_ready(nowhere, "/", Duration::from_secs(20)).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("broken ended") && message.contains("no such config"),
            "{message}"
        );
    }

    #[test]
    fn a_dropped_server_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sleep");
        command.arg("600");
        let server = Server::start("sleeper", directory.path(), command).unwrap();
        let pid = server.child.id();
        assert!(server.usage().is_ok());
        drop(server);
        assert!(procfs::usage_of_tree(pid).is_err());
    }
}
