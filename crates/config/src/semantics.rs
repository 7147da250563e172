//! What the types cannot say: names that must exist, credentials that must fit, files that must be
//! there.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use crate::content::Content;
use crate::document::Document;
use crate::fault::{Fault, nearest};
use crate::secret::Secret;
use crate::syntax::{is_host, is_name, is_proxy, is_url};
use crate::telemetry::Telemetry;
use crate::types::{Config, Provider, ProviderKind, Server, TimeoutOverrides, Timeouts, YandexApi};

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
/// Headers that belong to the connection, not to the request.
const FRAMING: [&str; 6] =
    ["connection", "content-length", "host", "te", "transfer-encoding", "upgrade"];

/// All semantic faults of a configuration, but for what is said about `doubtful` paths.
pub(crate) fn check(config: &Config, document: &Document, doubtful: &[String]) -> Vec<Fault> {
    let mut checker = Checker { document, doubtful, faults: Vec::new() };
    checker.server(&config.server);
    for (name, provider) in &config.providers {
        let path = format!("providers.{name}");
        checker.name(&path, name);
        checker.provider(&path, provider);
    }
    checker.models(config);
    checker.routing(config);
    checker.guard(config);
    checker.identity(config);
    checker.storage(config);
    checker.admin(config);
    checker.prices(config);
    checker.telemetry(&config.telemetry);
    checker.faults
}

pub(crate) struct Checker<'c> {
    document: &'c Document,
    doubtful: &'c [String],
    faults: Vec<Fault>,
}

