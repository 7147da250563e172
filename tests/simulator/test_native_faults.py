"""Faults, bills and disconnects of the three providers that speak their own formats, as bytes."""

import base64
import json
import time
import uuid

import httpx
import pytest

LONG = "[[sim: chunks=200; chunk_tokens=1; between_ms=20]]"


class Anthropic:
    name, bill_key = "anthropic", "anthropic:sim-a"

    def send(self, base_url, text, stream):
        return ("POST", f"{base_url}/anthropic/v1/messages"), {
            "headers": {"x-api-key": "sim-a", "anthropic-version": "2023-06-01"},
            "json": {"model": "claude-sonnet-4-6", "max_tokens": 1000, "stream": stream,
                     "messages": [{"role": "user", "content": text}]},
        }

    def usage(self, body):
        return body["usage"]["input_tokens"], body["usage"]["output_tokens"]

    def ended(self, text):
        return "event: message_stop" in text

    def failed(self, text):
        return '"overloaded_error"' in text and not self.ended(text)


class GigaChat:
    name, bill_key = "gigachat", "gigachat:sim-a"

    def send(self, base_url, text, stream):
        token = httpx.post(
            f"{base_url}/gigachat/api/v2/oauth", data={"scope": "GIGACHAT_API_PERS"},
            headers={"Authorization": "Basic " + base64.b64encode(b"sim-a:x").decode(),
                     "RqUID": str(uuid.uuid4())},
        ).json()["access_token"]
        return ("POST", f"{base_url}/gigachat/api/v1/chat/completions"), {
            "headers": {"Authorization": f"Bearer {token}"},
            "json": {"model": "GigaChat-2", "stream": stream, "messages": [{"role": "user", "content": text}]},
        }

    def usage(self, body):
        return body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]

    def ended(self, text):
        return "data: [DONE]" in text

    def failed(self, text):
        return '"status":500' in text and not self.ended(text)


class Yandex:
    name, bill_key = "yandex", "yandex:sim-a"

    def send(self, base_url, text, stream):
        return ("POST", f"{base_url}/yandex/foundationModels/v1/completion"), {
            "headers": {"Authorization": "Api-Key sim-a"},
            "json": {"modelUri": "gpt://b1g/yandexgpt/latest", "completionOptions": {"stream": stream},
                     "messages": [{"role": "user", "text": text}]},
        }

    def usage(self, body):
        usage = body["result"]["usage"]
        return int(usage["inputTextTokens"]), int(usage["completionTokens"])

    def ended(self, text):
        return "ALTERNATIVE_STATUS_FINAL" in text

    def failed(self, text):
        return '"grpcCode":14' in text and not self.ended(text)


@pytest.fixture(params=[Anthropic(), GigaChat(), Yandex()], ids=lambda provider: provider.name)
def provider(request):
    return request.param


@pytest.fixture
def call(simulator, provider):
    def call(script, stream=False, timeout=10):
        (method, url), kwargs = provider.send(simulator.base_url, f"Привет [[sim: {script}]]", stream)
        return httpx.request(method, url, timeout=timeout, **kwargs)

    return call


def test_whole_answers_that_are_no_answers(call):
    assert call("empty").content == b""
    with pytest.raises(ValueError):
        call("garbage").json()
    wrong = call("ok_with_error_body")
    assert wrong.status_code == 200 and "error" in wrong.text.lower()


def test_no_answer_at_all(call):
    with pytest.raises(httpx.TransportError):
        call("reset")
    with pytest.raises(httpx.ReadTimeout):
        call("hang", timeout=0.5)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("shape", ["split_utf8", "split_escapes", "slow_loris=0.05"])
def test_shapes_change_no_content(call, provider, stream, shape):
    answer = call(f"text=ёж 🦔 и «кавычки»; {shape}", stream)
    assert answer.status_code == 200
    if stream:
        assert provider.ended(answer.text)
    else:
        assert "ёж 🦔 и «кавычки»" in json.dumps(answer.json(), ensure_ascii=False)


def test_streams_that_break(call, provider):
    assert provider.failed(call("error_in_stream_after=2", stream=True).text)
    for script in ("reset_after=2", "cut_after=2"):
        try:
            assert not provider.ended(call(script, stream=True).text)
        except httpx.TransportError:
            pass
    assert call("garbage_after=2", stream=True).status_code == 200
    assert call("empty", stream=True).content == b""


def test_errors_come_before_the_stream(call):
    for stream in (False, True):
        answer = call("status=503; message=перегрузка", stream)
        assert answer.status_code == 503 and "перегрузка" in answer.text
        assert answer.headers["content-type"] == "application/json"
        assert "retry-after" not in answer.headers


def test_the_bill_is_what_was_reported(simulator, call, provider):
    sums = [0, 0]
    for script in ("text=раз два три", "chunks=7; chunk_tokens=3"):
        sums = [total + part for total, part in zip(sums, provider.usage(call(script).json()))]
    bill = simulator.bill()[provider.bill_key]
    assert bill["calls"] == 2
    assert [bill["prompt_tokens"], bill["completion_tokens"]] == sums
    assert all(cost > 0 for cost in bill["cost_micro"].values())


def test_rate_limits(simulator, call):
    simulator.set_profile({"rate_limit": {"requests_per_minute": 1}})
    statuses = [call("text=a").status_code for _ in range(3)]
    assert statuses.count(429) >= 1
    refused = call("text=a")
    assert refused.status_code == 429 and int(refused.headers["retry-after"]) <= 60


def test_a_client_that_leaves_is_seen(simulator, provider):
    (method, url), kwargs = provider.send(simulator.base_url, f"Привет {LONG}", True)
    with httpx.stream(method, url, timeout=10, **kwargs) as answer:
        next(answer.iter_raw())
    for _ in range(100):
        last = simulator.requests()[-1]
        if last["outcome"] != "running":
            break
        time.sleep(0.02)
    assert last["outcome"] == "client_gone" and last["events_sent"] < 200


def test_same_request_same_answer(simulator, call):
    def answer():
        body = call("tools=1").json()
        body.pop("created", None)
        return body

    first = answer()
    simulator.reset()
    assert answer() == first
