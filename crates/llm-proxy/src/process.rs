//! A gateway that runs: listeners, reload, signals, the end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use config::{Config, Fingerprint, Loaded};
use gateway::Gateway;
use gateway::server::{Server, TlsIdentity};
use telemetry::Metrics;
use tokio::signal::unix::{SignalKind, signal};

use crate::accounting;
use crate::compose::{self, RunningProviders};
use crate::oidc;
use crate::routing;

/// How often files are looked at for changes.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A gateway whose listeners are bound.
pub(crate) struct Process {
    server: Server,
    gateway: Arc<Gateway>,
    tls: Option<TlsIdentity>,
    reload: Reload,
    accounting: accounting::Running,
    /// Where callers connect.
    pub(crate) address: std::net::SocketAddr,
    /// Where operations are.
    pub(crate) operations: std::net::SocketAddr,
    /// Where the admin API is, if it is served.
    pub(crate) admin: Option<std::net::SocketAddr>,
}

impl Process {
    /// Binds everything. Must run within a tokio runtime.
    pub(crate) async fn start(loaded: Loaded, file: PathBuf) -> Result<Self, String> {
        let metrics = Arc::new(Metrics::new());
        let mut providers = RunningProviders::new();
        let mut snapshot = compose::snapshot(&loaded.config, &metrics, &mut providers, None)?;
        snapshot.issuers = oidc::issuers(&loaded.config, None)?;
        let tls = compose::tls_files(&loaded.config)
            .map(TlsIdentity::open)
            .transpose()
            .map_err(|error| format!("server.tls: {error}"))?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let (stores, counted) = accounting::open(&loaded.config, folder, &metrics).await?;
        let gateway = Arc::new(Gateway::with_accounting(snapshot, Arc::clone(&metrics), counted));
        let options = compose::server_options(&loaded.config)?;
        let listen = options.listen;
        let server = Server::bind(options, tls.clone(), Arc::clone(&gateway))
            .map_err(|error| format!("server.listen: {listen} cannot be bound: {error}"))?;
        let operations_address = &loaded.config.server.ops_listen;
        let operations =
            tokio::net::TcpListener::bind(operations_address.as_str()).await.map_err(|error| {
                format!("server.ops_listen: {operations_address} cannot be bound: {error}")
            })?;
        let text = |error: std::io::Error| error.to_string();
        let address = server.local_addr().map_err(text)?;
        let operations_address = operations.local_addr().map_err(text)?;
        tokio::spawn(gateway::serve_operations(operations, Arc::clone(&gateway)));
        let seen = Fingerprint::of(&loaded.files);
        let gateway_again = Arc::clone(&gateway);
        routing::reconfigure(&gateway, &loaded.config);
        let accounting = accounting::start(stores, &loaded.config, &gateway).await?;
        let admin = accounting.admin;
        let reload = Reload { file, loaded, seen, providers, metrics, gateway: gateway_again };
        Ok(Self {
            server,
            gateway,
            tls,
            reload,
            accounting,
            admin,
            address,
            operations: operations_address,
        })
    }

    /// Serves until SIGTERM or SIGINT, and drains. Whether all requests finished in time.
    pub(crate) async fn run(self) -> Result<bool, String> {
        let text = |error: std::io::Error| error.to_string();
        let mut terminate = signal(SignalKind::terminate()).map_err(text)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(text)?;
        let hangup = signal(SignalKind::hangup()).map_err(text)?;
        tracing::info!(
            event = "ready",
            address = %self.address,
            operations = %self.operations,
            admin = self.admin.map(tracing::field::display),
            models = self.gateway.snapshot().routes.len(),
            "llm-proxy is ready"
        );
        let watching = tokio::spawn(watch(self.reload, self.tls, hangup));
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!(event = "draining", "asked to stop");
        };
        let finished = self.server.run(stop).await;
        watching.abort();
        self.accounting.stop().await;
        tracing::info!(event = "stopped", all_finished = finished, "llm-proxy has stopped");
        Ok(finished)
    }
}

