"""A simulator and gateways with tenants, budgets and a ledger, as processes of the test's own."""

import os
import pathlib
import signal
import socket
import subprocess
import time

import httpx

BINARY = os.environ.get("LLM_PROXY_BIN", "target/release/llm-proxy")
ADMIN_KEY = "sk-test-admin"
STATIC_KEY = "sk-test-static"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, seconds=15):
    deadline = time.time() + seconds
    while time.time() < deadline:
        try:
            if result := condition():
                return result
        except (httpx.HTTPError, OSError):
            pass
        time.sleep(0.05)
    raise AssertionError("it did not come to pass in time")


class Simulator:
    def __init__(self):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen([BINARY, "simulate", "--listen", f"127.0.0.1:{self.port}"])
        wait_until(lambda: httpx.get(self.url + "/_sim/healthz").is_success)

    def bill(self):
        """Micro-units of the currency by provider, over all keys."""
        totals = {}
        for account in httpx.get(self.url + "/_sim/bill").json()["keys"].values():
            for currency, micro in account["cost_micro"].items():
                place = (account["provider"], currency)
                totals[place] = totals.get(place, 0) + micro
        return totals

    def stop(self):
        self.process.kill()
        self.process.wait()


class Gateway:
    """`serve` in a folder; several may share a database and a Redis."""

    def __init__(self, folder, simulator, storage="", limits="", models=""):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        ports = [free_port() for _ in range(3)]
        self.url, self.ops, self.admin = (f"http://127.0.0.1:{port}" for port in ports)
        self.file = self.folder / "llm-proxy.yaml"
        self.file.write_text(f"""
server:
  listen: "127.0.0.1:{ports[0]}"
  ops_listen: "127.0.0.1:{ports[1]}"
  admin_listen: "127.0.0.1:{ports[2]}"
  drain_timeout_s: 2
{f'storage: {storage}' if storage else ''}
limits:
  exchange_rates: [{{currency: USD, from: "2026-01-01", rate: "80"}}]
  {limits}
identity:
  static_keys: [{{name: static, key: "{STATIC_KEY}"}}]
  admin_keys: [{{name: test, key: "{ADMIN_KEY}"}}]
telemetry: {{access_log: errors}}
providers:
  gigachat:
    kind: gigachat
    base_url: "{simulator.url}/gigachat/api/v1"
    auth_url: "{simulator.url}/gigachat/api/v2/oauth"
    credentials: c2ltLWlkOnNpbS1zZWNyZXQ=
  openai: {{kind: openai, base_url: "{simulator.url}/openai/v1", api_key: sim-a}}
  anthropic: {{kind: anthropic, base_url: "{simulator.url}/anthropic", api_key: sim-a}}
models:
  - name: gigachat
    deployments:
      - provider: gigachat
        model: GigaChat-2-Pro
        price: {{prompt: "500", cached: "0", completion: "500"}}
  - name: openai
    deployments:
      - provider: openai
        model: gpt-4o-mini
        price: {{currency: USD, prompt: "0.15", cached: "0.075", completion: "0.6", vat: none}}
  - name: anthropic
    deployments:
      - provider: anthropic
        model: claude-sonnet-4-5
        price: {{currency: USD, prompt: "3", cached: "0.3", completion: "15", vat: none}}
  - name: embeddings
    deployments:
      - provider: openai
        model: text-embedding-3-small
        price: {{currency: USD, prompt: "0.02", completion: "0", vat: none}}
{models}
""")
        self.log = self.folder / "log"
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [BINARY, "serve", "--config", str(self.file)], stderr=self.log.open("a")
        )
        wait_until(lambda: httpx.get(self.ops + "/health/ready").is_success, 30)
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=20)

    def manage(self, method, path, body=None, key=ADMIN_KEY, **headers):
        answer = httpx.request(
            method,
            f"{self.admin}/admin/v1/{path}",
            json=body,
            headers={"authorization": f"Bearer {key}"} | headers,
        )
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def make_key(self, name="тест", policy=None, **more):
        """A tenant of its own, and a key of it."""
        tenant = self.manage("POST", "tenants", {"name": name})["id"]
        body = {"tenant": tenant, "name": name, "policy": policy or {}} | more
        made = self.manage("POST", "keys", body)
        self.wait_for_key(made["key"])
        return tenant, made

    def wait_for_key(self, key):
        """Changes are in force within two seconds."""
        listed = lambda: httpx.get(self.url + "/v1/models", headers=bearer(key)).is_success
        wait_until(listed, 2)

    def ask(self, key=STATIC_KEY, model="gigachat", text="Привет", client=httpx, **more):
        body = {"model": model, "messages": [{"role": "user", "content": text}]} | more
        return client.post(
            self.url + "/v1/chat/completions", json=body, headers=bearer(key), timeout=30
        )

    def spend(self, by="provider"):
        """Nano-roubles and entries of each group, once nothing waits in the journal."""
        time.sleep(0.6)
        rows = self.manage("GET", f"usage?by={by}")["data"]
        return {row["group"][by]: row for row in rows}

    def entries(self):
        page, entries = {"next": ""}, []
        while "next" in page:
            after = f"&after={page['next']}" if page["next"] else ""
            page = self.manage("GET", f"usage/entries?limit=1000{after}")
            entries += page["data"]
        return entries


def bearer(key):
    return {"authorization": f"Bearer {key}"}
