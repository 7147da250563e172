"""curl, as in the README."""

import json
import subprocess

import pytest


def curl(*arguments):
    done = subprocess.run(["curl", "-sS", *arguments], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def request(demo, body):
    return [
        demo["base_url"] + "/v1/chat/completions",
        "-H",
        "Authorization: Bearer " + demo["keys"]["default"],
        "-H",
        "Content-Type: application/json",
        "-d",
        json.dumps(body),
    ]


@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
def test_both_versions_of_http(demo, version):
    body = {"model": "gigachat", "messages": [{"role": "user", "content": "[[sim: text=Привет]] Да"}]}
    answer = json.loads(curl(version, *request(demo, body)))
    assert answer["choices"][0]["message"]["content"] == "Привет"
    text = curl(version, "-N", *request(demo, {**body, "stream": True}))
    assert text.endswith("data: [DONE]\n\n")
    assert all(line.startswith("data: ") for line in text.split("\n\n") if line)


def test_headers_say_who_served(demo):
    body = {"model": "chat", "messages": [{"role": "user", "content": "Да"}]}
    head = curl("-D", "-", "-o", "/dev/null", *request(demo, body)).lower()
    for line in [
        "x-llm-proxy-route: chat",
        "x-llm-proxy-provider: gigachat",
        "x-llm-proxy-model: gigachat-2-pro",
        "x-llm-proxy-attempts: 1",
        "x-llm-proxy-overhead-us: ",
        "x-request-id: ",
    ]:
        assert line in head, head


def test_a_request_id_of_the_caller_is_kept(demo):
    body = {"model": "chat", "messages": [{"role": "user", "content": "Да"}]}
    head = curl("-D", "-", "-o", "/dev/null", "-H", "X-Request-ID: my-1", *request(demo, body))
    assert "x-request-id: my-1" in head.lower()
