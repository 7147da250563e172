"""Wrong input of every kind: a clear answer in the caller's dialect, and a process that lives on."""

import gzip
import json
import socket

import pytest


@pytest.fixture(autouse=True)
def alive(http):
    yield
    answer = http.post(
        "/v1/chat/completions",
        json={"model": "vllm", "messages": [{"role": "user", "content": "[[sim: text=жив]] Да"}]},
    )
    assert answer.json()["choices"][0]["message"]["content"] == "жив"


def post(http, body, path="/v1/chat/completions", **headers):
    if not isinstance(body, bytes):
        body = json.dumps(body, ensure_ascii=False).encode()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return http.post(path, content=body, headers={"content-type": "application/json", **headers})


MESSAGE = {"role": "user", "content": "Да"}

BAD_CHATS = [
    (b"", "invalid_json", None),
    (b"{", "invalid_json", None),
    (b"[]", "invalid_json", None),
    (b'{"model": "gigachat", "messages": [{"role": "user", "content": "\xff"}]}', "invalid_json", None),
    (b'{"model": "gigachat\x00", "messages": []}', "invalid_json", None),
    (b'{"model": "a", "model": "b", "messages": [{}]}', "duplicate_member", "model"),
    (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", "nesting_too_deep", None),
    ({"messages": [MESSAGE]}, "missing_required_parameter", "model"),
    ({"model": 5, "messages": [MESSAGE]}, None, "model"),
    ({"model": "gigachat"}, "missing_required_parameter", "messages"),
    ({"model": "gigachat", "messages": []}, "empty_array", "messages"),
    ({"model": "gigachat", "messages": "Да"}, None, "messages"),
    ({"model": "gigachat", "messages": [{"role": "чужой", "content": "Да"}]}, None, "messages[0].role"),
    ({"model": "gigachat", "messages": [{"role": 5, "content": "Да"}]}, None, "messages[0].role"),
    ({"model": "gigachat", "messages": [MESSAGE], "stream": "да"}, None, "stream"),
    ({"model": "gigachat", "messages": [MESSAGE], "temperature": "тепло"}, None, "temperature"),
    (
        {"model": "gigachat", "messages": [{"role": "tool", "tool_call_id": "x", "content": "1"}]},
        None,
        "messages[0].tool_call_id",
    ),
    ({"model": "gigachat", "messages": [MESSAGE], "llm_proxy": {"max_cost": 1}}, "unsupported_requirement", "llm_proxy.max_cost"),
    ({"model": "openai", "messages": [MESSAGE], "llm_proxy": {"residency": "russia"}}, "residency_not_available", "llm_proxy.residency"),
]


@pytest.mark.parametrize(("body", "code", "param"), BAD_CHATS)
def test_bad_chats_are_named(http, body, code, param):
    answer = post(http, body)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["message"] and error["type"] == "invalid_request_error"
    if code:
        assert error["code"] == code
    assert error["param"] == param


def test_anthropic_callers_get_anthropics_errors(http):
    for body in [b"{", {"model": "gigachat", "messages": []}, {"model": "gigachat", "messages": [MESSAGE]}]:
        answer = post(http, body, path="/v1/messages")
        assert answer.status_code == 400
        assert answer.json()["type"] == "error"
        assert answer.json()["error"]["type"] == "invalid_request_error"
        assert answer.headers["request-id"] == answer.json()["request_id"]
    answer = http.post("/v1/messages", headers={"authorization": ""}, json={})
    assert answer.status_code == 401 and answer.json()["error"]["type"] == "authentication_error"


def test_unknown_models_paths_and_methods(http):
    answer = post(http, {"model": "нет такой", "messages": [MESSAGE]})
    assert answer.status_code == 404 and "gigachat" in answer.json()["error"]["message"]
    assert http.get("/v1/nothing").status_code == 404
    assert http.get("/v1/chat/completions").status_code == 405
    assert http.post("/v1/models").status_code == 405


def test_large_bodies_are_refused(http):
    answer = post(http, b'{"model": "' + b"a" * (50 << 20) + b'"}')
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "request_too_large"
    bomb = gzip.compress(b" " * (200 << 20))
    answer = post(http, bomb, content_encoding="gzip")
    assert answer.status_code == 413
    assert post(http, b"no gzip", content_encoding="gzip").status_code == 400
    assert post(http, b"{}", content_encoding="br").status_code == 415
    packed = gzip.compress(json.dumps({"model": "vllm", "messages": [MESSAGE]}).encode())
    assert post(http, packed, content_encoding="gzip").status_code == 200
    assert http.post("/v1/chat/completions", content=b"a=b", headers={"content-type": "application/x-www-form-urlencoded"}).status_code == 415


def raw(demo, data, wait=15.0):
    host, port = demo["base_url"].removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=wait) as connection:
        try:
            connection.sendall(data)
            received = b""
            while chunk := connection.recv(65536):
                received += chunk
        except (ConnectionResetError, BrokenPipeError):
            return b"reset"
        return received


def test_header_floods_and_garbage_are_cut(demo):
    flood = b"".join(b"x-%d: y\r\n" % number for number in range(5000))
    answer = raw(demo, b"GET /v1/models HTTP/1.1\r\nhost: x\r\n" + flood + b"\r\n")
    assert answer == b"reset" or b"431" in answer.split(b"\r\n")[0]
    long = b"GET /v1/models HTTP/1.1\r\nhost: x\r\nx: " + b"y" * (1 << 20) + b"\r\n\r\n"
    answer = raw(demo, long)
    assert answer == b"reset" or answer[9:10] == b"4"
    for garbage in [b"\x16\x03\x01\x00\xa5", b"HELO\r\n\r\n", b"\x00" * 100 + b"\r\n\r\n"]:
        answer = raw(demo, garbage)
        assert answer in (b"", b"reset") or answer[9:10] == b"4"


def test_half_requests_are_not_waited_for(demo):
    assert raw(demo, b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n", wait=15) in (b"", b"reset")