/// Whether `path` is `outer` or below it.
fn within(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

impl Checker<'_> {
    pub(crate) fn fault(&mut self, path: &str, message: impl Into<String>) {
        let doubtful =
            |doubt: &String| !doubt.is_empty() && (within(path, doubt) || within(doubt, path));
        if !self.doubtful.iter().any(doubtful) {
            self.faults.push(self.document.fault_at(path, message));
        }
    }

    /// Whether the names of `section` are known for certain.
    fn certain(&self, section: &str, suffix: &str) -> bool {
        !self
            .doubtful
            .iter()
            .any(|doubt| doubt == section || (within(doubt, section) && doubt.ends_with(suffix)))
    }

    pub(crate) fn address(&mut self, path: &str, text: &str) -> Option<SocketAddr> {
        let address = text.parse().ok();
        if address.is_none() {
            self.fault(path, "must be an address and a port, such as 127.0.0.1:8080");
        }
        address
    }

    fn file(&mut self, path: &str, file: Option<&Path>, content: Content) {
        let Some(file) = file else { return };
        match content.look(file) {
            Ok(true) => {}
            Ok(false) => {
                let message =
                    format!("the file {} is no {}; give one", file.display(), content.name());
                self.fault(path, message);
            }
            Err(error) => {
                let message = format!(
                    "the file {} cannot be read: {error}; correct the path or its permissions",
                    file.display()
                );
                self.fault(path, message);
            }
        }
    }

    /// A text that is sent in a header.
    fn header_value(&mut self, path: &str, text: Option<&str>) {
        if text.is_some_and(|text| text.is_empty() || http::HeaderValue::try_from(text).is_err()) {
            self.fault(
                path,
                "is empty or holds a character that no header can carry, such as a line end; \
                 correct it",
            );
        }
    }

    /// `base` is what paths are appended to.
    fn base_url(&mut self, path: &str, text: &str) {
        self.url(path, text);
        if text.contains(['?', '#']) {
            self.fault(path, "must not have a query or a fragment; remove all from the `?` on");
        }
    }

    fn url(&mut self, path: &str, text: &str) {
        if !is_url(text) {
            self.fault(
                path,
                "must be a URL that begins with http:// or https://, with a host, without user",
            );
        }
    }

    /// A text that stands in headers and logs, or is looked up by.
    pub(crate) fn name(&mut self, path: &str, text: &str) {
        if !is_name(text) {
            self.fault(path, "is empty or holds a control character; give a name");
        }
    }

    /// What another key names. Values of the environment are not shown: the wrong variable may
    /// hold a secret.
    fn quoted(&self, path: &str, text: &str) -> String {
        if self.document.is_referenced(path) {
            "of this name, which the environment gives".to_owned()
        } else {
            format!("`{text}`")
        }
    }

    fn server(&mut self, server: &Server) {
        let listen = self.address("server.listen", &server.listen);
        let operations = self.address("server.ops_listen", &server.ops_listen);
        if let (Some(listen), Some(operations)) = (listen, operations)
            && listen.port() == operations.port()
            && listen.port() != 0
            && (listen.ip() == operations.ip()
                || listen.ip().is_unspecified()
                || operations.ip().is_unspecified())
        {
            self.fault(
                "server.ops_listen",
                "is the same as server.listen; give operations a port of their own",
            );
        }
        if let Some(tls) = &server.tls {
            self.file("server.tls.certificate", Some(&tls.certificate), Content::Certificates);
            self.file("server.tls.key", Some(&tls.key), Content::PrivateKey);
        }
    }

    fn provider(&mut self, path: &str, provider: &Provider) {
        if provider.resolved_base_url().is_empty() {
            self.fault(path, "`base_url` is missing; providers of this kind have no default");
        } else {
            self.base_url(&format!("{path}.base_url"), provider.resolved_base_url());
        }
        for (key, file, content) in [
            ("ca_bundle", &provider.ca_bundle, Content::Certificates),
            ("client_certificate", &provider.client_certificate, Content::Certificates),
            ("client_key", &provider.client_key, Content::PrivateKey),
            (
                "service_account_key_file",
                &provider.service_account_key_file,
                Content::ServiceAccountKey,
            ),
        ] {
            self.file(&format!("{path}.{key}"), file.as_deref(), content);
        }
        if provider.client_certificate.is_some() != provider.client_key.is_some() {
            self.fault(path, "`client_certificate` and `client_key` go together; give both");
        }
        for (key, url) in [
            ("auth_url", &provider.auth_url),
            ("iam_url", &provider.iam_url),
            ("token_url", &provider.token_url),
        ] {
            if let Some(url) = url {
                self.url(&format!("{path}.{key}"), url);
            }
        }
        if let Some(entra) = &provider.entra {
            self.url(&format!("{path}.entra.token_url"), &entra.token_url);
        }
        if provider.egress_proxy.as_ref().is_some_and(|proxy| !is_proxy(proxy.expose())) {
            self.fault(
                &format!("{path}.egress_proxy"),
                "must be http://host:port or http://user:password@host:port, without a path",
            );
        }
        for (number, host) in provider.image_hosts.iter().enumerate() {
            if !is_host(host) {
                self.fault(
                    &format!("{path}.image_hosts[{number}]"),
                    "must be a host alone, without scheme, port and path, such as minio.local",
                );
            }
        }
        for (name, value) in &provider.headers {
            let path = format!("{path}.headers.{name}");
            match http::HeaderName::try_from(name) {
                Err(_) => self.fault(&path, "is not the name of a header; correct it"),
                Ok(name) if FRAMING.contains(&name.as_str()) => {
                    self.fault(&path, "is set by the connection itself; remove it");
                }
                Ok(_) => self.header_value(&path, Some(value.expose())),
            }
        }
        let secret = |secret: &'_ Option<Secret>| secret.as_ref().map(|s| s.expose().to_owned());
        for (key, value) in [
            ("api_key", secret(&provider.api_key)),
            ("credentials", secret(&provider.credentials)),
            ("iam_token", secret(&provider.iam_token)),
            ("project_id", provider.project_id.clone()),
            ("folder_id", provider.folder_id.clone()),
            ("version", provider.version.clone()),
            ("beta", provider.beta.clone()),
        ] {
            self.header_value(&format!("{path}.{key}"), value.as_deref());
        }
        self.timeouts(&format!("{path}.timeouts"), &provider.timeouts);
        let compatible = provider.kind.is_openai_compatible()
            || (provider.kind == ProviderKind::YandexGpt
                && provider.resolved_api() == YandexApi::OpenAi);
        if provider.apis.is_some() && !compatible {
            self.fault(&format!("{path}.apis"), "says nothing about this kind; remove it");
        } else if provider.apis.as_ref().is_some_and(Vec::is_empty) {
            self.fault(&format!("{path}.apis"), "is empty; name what it offers, or remove it");
        }
        self.foreign_keys(path, provider);
        self.credentials(path, provider);
    }

    /// Keys that belong to another kind of provider.
    fn foreign_keys(&mut self, path: &str, provider: &Provider) {
        use ProviderKind::{Anthropic, AzureOpenAi, CloudRu, GigaChat, YandexGpt};
        let given: [(&str, bool, ProviderKind); 18] = [
            ("credentials", provider.credentials.is_some(), GigaChat),
            ("scope", provider.scope.is_some(), GigaChat),
            ("auth_url", provider.auth_url.is_some(), GigaChat),
            ("user", provider.user.is_some(), GigaChat),
            ("password", provider.password.is_some(), GigaChat),
            ("iam_token", provider.iam_token.is_some(), YandexGpt),
            ("service_account_key_file", provider.service_account_key_file.is_some(), YandexGpt),
            ("iam_url", provider.iam_url.is_some(), YandexGpt),
            ("folder_id", provider.folder_id.is_some(), YandexGpt),
            ("api", provider.api.is_some(), YandexGpt),
            ("key_id", provider.key_id.is_some(), CloudRu),
            ("key_secret", provider.key_secret.is_some(), CloudRu),
            ("token_url", provider.token_url.is_some(), CloudRu),
            ("api_version", provider.api_version.is_some(), AzureOpenAi),
            ("entra", provider.entra.is_some(), AzureOpenAi),
            ("version", provider.version.is_some(), Anthropic),
            ("beta", provider.beta.is_some(), Anthropic),
            ("project_id", provider.project_id.is_some(), CloudRu),
        ];
        for (key, present, owner) in given {
            if present && provider.kind != owner {
                let message = format!("belongs to providers of kind {}; remove it", owner.name());
                self.fault(&format!("{path}.{key}"), message);
            }
        }
    }

    fn credentials(&mut self, path: &str, provider: &Provider) {
        let key = provider.api_key.is_some();
        let entra = provider.entra.as_ref();
        let secret = |secret: &'_ Option<Secret>| secret.as_ref().map(|s| s.expose().is_empty());
        let text = |text: &'_ Option<String>| text.as_ref().map(String::is_empty);
        for (name, empty) in [
            ("user", text(&provider.user)),
            ("password", secret(&provider.password)),
            ("key_id", text(&provider.key_id)),
            ("key_secret", secret(&provider.key_secret)),
            ("entra.client_id", entra.map(|entra| entra.client_id.is_empty())),
            ("entra.client_secret", entra.map(|entra| entra.client_secret.expose().is_empty())),
            ("entra.scope", entra.map(|entra| entra.scope.is_empty())),
        ] {
            if empty == Some(true) {
                self.fault(&format!("{path}.{name}"), "is empty; give it");
            }
        }
        match provider.kind {
            ProviderKind::GigaChat => {
                if provider.user.is_some() != provider.password.is_some() {
                    self.fault(path, "`user` and `password` go together; give both");
                }
                if provider.user.is_some() && provider.credentials.is_some() {
                    self.fault(path, "give either `credentials` or `user` and `password`");
                }
                let login = provider.user.is_some();
                let certificate = provider.client_certificate.is_some();
                if key {
                    self.fault(
                        &format!("{path}.api_key"),
                        "GigaChat takes `credentials` (the authorization key) instead",
                    );
                } else if provider.credentials.is_none() && !login && !certificate {
                    self.fault(
                        path,
                        "no credentials; give `credentials`, `user` and `password`, or a client \
                         certificate",
                    );
                }
            }
            ProviderKind::YandexGpt => {
                let ways = [
                    key,
                    provider.iam_token.is_some(),
                    provider.service_account_key_file.is_some(),
                ];
                if ways.iter().filter(|given| **given).count() != 1 {
                    self.fault(
                        path,
                        "give one of `api_key`, `iam_token` and `service_account_key_file`",
                    );
                }
                if provider.folder_id.is_none() {
                    self.fault(path, "`folder_id` is missing; add the folder of the models");
                }
            }
            ProviderKind::CloudRu => {
                let (id, secret) = (provider.key_id.is_some(), provider.key_secret.is_some());
                if id != secret || key == id {
                    self.fault(path, "give either `api_key` or `key_id` and `key_secret`");
                }
            }
            ProviderKind::AzureOpenAi => {
                if key == provider.entra.is_some() {
                    self.fault(path, "give either `api_key` or `entra`");
                }
            }
            ProviderKind::OpenAi
            | ProviderKind::Qwen
            | ProviderKind::OpenRouter
            | ProviderKind::Gemini
            | ProviderKind::Anthropic => {
                let own = provider.base_url.is_some() && provider.kind == ProviderKind::OpenAi;
                if !key && !own {
                    self.fault(path, "`api_key` is missing; add it, as a reference: \"${KEY}\"");
                }
            }
            ProviderKind::Vllm
            | ProviderKind::Sglang
            | ProviderKind::LlamaCpp
            | ProviderKind::Ollama => {}
        }
    }

    fn models(&mut self, config: &Config) {
        if config.models.is_empty() {
            self.fault("models", "there are no models; add one, so that callers can ask for it");
        }
        let mut names = BTreeSet::new();
        for (number, model) in config.models.iter().enumerate() {
            let path = format!("models[{number}]");
            self.name(&format!("{path}.name"), &model.name);
            if !names.insert(&model.name) {
                let path = format!("{path}.name");
                let name = self.quoted(&path, &model.name);
                self.fault(&path, format!("the model {name} stands twice; rename one"));
            }
            if model.deployments.is_empty() {
                self.fault(&format!("{path}.deployments"), "is empty; add a deployment");
            }
            for (place, deployment) in model.deployments.iter().enumerate() {
                let inner = format!("{path}.deployments[{place}]");
                self.name(&format!("{inner}.model"), &deployment.model);
                if let Some(provider) = config.providers.get(&deployment.provider)
                    && deployment.timeouts != TimeoutOverrides::default()
                {
                    let timeouts = deployment.resolved_timeouts(provider);
                    self.timeouts(&format!("{inner}.timeouts"), &timeouts);
                }
                let known = config.providers.contains_key(&deployment.provider);
                if known || !self.certain("providers", "providers") {
                    continue;
                }
                let known = config.providers.keys().map(String::as_str);
                let hint = match nearest(&deployment.provider, known) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => "add it under `providers`".to_owned(),
                };
                let path = format!("{inner}.provider");
                let name = self.quoted(&path, &deployment.provider);
                self.fault(&path, format!("there is no provider {name}; {hint}"));
            }
        }
    }

    fn identity(&mut self, config: &Config) {
        let keys = &config.identity.static_keys;
        let oidc = &config.identity.oidc;
        for (path, message) in crate::oidc::faults(oidc) {
            self.fault(&path, message);
        }
        for (number, oidc) in oidc.iter().enumerate() {
            let path = format!("identity.oidc[{number}].ca_bundle");
            self.file(&path, oidc.ca_bundle.as_deref(), Content::Certificates);
        }
        if keys.is_empty() && oidc.is_empty() && config.identity.admin_keys.is_empty() {
            self.fault(
                "identity.static_keys",
                "there are no keys; add one, or an `admin_keys` entry to make virtual keys with, or \
                 nobody can call",
            );
        }
        let mut names = BTreeSet::new();
        let mut secrets = BTreeSet::new();
        for (number, key) in keys.iter().enumerate() {
            let path = format!("identity.static_keys[{number}]");
            self.name(&format!("{path}.name"), &key.name);
            if !names.insert(&key.name) {
                self.fault(&format!("{path}.name"), "this name stands twice; rename one");
            }
            self.key_form(&path, key.key.as_ref(), key.key_sha256.as_deref());
            let given = key.key.as_ref().map(|key| key.expose().to_owned());
            let digest = key.key_sha256.as_ref().map(|digest| digest.to_ascii_lowercase());
            let member = if given.is_some() { "key" } else { "key_sha256" };
            if let Some(secret) = given.or(digest)
                && !secrets.insert(secret)
            {
                let path = format!("{path}.{member}");
                self.fault(&path, "is the key of another entry too; change one");
            }
            if key.models.as_ref().is_some_and(Vec::is_empty) {
                let message = "is empty, so that this key may call nothing; name models, or \
                               remove it for all";
                self.fault(&format!("{path}.models"), message);
            }
            for (place, model) in key.models.iter().flatten().enumerate() {
                if self.certain("models", ".name")
                    && !config.models.iter().any(|known| known.name == *model)
                {
                    let known = config.models.iter().map(|model| model.name.as_str());
                    let hint = nearest(model, known)
                        .map_or("add it under `models`".to_owned(), |meant| {
                            format!("did you mean `{meant}`?")
                        });
                    let path = format!("{path}.models[{place}]");
                    let name = self.quoted(&path, model);
                    self.fault(&path, format!("there is no model {name}; {hint}"));
                }
            }
        }
    }

    /// A key, itself or as its digest.
    pub(crate) fn key_form(&mut self, path: &str, key: Option<&Secret>, digest: Option<&str>) {
        match (key, digest) {
            (Some(secret), None) => {
                let text = secret.expose();
                let path = format!("{path}.key");
                if text.chars().count() < 8 {
                    self.fault(&path, "is shorter than 8 characters; take a longer one");
                } else if !text.bytes().all(|b| b.is_ascii_graphic()) {
                    let message = "holds a blank or a character that is not ASCII; callers \
                                   could not send it, take another";
                    self.fault(&path, message);
                }
            }
            (None, Some(digest)) => {
                let hex = digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit());
                if !hex {
                    self.fault(
                        &format!("{path}.key_sha256"),
                        "must be 64 hexadecimal digits: printf %s KEY | sha256sum",
                    );
                }
            }
            _ => self.fault(path, "give either `key` or `key_sha256`"),
        }
    }

    fn timeouts(&mut self, path: &str, timeouts: &Timeouts) {
        for (key, part) in [
            ("connect_ms", timeouts.connect_ms),
            ("first_byte_ms", timeouts.first_byte_ms),
            ("idle_ms", timeouts.idle_ms),
        ] {
            if part > timeouts.total_ms {
                let message = "is longer than total_ms; shorten it, or lengthen total_ms";
                self.fault(&format!("{path}.{key}"), message);
            }
        }
    }

    fn telemetry(&mut self, telemetry: &Telemetry) {
        let level = |text: &str| LEVELS.contains(&text.to_ascii_lowercase().as_str());
        let sound = telemetry.log_level.split(',').all(|directive| {
            match directive.trim().split_once('=') {
                Some((module, text)) => !module.is_empty() && level(text),
                None => level(directive.trim()),
            }
        });
        if !sound {
            let message =
                format!("must be one of {}, also by module: info,gateway=debug", LEVELS.join(", "));
            self.fault("telemetry.log_level", message);
        }
    }
}
