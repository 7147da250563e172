"""curl, and the examples of the README."""

import json
import pathlib
import re
import subprocess
import sys

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


@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
def test_a_large_body_gets_through_whole(demo, simulator, tmp_path, version):
    file = tmp_path / "body.json"
    content = f"[[sim: text=Дошло]] {version} " + "слово " * (1 << 20)
    file.write_text(json.dumps({"model": "vllm", "messages": [{"role": "user", "content": content}]}))
    address, *headers = request(demo, {})[:-2]
    answer = json.loads(curl(version, address, *headers, "--data-binary", f"@{file}"))
    assert answer["choices"][0]["message"]["content"] == "Дошло"
    assert answer["usage"]["prompt_tokens"] > 1 << 20


README = pathlib.Path(__file__).parents[2] / "README.md"


def readme_examples(language, word):
    blocks = re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)
    return [block for block in blocks if word in block]


def pointed_at(demo, example):
    assert "http://127.0.0.1:8080" in example and "sk-demo-default" in example
    example = example.replace("http://127.0.0.1:8080", demo["base_url"])
    return example.replace("sk-demo-default", demo["keys"]["default"])


def test_the_examples_of_the_readme_run(demo):
    shells = readme_examples("sh", "curl ")
    assert shells
    for shell in shells:
        done = subprocess.run(
            ["sh", "-c", pointed_at(demo, shell)], capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 0, done.stderr
        if '"stream": true' in shell:
            assert done.stdout.endswith("data: [DONE]\n\n"), done.stdout
        else:
            assert json.loads(done.stdout)["choices"][0]["message"]["content"]
    examples = readme_examples("python", "import")
    assert len(examples) == 2
    for example in examples:
        done = subprocess.run(
            [sys.executable, "-c", pointed_at(demo, example)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0 and done.stdout.strip(), done.stderr
