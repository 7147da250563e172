use std::net::SocketAddr;
use std::path::Path;

use simulator::Simulator;

use super::{Failure, one_rouble};
use crate::process::{self, Process};

/// Key of the demo's callers.
const KEY: &str = "sk-demo-default";
/// Key of the demo's administrator.
const ADMIN_KEY: &str = "sk-demo-admin";
/// Base64 of `sim-id:sim-secret`, which the simulated GigaChat takes.
const GIGACHAT_CREDENTIALS: &str = "c2ltLWlkOnNpbS1zZWNyZXQ=";

/// Each provider of the demo: its name, its models for chat and for embeddings.
const PROVIDERS: [(&str, &str, Option<&str>); 8] = [
    ("gigachat", "GigaChat-2-Pro", Some("Embeddings")),
    ("yandexgpt", "yandexgpt", Some("text-search-doc")),
    ("qwen", "qwen-plus", Some("text-embedding-v4")),
    ("cloudru", "ai-sage/GigaChat3-10B-A1.8B", Some("BAAI/bge-m3")),
    ("vllm", "qwen3-32b", Some("bge-m3")),
    ("openai", "gpt-4o-mini", Some("text-embedding-3-small")),
    ("azure", "gpt-4o", Some("text-embedding-3-small")),
    ("anthropic", "claude-sonnet-4-5", None),
];

/// Runs simulated providers and a gateway in front of them until told to stop.
pub(super) fn run(listen: SocketAddr, json: bool) -> Result<(), Failure> {
    let failed = |error: String| Failure::Failed(error);
    let folder = tempfile::tempdir().map_err(|error| failed(error.to_string()))?;
    let simulator = Simulator::start_blocking(simulator::Options::default())
        .map_err(|error| failed(error.to_string()))?;
    let file = folder.path().join("llm-proxy.yaml");
    let key_file = folder.path().join("yandex-key.json");
    let text = configuration(listen, &simulator.base_url(), &key_file);
    std::fs::write(&key_file, simulator::YANDEX_SERVICE_ACCOUNT_KEY)
        .and_then(|()| std::fs::write(&file, text))
        .map_err(|error| failed(error.to_string()))?;
    let loaded = config::load(&file).map_err(|faults| failed(faults.to_string()))?;
    process::init_logs(&loaded.config).map_err(failed)?;
    let models: Vec<String> = loaded.config.models.iter().map(|model| model.name.clone()).collect();
    let runtime = process::runtime().map_err(failed)?;
    runtime
        .block_on(async {
            let process = Process::start(loaded, file.clone()).await?;
            let base_url = format!("http://{}", process.address);
            let ops_url = format!("http://{}", process.operations);
            let admin_url = process.admin.map(|at| format!("http://{at}")).unwrap_or_default();
            let spending = tokio::task::spawn_blocking({
                let (admin_url, base_url) = (admin_url.clone(), base_url.clone());
                move || one_rouble::spend(&admin_url, ADMIN_KEY, &base_url)
            });
            let serving = process.run();
            tokio::pin!(serving);
            let budget = tokio::select! {
                spent = spending => spent.map_err(|error| error.to_string())??,
                stopped = &mut serving => return stopped,
            };
            if json {
                let line = serde_json::json!({
                    "base_url": base_url,
                    "admin_url": admin_url,
                    "ops_url": ops_url,
                    "simulator_url": simulator.base_url(),
                    "keys": { "default": KEY, "admin": ADMIN_KEY, "budget": budget.key },
                    "tenant": budget.tenant,
                    "budget": budget.id,
                    "models": models,
                    "data_dir": folder.path(),
                });
                println!("{line}");
            } else {
                println!(
                    "{}",
                    things_to_try(
                        &base_url,
                        &ops_url,
                        &admin_url,
                        &simulator.base_url(),
                        &file,
                        &budget
                    )
                );
            }
            serving.await
        })
        .map_err(failed)?;
    simulator.shutdown();
    Ok(())
}

