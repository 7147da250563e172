"""Limits of requests, tokens and parallel requests."""

import concurrent.futures

import httpx
from running import bearer


def test_parallel_requests_cannot_pass_a_token_limit(gateway):
    """LiteLLM lets 663 tokens through a limit of 100."""
    _, key = gateway.make_key(policy={"limits": {"tokens_per_minute": 100}})
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(gateway.ask, key["key"], max_tokens=40) for _ in range(5)]
        answers = [one.result() for one in asked]
    used = sum(answer.json()["usage"]["total_tokens"] for answer in answers if answer.is_success)
    assert used <= 100
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    error = refused[0].json()["error"]
    assert error["code"] == "rate_limit_exceeded"
    assert "tokens_per_minute of 100 of the key" in error["message"]
    assert int(refused[0].headers["retry-after"]) > 0


def test_requests_in_a_minute_and_their_headers(gateway):
    _, key = gateway.make_key(policy={"limits": {"requests_per_minute": 3}})
    answers = [gateway.ask(key["key"]) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    first = answers[0].headers
    assert first["x-ratelimit-limit-requests"] == "3"
    assert first["x-ratelimit-remaining-requests"] == "2"
    assert first["x-ratelimit-reset-requests"].endswith("s")
    assert 1 <= int(answers[3].headers["retry-after"]) <= 20


def test_anthropic_callers_get_their_own_headers(gateway):
    _, key = gateway.make_key(policy={"limits": {"requests_per_minute": 1}})
    body = {"model": "anthropic", "max_tokens": 20, "messages": [{"role": "user", "content": "Да"}]}
    ask = lambda: httpx.post(gateway.url + "/v1/messages", json=body, headers={"x-api-key": key["key"]})
    answer, refused = ask(), ask()
    assert answer.headers["anthropic-ratelimit-requests-limit"] == "1"
    assert answer.headers["anthropic-ratelimit-requests-reset"].endswith("Z")
    assert refused.status_code == 429 and refused.json()["error"]["type"] == "rate_limit_error"


def test_parallel_requests_are_bounded_and_given_back(gateway):
    _, key = gateway.make_key(policy={"limits": {"parallel_requests": 2}})
    slow = "[[sim: first_token_ms=700]] Подумай"
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(gateway.ask, key["key"], text=slow) for _ in range(5)]
        codes = sorted(one.result().status_code for one in asked)
    assert codes == [200, 200, 429, 429, 429]
    assert gateway.ask(key["key"]).is_success


def test_keys_are_refused_with_a_reason(gateway):
    _, key = gateway.make_key(policy={"models": ["gigachat"], "surfaces": ["chat_completions"]})
    assert gateway.ask(key["key"]).is_success
    assert gateway.ask(key["key"], model="openai").json()["error"]["code"] == "model_not_found"
    body = {"model": "gigachat", "input": "Да"}
    refused = httpx.post(gateway.url + "/v1/embeddings", json=body, headers=bearer(key["key"]))
    assert refused.status_code == 403 and refused.json()["error"]["code"] == "surface_not_allowed"
    rotated = gateway.manage("POST", f"keys/{key['id']}/rotate", {"overlap_s": 0})
    gateway.wait_for_key(rotated["key"])
    assert gateway.ask(key["key"]).json()["error"]["code"] == "invalid_api_key"
    gateway.manage("POST", f"keys/{key['id']}/block")
    for _ in range(40):
        answer = gateway.ask(rotated["key"])
        if answer.status_code == 403:
            break
    assert answer.json()["error"]["code"] == "key_blocked"
