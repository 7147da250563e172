//! What the types cannot say: names that must exist, credentials that must fit, files that must be
//! there.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use http::Uri;

use crate::document::Document;
use crate::fault::{Fault, nearest};
use crate::types::{Config, Provider, ProviderKind, Server, YandexApi};

/// All semantic faults of a configuration that is structurally sound.
pub(crate) fn check(config: &Config, document: &Document) -> Vec<Fault> {
    let mut checker = Checker { document, faults: Vec::new() };
    checker.server(&config.server);
    for (name, provider) in &config.providers {
        checker.provider(&format!("providers.{name}"), provider);
    }
    checker.models(config);
    checker.identity(config);
    checker.faults
}

struct Checker<'c> {
    document: &'c Document,
    faults: Vec<Fault>,
}

impl Checker<'_> {
    fn fault(&mut self, path: &str, message: impl Into<String>) {
        self.faults.push(self.document.fault_at(path, message));
    }

    fn address(&mut self, path: &str, text: &str) -> Option<SocketAddr> {
        let address = text.parse().ok();
        if address.is_none() {
            self.fault(path, "must be an address and a port, such as 127.0.0.1:8080");
        }
        address
    }

    fn file(&mut self, path: &str, file: Option<&Path>) {
        if let Some(file) = file
            && let Err(error) = std::fs::File::open(file)
        {
            self.fault(path, format!("the file {} cannot be read: {error}", file.display()));
        }
    }

    fn url(&mut self, path: &str, text: &str) {
        let sound = text.parse::<Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        });
        if !sound {
            self.fault(path, "must be a URL that begins with http:// or https://, without user");
        }
    }

    fn server(&mut self, server: &Server) {
        let listen = self.address("server.listen", &server.listen);
        let operations = self.address("server.ops_listen", &server.ops_listen);
        if listen.is_some() && listen == operations && listen.is_some_and(|at| at.port() != 0) {
            self.fault(
                "server.ops_listen",
                "is the same as server.listen; give operations a port of their own",
            );
        }
        if let Some(tls) = &server.tls {
            self.file("server.tls.certificate", Some(&tls.certificate));
            self.file("server.tls.key", Some(&tls.key));
        }
    }

    fn provider(&mut self, path: &str, provider: &Provider) {
        if provider.resolved_base_url().is_empty() {
            self.fault(path, "`base_url` is missing; providers of this kind have no default");
        } else {
            self.url(&format!("{path}.base_url"), provider.resolved_base_url());
        }
        for (key, file) in [
            ("ca_bundle", &provider.ca_bundle),
            ("client_certificate", &provider.client_certificate),
            ("client_key", &provider.client_key),
            ("service_account_key_file", &provider.service_account_key_file),
        ] {
            self.file(&format!("{path}.{key}"), file.as_deref());
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
        for name in provider.headers.keys() {
            if http::HeaderName::try_from(name).is_err() {
                self.fault(&format!("{path}.headers.{name}"), "is not the name of a header");
            }
        }
        if provider.apis.is_some() && !provider.kind.is_openai_compatible() {
            self.fault(&format!("{path}.apis"), "says nothing about this kind; remove it");
        }
        self.foreign_keys(path, provider);
        self.credentials(path, provider);
    }

    /// Keys that belong to another kind of provider.
    fn foreign_keys(&mut self, path: &str, provider: &Provider) {
        use ProviderKind::{Anthropic, AzureOpenAi, CloudRu, GigaChat, YandexGpt};
        let given: [(&str, bool, ProviderKind); 16] = [
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
        ];
        for (key, present, owner) in given {
            if present && provider.kind != owner {
                self.fault(
                    &format!("{path}.{key}"),
                    "belongs to another kind of provider; remove it",
                );
            }
        }
    }

    fn credentials(&mut self, path: &str, provider: &Provider) {
        let key = provider.api_key.is_some();
        match provider.kind {
            ProviderKind::GigaChat => {
                let login = provider.user.is_some() && provider.password.is_some();
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
                if provider.resolved_api() == YandexApi::OpenAi && provider.base_url.is_none() {
                    self.fault(
                        path,
                        "`api: openai` needs `base_url`, such as \
                         https://llm.api.cloud.yandex.net/v1",
                    );
                }
            }
            ProviderKind::CloudRu => {
                let pair = provider.key_id.is_some() && provider.key_secret.is_some();
                if key == pair {
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
            if model.name.trim().is_empty() {
                self.fault(&format!("{path}.name"), "must not be empty");
            }
            if !names.insert(&model.name) {
                let message = format!("the model `{}` stands twice; rename one", model.name);
                self.fault(&format!("{path}.name"), message);
            }
            if model.deployments.is_empty() {
                self.fault(&format!("{path}.deployments"), "is empty; add a deployment");
            }
            for (place, deployment) in model.deployments.iter().enumerate() {
                if config.providers.contains_key(&deployment.provider) {
                    continue;
                }
                let known = config.providers.keys().map(String::as_str);
                let hint = match nearest(&deployment.provider, known) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => "add it under `providers`".to_owned(),
                };
                self.fault(
                    &format!("{path}.deployments[{place}].provider"),
                    format!("there is no provider `{}`; {hint}", deployment.provider),
                );
            }
        }
    }

    fn identity(&mut self, config: &Config) {
        let keys = &config.identity.static_keys;
        if keys.is_empty() {
            self.fault("identity.static_keys", "there are no keys; add one, or nobody can call");
        }
        let mut names = BTreeSet::new();
        for (number, key) in keys.iter().enumerate() {
            let path = format!("identity.static_keys[{number}]");
            if !names.insert(&key.name) {
                self.fault(&format!("{path}.name"), "this name stands twice; rename one");
            }
            match (&key.key, &key.key_sha256) {
                (Some(secret), None) if secret.expose().len() < 8 => {
                    self.fault(&format!("{path}.key"), "is shorter than 8 characters");
                }
                (Some(_), None) => {}
                (None, Some(digest)) => {
                    let hex = digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit());
                    if !hex {
                        self.fault(
                            &format!("{path}.key_sha256"),
                            "must be 64 hexadecimal digits: printf %s KEY | sha256sum",
                        );
                    }
                }
                _ => self.fault(&path, "give either `key` or `key_sha256`"),
            }
            for model in key.models.iter().flatten() {
                if !config.models.iter().any(|known| known.name == *model) {
                    let known = config.models.iter().map(|model| model.name.as_str());
                    let hint = nearest(model, known)
                        .map(|meant| format!("; did you mean `{meant}`?"))
                        .unwrap_or_default();
                    let message = format!("there is no model `{model}`{hint}");
                    self.fault(&format!("{path}.models"), message);
                }
            }
        }
    }
}