/// Takes new configurations: on SIGHUP, and when a file has changed.
async fn watch(
    mut reload: Reload,
    tls: Option<TlsIdentity>,
    mut hangup: tokio::signal::unix::Signal,
) {
    let mut certificate = tls.as_ref().and_then(|tls| tls.modified().ok());
    let mut ticks = tokio::time::interval(LOOK_INTERVAL);
    loop {
        let asked = tokio::select! {
            _ = ticks.tick() => false,
            _ = hangup.recv() => true,
        };
        if let Some(tls) = &tls {
            let modified = tls.modified().ok();
            if asked || (modified.is_some() && modified != certificate) {
                certificate = modified;
                match tls.reload() {
                    Ok(()) => tracing::info!(event = "certificate_reloaded", "new certificate"),
                    Err(error) => tracing::error!(%error, "the certificate was not replaced"),
                }
            }
        }
        if asked || reload.seen.is_outdated() {
            reload.take();
        }
    }
}

/// What a reload needs.
struct Reload {
    file: PathBuf,
    loaded: Loaded,
    /// How the files looked before they were read the last time.
    seen: Fingerprint,
    providers: RunningProviders,
    metrics: Arc<Metrics>,
    gateway: Arc<Gateway>,
}

impl Reload {
    /// Takes the file as it is now, whole or not at all.
    fn take(&mut self) {
        match self.try_take(&self.file.clone()) {
            Ok(()) => {
                self.metrics.count_reload(true);
                tracing::info!(
                    event = "config_applied",
                    models = self.loaded.config.models.len(),
                    "the new configuration is in force"
                );
            }
            Err(reason) => {
                self.metrics.count_reload(false);
                tracing::error!(
                    event = "config_refused",
                    reason,
                    "the new configuration was refused; the old one stays"
                );
            }
        }
    }

    fn try_take(&mut self, file: &Path) -> Result<(), String> {
        let mut files = self.loaded.files.clone();
        let before = self.seen.again();
        let read = config::load(file);
        // Where the new configuration is refused, what mends it may stand in a file that only the
        // new one includes, and what was read before may come back.
        files.extend_from_slice(match &read {
            Ok(loaded) => &loaded.files,
            Err(faults) => &faults.files,
        });
        files.sort();
        files.dedup();
        self.seen = before.widened(&files);
        let loaded = read.map_err(|faults| faults.to_string())?;
        let fixed = config::restart_required(&self.loaded.config, &loaded.config);
        if !fixed.is_empty() {
            return Err(format!("{} can change only with a restart", fixed.join(", ")));
        }
        let mut providers = self.providers.clone();
        let before = self.gateway.snapshot();
        let mut snapshot =
            compose::snapshot(&loaded.config, &self.metrics, &mut providers, Some(&before))?;
        let issuers = before.issuers.clone();
        snapshot.issuers = oidc::issuers(&loaded.config, issuers.as_ref())?;
        telemetry::set_log_level(&loaded.config.telemetry.log_level)
            .map_err(|error| format!("telemetry.log_level: {error}"))?;
        self.gateway.publish(snapshot);
        routing::reconfigure(&self.gateway, &loaded.config);
        self.providers = providers;
        self.seen = self.seen.widened(&loaded.files);
        self.loaded = loaded;
        Ok(())
    }
}

/// Sets logging up as the configuration says.
pub(crate) fn init_logs(config: &Config) -> Result<(), String> {
    let format = match config.telemetry.log_format {
        config::LogFormat::Json => telemetry::LogFormat::Json,
        config::LogFormat::Text => telemetry::LogFormat::Text,
    };
    telemetry::init_logs(format, &config.telemetry.log_level)
        .map_err(|error| format!("telemetry: {error}"))
}

