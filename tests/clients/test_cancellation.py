"""Callers who go away, and callers who read slowly."""

import json
import socket
import subprocess
import time

import httpx
import pytest
from test_websocket import wait_for_client_gone


@pytest.mark.parametrize("model", ["vllm", "gigachat", "yandexgpt", "anthropic"])
def test_leaving_a_stream_cancels_the_provider(http, simulator, model):
    mark = f"leaving {model} {time.time()}"
    body = {
        "model": model,
        "stream": True,
        "messages": [{"role": "user", "content": f"[[sim: chunks=300; between_ms=40]] {mark}"}],
    }
    with http.stream("POST", "/v1/chat/completions", json=body) as response:
        for number, _ in enumerate(response.iter_lines()):
            if number > 3:
                break
    wait_for_client_gone(simulator, mark)


def test_leaving_before_the_first_byte_cancels_the_provider(demo, simulator):
    mark = f"impatience {time.time()}"
    body = {"model": "vllm", "messages": [{"role": "user", "content": f"[[sim: hang]] {mark}"}]}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            demo["base_url"] + "/v1/chat/completions",
            json=body,
            headers={"authorization": "Bearer " + demo["keys"]["default"]},
            timeout=httpx.Timeout(5, read=0.5),
        )
    wait_for_client_gone(simulator, mark)


SURFACES = {
    "/v1/chat/completions": lambda text: {"messages": [{"role": "user", "content": text}]},
    "/v1/messages": lambda text: {"max_tokens": 500, "messages": [{"role": "user", "content": text}]},
    "/v1/responses": lambda text: {"input": text},
    "/v1/completions": lambda text: {"prompt": text},
}


@pytest.mark.parametrize("path", SURFACES)
def test_leaving_over_http2_cancels_the_provider(demo, simulator, path):
    mark = f"leaving {path} {time.time()}"
    script = f"[[sim: chunks=300; between_ms=40]] {mark}"
    with subprocess.Popen(
        ["curl", "-sN", "--http2-prior-knowledge", demo["base_url"] + path]
        + ["-H", "authorization: Bearer " + demo["keys"]["default"]]
        + ["-H", "content-type: application/json"]
        + ["-d", json.dumps({"model": "gigachat", "stream": True, **SURFACES[path](script)})],
        stdout=subprocess.PIPE,
    ) as curl:
        assert curl.stdout.readline()
        curl.kill()
    wait_for_client_gone(simulator, mark)


def resident_bytes(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_a_slow_reader_holds_little_memory(demo):
    body = (
        '{"model":"vllm","stream":true,"messages":[{"role":"user",'
        '"content":"[[sim: chunks=200000; chunk_tokens=20]] x"}]}'
    ).encode()
    address = demo["base_url"].removeprefix("http://").split(":")
    before = resident_bytes(demo["pid"])
    with socket.create_connection((address[0], int(address[1]))) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            f"authorization: Bearer {demo['keys']['default']}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        connection.sendall(head.encode() + body)
        connection.recv(1000)
        time.sleep(1.5)
        # The simulator is in the same process: its answer alone is some 20 MB if nobody holds it.
        assert resident_bytes(demo["pid"]) - before < 30 << 20