fn configuration(listen: SocketAddr, simulator: &str, yandex_key: &Path) -> String {
    let mut text = format!(
        r#"server: {{listen: "{listen}", ops_listen: "127.0.0.1:0", admin_listen: "127.0.0.1:0", drain_timeout_s: 10}}
telemetry: {{access_log: errors, log_level: warn}}
identity:
  static_keys:
    - {{name: default, key: "{KEY}"}}
  admin_keys:
    - {{name: demo, key: "{ADMIN_KEY}"}}
limits: {{missing_price: free}}
# Failures are provoked here on purpose: a breaker that remembers them would be in the way.
routing: {{breaker: {{enabled: false}}}}
providers:
  gigachat:
    kind: gigachat
    base_url: "{simulator}/gigachat/api/v1"
    auth_url: "{simulator}/gigachat/api/v2/oauth"
    credentials: "{GIGACHAT_CREDENTIALS}"
  yandexgpt:
    kind: yandexgpt
    base_url: "{simulator}/yandex"
    iam_url: "{simulator}/yandex/iam/v1/tokens"
    service_account_key_file: "{key_file}"
    folder_id: b1gsim
  cloudru:
    kind: cloudru
    base_url: "{simulator}/cloudru/v1"
    token_url: "{simulator}/cloudru/api/v1/auth/token"
    key_id: sim-key-id
    key_secret: sim-key-secret
  qwen: {{kind: qwen, base_url: "{simulator}/qwen/compatible-mode/v1", api_key: sim-demo}}
  vllm: {{kind: vllm, base_url: "{simulator}/vllm/v1", api_key: sim-demo}}
  openai: {{kind: openai, base_url: "{simulator}/openai/v1", api_key: sim-demo}}
  azure:
    kind: azure_openai
    base_url: "{simulator}/azure"
    api_key: sim-demo
    api_version: "2024-10-21"
  anthropic: {{kind: anthropic, base_url: "{simulator}/anthropic", api_key: sim-demo}}
models:
  - name: chat
    deployments:
      - {{provider: gigachat, model: GigaChat-2-Pro, priority: 1}}
      - {{provider: vllm, model: qwen3-32b, priority: 2}}
      - {{provider: openai, model: gpt-4o-mini, priority: 3}}
  - name: openai-moderation
    deployments: [{{provider: openai, model: omni-moderation-latest}}]
"#,
        key_file = yandex_key.display(),
    );
    for (name, chat, embeddings) in PROVIDERS {
        let mut add = |route: String, model: &str| {
            text.push_str(&format!(
                "  - name: {route}\n    deployments: [{{provider: {name}, model: \"{model}\"}}]\n"
            ));
        };
        add(name.to_owned(), chat);
        if let Some(embeddings) = embeddings {
            add(format!("{name}-embeddings"), embeddings);
        }
    }
    text
}

fn things_to_try(
    base_url: &str,
    ops_url: &str,
    admin_url: &str,
    simulator: &str,
    file: &Path,
    budget: &one_rouble::Spent,
) -> String {
    format!(
        r#"llm-proxy runs in front of simulated providers.

  OpenAI base URL     {base_url}/v1
  Anthropic base URL  {base_url}
  API key             {KEY}
  models              chat (GigaChat, then vLLM, then OpenAI), gigachat, yandexgpt, qwen, cloudru,
                      vllm, openai, azure, anthropic, and NAME-embeddings of each
  admin API           {admin_url}/admin/v1/openapi.json, key {ADMIN_KEY}
  operations          {ops_url}/health/ready, {ops_url}/metrics
  simulator           {simulator}/_sim/bill, {simulator}/_sim/requests
  configuration       {file}

A tenant with a key and a budget of one rouble has just spent it: {requests} requests were answered, then
  {refusal}

Try:

  curl {base_url}/v1/chat/completions -H "Authorization: Bearer {KEY}" \
    -H "Content-Type: application/json" \
    -d '{{"model": "gigachat", "messages": [{{"role": "user", "content": "Привет!"}}]}}'

  # the same as a stream, answered by YandexGPT
  curl -N {base_url}/v1/chat/completions -H "Authorization: Bearer {KEY}" \
    -H "Content-Type: application/json" \
    -d '{{"model": "yandexgpt", "stream": true, "messages": [{{"role": "user", "content": "Привет!"}}]}}'

  # Anthropic's API in front of GigaChat
  curl {base_url}/v1/messages -H "x-api-key: {KEY}" -H "anthropic-version: 2023-06-01" \
    -H "Content-Type: application/json" \
    -d '{{"model": "gigachat", "max_tokens": 200, "messages": [{{"role": "user", "content": "Привет!"}}]}}'

  # a provider that fails: the request goes on to the next one (see x-llm-proxy-attempts)
  curl -i {base_url}/v1/chat/completions -H "Authorization: Bearer {KEY}" \
    -H "Content-Type: application/json" \
    -d '{{"model": "chat", "messages": [{{"role": "user", "content": "[[sim: status=500]] Привет!"}}]}}'

  # the key whose budget is spent; what was spent, by whom, on what
  curl {base_url}/v1/chat/completions -H "Authorization: Bearer {budget_key}" \
    -H "Content-Type: application/json" \
    -d '{{"model": "gigachat", "messages": [{{"role": "user", "content": "Привет!"}}]}}'
  export LLM_PROXY_ADMIN_URL={admin_url} LLM_PROXY_ADMIN_KEY={ADMIN_KEY}
  llm-proxy budgets status {budget_id}
  llm-proxy report cost --by tenant,key,model

  # Python: pip install openai
  from openai import OpenAI
  client = OpenAI(base_url="{base_url}/v1", api_key="{KEY}")
  print(client.chat.completions.create(model="qwen", messages=[{{"role": "user", "content": "Привет!"}}]))

Ctrl-C stops it."#,
        file = file.display(),
        requests = budget.requests,
        refusal = budget.refusal,
        budget_key = budget.key,
        budget_id = budget.id,
    )
}
