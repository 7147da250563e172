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
    ({"model": "gigachat", "messages": [MESSAGE], "llm_proxy": {"cache": "off"}}, "unsupported_requirement", "llm_proxy.cache"),
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


WEBSOCKET_GARBAGE = {
    "no frame at all": b"\xff" * 200,
    "not masked": b"\x81\x05hello",
    "a length of exabytes": b"\x81\xff" + b"\x7f" * 8 + b"\x00" * 8,
    "text that is not UTF-8": b"\x81\x82\x00\x00\x00\x00\xff\xfe",
}


@pytest.mark.parametrize("garbage", WEBSOCKET_GARBAGE.values(), ids=WEBSOCKET_GARBAGE.keys())
def test_websocket_garbage_is_cut(demo, garbage):
    head = (
        f"GET /v1/responses HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {demo['keys']['default']}\r\n"
        "upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\n"
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    received = raw(demo, head.encode() + garbage, wait=5)
    assert received == b"reset" or received.startswith(b"HTTP/1.1 101")


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b'{"model": "' + b"a" * (34 << 20) + b'"}', 413, "request_too_large"),
        ({"model": "нет такой", "max_tokens": 5, "messages": [MESSAGE]}, 404, "not_found_error"),
        ({"model": "vllm", "max_tokens": 5, "messages": [{"role": "user", "content": "[[sim: status=429]]"}]}, 429, "rate_limit_error"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "invalid_request_error"),
        (b'{"model": "vllm", "messages": "\xff"}', 400, "invalid_request_error"),
        (b'{"model": "a", "model": "b"}', 400, "invalid_request_error"),
    ],
)
def test_every_error_to_an_anthropic_caller_has_anthropics_shape(http, body, status, kind):
    answer = post(http, body, path="/v1/messages")
    assert answer.status_code == status, answer.text
    assert answer.json()["type"] == "error" and answer.json()["error"]["type"] == kind


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/completions", "/v1/embeddings", "/v1/moderations"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b'{"model": "vllm", "model": "openai"}',
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model": "vllm", "input": "\xff", "prompt": "\xff"}',
        {"model": "vllm", "input": {"a": 1}, "prompt": {"a": 1}},
        {"model": "vllm", "input": [], "prompt": []},
    ],
)
def test_other_surfaces_refuse_as_clearly(http, path, body):
    answer = post(http, body, path=path)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/embeddings", "/v1/moderations"])
def test_a_missing_input_is_named(http, path):
    answer = post(http, {"model": "vllm"}, path=path)
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "input"


def test_a_missing_prompt_is_named_where_the_provider_has_no_default(http):
    answer = post(http, {"model": "gigachat"}, path="/v1/completions")
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "prompt"


REQUEST_LINE = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"


@pytest.mark.parametrize(
    "rest",
    [
        b"content-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
        b"content-length: -5\r\n\r\n",
        b"content-length: 99999999999999\r\n\r\n",
        b"transfer-encoding: chunked\r\n\r\nZZ\r\nabc\r\n",
        b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_bodies_of_doubtful_length_are_refused(demo, rest):
    key = f"authorization: Bearer {demo['keys']['default']}\r\nconnection: close\r\n"
    answer = raw(demo, REQUEST_LINE + key.encode() + rest)
    assert answer == b"reset" or answer.split(b" ")[1] in (b"400", b"413"), answer[:200]

