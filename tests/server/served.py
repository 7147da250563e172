"""`llm-proxy serve` as a process of the test's own."""

import json
import os
import pathlib
import socket
import subprocess
import time

import httpx

BINARY = os.environ.get("LLM_PROXY_BIN", "target/release/llm-proxy")
KEY = "sk-test-very-secret"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, seconds=10):
    deadline = time.time() + seconds
    while time.time() < deadline:
        try:
            if result := condition():
                return result
        except (httpx.HTTPError, OSError):
            pass
        time.sleep(0.05)
    raise AssertionError("it did not come to pass in time")


class Gateway:
    """`llm-proxy serve`, with a file that the test may rewrite."""

    def __init__(self, folder, simulator):
        self.file = pathlib.Path(folder) / "llm-proxy.yaml"
        self.log_file = pathlib.Path(folder) / "log.jsonl"
        self.simulator = simulator
        self.port, self.ops_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ops = f"http://127.0.0.1:{self.ops_port}"
        self.process = None

    def write(self, server="", models="", providers=""):
        self.file.write_text(f"""
server: {{listen: "127.0.0.1:{self.port}", ops_listen: "127.0.0.1:{self.ops_port}"{server}}}
telemetry: {{log_level: info}}
identity: {{static_keys: [{{name: dev, key: "{KEY}"}}]}}
routing: {{breaker: {{enabled: false}}}}
providers:
  vllm: {{kind: vllm, base_url: "{self.simulator}/vllm/v1", api_key: sim-a}}
  dead: {{kind: vllm, base_url: "http://127.0.0.1:1/v1", api_key: sim-a}}
{providers}
models:
  - {{name: main, deployments: [{{provider: vllm, model: qwen3-32b}}]}}
  - name: backed-up
    deployments:
      - {{provider: dead, model: qwen3-32b, priority: 1}}
      - {{provider: vllm, model: qwen3-32b, priority: 2}}
{models}
""")

    def start(self):
        self.process = subprocess.Popen(
            [BINARY, "serve", "--config", str(self.file)], stderr=self.log_file.open("w")
        )
        wait_until(lambda: httpx.get(self.ops + "/health/ready").is_success)
        return self

    def logs(self):
        return [json.loads(line) for line in self.log_file.read_text().splitlines()]

    def ask(self, text="[[sim: text=Да]] Привет", model="main", client=httpx, url=None, **more):
        return client.post(
            (url or self.url) + "/v1/chat/completions",
            json={"model": model, "messages": [{"role": "user", "content": text}], **more},
            headers={"authorization": f"Bearer {KEY}"},
            timeout=30,
        )
