"""One demo (simulator, gateway, keys) for all client tests."""

import json
import os
import signal
import subprocess

import anthropic
import httpx
import openai
import pytest

BINARY = os.environ.get("LLM_PROXY_BIN", "target/release/llm-proxy")


@pytest.fixture(scope="session")
def demo():
    process = subprocess.Popen(
        [BINARY, "demo", "--listen", "127.0.0.1:0", "--json"], stdout=subprocess.PIPE, text=True
    )
    try:
        yield {**json.loads(process.stdout.readline()), "pid": process.pid}
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0


@pytest.fixture(scope="session")
def openai_client(demo):
    return openai.OpenAI(
        base_url=demo["base_url"] + "/v1", api_key=demo["keys"]["default"], max_retries=0
    )


@pytest.fixture(scope="session")
def anthropic_client(demo):
    return anthropic.Anthropic(
        base_url=demo["base_url"], api_key=demo["keys"]["default"], max_retries=0
    )


@pytest.fixture(scope="session")
def http(demo):
    with httpx.Client(
        base_url=demo["base_url"],
        headers={"authorization": "Bearer " + demo["keys"]["default"]},
        timeout=30,
    ) as client:
        yield client


@pytest.fixture
def simulator(demo):
    """Control of the simulated providers."""
    with httpx.Client(base_url=demo["simulator_url"], timeout=10) as client:
        yield client
