//! Starts PostgreSQL for tests, on a free port and in a directory of its own.

use std::io::{self, BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The superuser of the servers, and its password: they are asked for as in production.
const USER: &str = "llm_proxy";
const PASSWORD: &str = "only-for-tests";

/// Where Debian puts the programs of each version; they are not in `PATH` there.
const DEBIAN: &str = "/usr/lib/postgresql";

/// A server that ends when it is dropped.
pub struct PostgresServer {
    child: Option<Child>,
    programs: PathBuf,
    port: u16,
    dir: TempDir,
}

impl PostgresServer {
    /// An empty server. It sorts texts as English does, not by bytes: who needs the order of bytes
    /// must ask for it. If this process is root, it runs as the user `postgres`.
    ///
    /// # Errors
    ///
    /// PostgreSQL (15 or newer) is not installed or does not start; the text says what it said.
    pub fn start() -> io::Result<Self> {
        let programs = find_programs()?;
        let dir = TempDir::new()?;
        let mut server = Self { child: None, programs, port: 0, dir };
        server.initialize()?;
        let mut last = io::Error::other("not tried");
        // Somebody else may take the port before the server does.
        for _ in 0..5 {
            server.port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            match server.start_again() {
                Ok(()) => return Ok(server),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Starts it where it was before [`PostgresServer::stop`], with the data it had.
    ///
    /// # Errors
    ///
    /// As [`PostgresServer::start`].
    pub fn start_again(&mut self) -> io::Result<()> {
        self.stop();
        let mut command = self.command("postgres")?;
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "shared_buffers=16MB",
            // The machine does not lose power in a test; a server that is killed loses nothing.
            "fsync=off",
        ] {
            command.args(["-c", setting]);
        }
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let output = child.stderr.take();
        self.child = Some(child);
        let Some(output) = output else { return Err(io::Error::other("no output")) };
        let mut output = BufReader::new(output);
        let mut said = String::new();
        loop {
            let from = said.len();
            if output.read_line(&mut said)? == 0 {
                self.stop();
                return Err(io::Error::other(format!("postgres did not start: {said}")));
            }
            if said.get(from..).is_some_and(|line| line.contains("ready to accept connections")) {
                break;
            }
        }
        // What it says later is read too: a full pipe would stop it.
        std::thread::spawn(move || {
            let _ = io::copy(&mut output.by_ref(), &mut io::sink());
        });
        Ok(())
    }

    /// Ends it at once, as a crash would, and waits until it is gone. Connections break off.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // Killed outright, it would leave behind processes that keep its data from the next start;
        // this signal takes them along.
        let quit = format!("kill -QUIT {}", child.id());
        let _ = Command::new("sh").args(["-c", &quit]).stderr(Stdio::null()).status();
        let limit = Instant::now() + Duration::from_secs(20);
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(5));
        }
        // One that is gone already is as good.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `postgres://...` of a database. There is one from the start, `postgres`.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn initialize(&self) -> io::Result<()> {
        let password = self.dir.path().join("password");
        std::fs::write(&password, PASSWORD)?;
        if is_root()? {
            let mut give = Command::new("chown");
            give.args(["-R", "postgres"]).arg(self.dir.path());
            finish(give, "chown")?;
        }
        let mut command = self.command("initdb")?;
        command
            .args(["--auth=scram-sha-256", "--no-sync", "--encoding=UTF8", "--locale=C"])
            .args(["--locale-provider=icu", "--icu-locale=en-US", "--username", USER])
            .arg("--pwfile")
            .arg(password)
            .arg("--pgdata")
            .arg(self.data());
        finish(command, "initdb")
    }

    fn command(&self, program: &str) -> io::Result<Command> {
        let program = self.programs.join(program);
        let mut command = if is_root()? {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]);
            command.arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.dir.path()).env("LC_ALL", "C");
        Ok(command)
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Whether this process is root, whom PostgreSQL refuses to run as.
fn is_root() -> io::Result<bool> {
    Ok(std::fs::metadata("/proc/self")?.uid() == 0)
}

/// Runs it to its end.
fn finish(mut command: Command, name: &str) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{name} failed, {}: {said}", output.status)))
}

/// The folder with `initdb` and `postgres`; of several versions of Debian's the newest.
fn find_programs() -> io::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    find_programs_in(std::env::split_paths(&path), Path::new(DEBIAN))
}

fn find_programs_in(path: impl Iterator<Item = PathBuf>, debian: &Path) -> io::Result<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir(debian)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort();
    path.chain(versions.into_iter().rev().map(|(_, folder)| folder))
        .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
        .ok_or_else(|| {
            let text = "initdb and postgres are not installed: apt-get install postgresql";
            io::Error::new(io::ErrorKind::NotFound, text)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_for_in_the_path_then_in_the_newest_of_debian() {
        let dir = TempDir::new().unwrap();
        let make = |folder: &str| {
            let folder = dir.path().join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            for program in ["initdb", "postgres"] {
                std::fs::write(folder.join(program), "").unwrap();
            }
            folder
        };
        let debian = dir.path().join("debian");
        let own = dir.path().join("own");
        let find = || find_programs_in([own.clone()].into_iter(), &debian);
        assert!(find().unwrap_err().to_string().contains("apt-get install postgresql"));
        make("debian/9/bin");
        let newest = make("debian/15/bin");
        assert_eq!(find().unwrap(), newest);
        make("own");
        assert_eq!(find().unwrap(), own);
    }

    #[test]
    fn a_server_stops_with_its_test_even_if_that_panics() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let panicked = std::thread::spawn(move || {
            let server = PostgresServer::start().unwrap();
            std::net::TcpStream::connect(("127.0.0.1", server.port())).unwrap();
            sender.send((server.port(), server.dir.path().to_owned())).unwrap();
            std::panic::resume_unwind(Box::new("on purpose"));
        })
        .join();
        assert!(panicked.is_err());
        let (port, dir) = receiver.recv().unwrap();
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap_err();
        assert!(!dir.exists());
    }
}