/// The runtime of the main thread, which accepts connections, and of one thread for what runs beside
/// the requests: files, the ledger, the admin API. Requests have threads of their own.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    const MAIN: &str = r#"
server: {listen: "127.0.0.1:0", ops_listen: "127.0.0.1:0", workers: 1}
providers: {local: {kind: vllm, base_url: "http://127.0.0.1:1/v1"}}
models: [{name: first, deployments: [{provider: local, model: m}]}]
identity: {static_keys: [{name: dev, key: sk-for-tests}]}
"#;
    const MORE: &str = "models: [{name: second, deployments: [{provider: local, model: m}]}]\n";

    /// A connection on which a request has begun whose body goes on after `sent`.
    async fn begun(address: std::net::SocketAddr, framing: &str, sent: &str) -> TcpStream {
        let mut caller = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n\
             authorization: Bearer sk-for-tests\r\n{framing}\r\n\r\n{sent}"
        );
        caller.write_all(head.as_bytes()).await.unwrap();
        caller
    }

    #[tokio::test]
    async fn a_body_that_does_not_arrive_within_the_configured_time_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("main.yaml");
        fs::write(&main, MAIN.replace("workers: 1", "workers: 1, body_read_timeout_ms: 150"))
            .unwrap();
        let process = Process::start(config::load(&main).unwrap(), main).await.unwrap();
        let address = process.address;
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn(process.server.run(async {
            _ = stopped.await;
        }));
        let silent = begun(address, "content-length: 100", "{").await;
        let unfinished = begun(address, "transfer-encoding: chunked", "1\r\n{\r\n").await;
        let nothing = begun(address, "content-length: 2", "").await;
        for mut caller in [silent, unfinished, nothing] {
            assert_refused(&mut caller).await;
        }
        // The time is for the whole body: bytes that still come do not lengthen it.
        let trickling = begun(address, "content-length: 100000", "{").await;
        let (mut reading, mut writing) = trickling.into_split();
        let trickle = tokio::spawn(async move {
            while writing.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert_refused(&mut reading).await;
        trickle.abort();
        stop.send(()).unwrap();
        assert!(serving.await.unwrap());
    }

    async fn assert_refused(caller: &mut (impl AsyncRead + Unpin)) {
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            let read = caller.read_buf(&mut answer);
            let read = tokio::time::timeout(Duration::from_secs(10), read).await;
            assert_ne!(read.expect("an answer").unwrap(), 0);
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains(r#""code":"request_timeout""#), "{answer}");
    }

    #[tokio::test]
    async fn mending_a_file_that_a_refused_configuration_includes_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("main.yaml");
        let more = folder.path().join("more.yaml");
        fs::write(&main, MAIN).unwrap();
        let loaded = config::load(&main).unwrap();
        let mut reload = Process::start(loaded, main.clone()).await.unwrap().reload;
        assert!(!reload.seen.is_outdated());

        fs::write(&main, format!("include: [more.yaml]\n{MAIN}")).unwrap();
        assert!(reload.seen.is_outdated());
        reload.take();
        assert!(!reload.seen.is_outdated());
        fs::write(&more, "models: {").unwrap();
        assert!(reload.seen.is_outdated(), "a file that was missing");
        reload.take();
        assert!(!reload.seen.is_outdated());
        fs::write(&more, format!("{MORE}server: {{max_connections: 7}}")).unwrap();
        assert!(reload.seen.is_outdated(), "a file with a fault");
        reload.take();
        assert!(!reload.seen.is_outdated());
        assert!(!reload.gateway.snapshot().routes.contains_key("second"));
        fs::write(&more, MORE).unwrap();
        assert!(reload.seen.is_outdated(), "a file that needed a restart");
        reload.take();
        assert!(reload.gateway.snapshot().routes.contains_key("second"));

        fs::write(&main, MAIN).unwrap();
        reload.take();
        fs::write(&more, "no longer looked at").unwrap();
        assert!(!reload.seen.is_outdated());
    }
}
