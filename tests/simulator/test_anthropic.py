"""The Anthropic SDK straight at the simulator."""

import json

import anthropic
import httpx
import pytest

MODEL = "claude-sonnet-5"
WEATHER = {
    "name": "get_weather",
    "description": "Погода в городе",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture
def client(simulator):
    return anthropic.Anthropic(base_url=f"{simulator.base_url}/anthropic", api_key="sim-anthropic", max_retries=0)


def ask(client, text, **kwargs):
    kwargs.setdefault("max_tokens", 1000)
    return client.messages.create(
        model=MODEL, messages=[{"role": "user", "content": text}], **kwargs
    )


def stream_text(client, text, **kwargs):
    kwargs.setdefault("max_tokens", 1000)
    with client.messages.stream(
        model=MODEL, messages=[{"role": "user", "content": text}], **kwargs
    ) as stream:
        pieces = list(stream.text_stream)
        return pieces, stream.get_final_message()


def test_plain(client):
    message = ask(client, "Привет, как дела?", system="Будь краток")
    assert message.type == "message" and message.role == "assistant"
    assert message.content[0].text.startswith("Это ответ")
    assert message.stop_reason == "end_turn" and message.stop_sequence is None
    assert message.id.startswith("msg_") and message._request_id.startswith("req_")
    assert message.usage.input_tokens > 0 and message.usage.output_tokens > 0


def test_echo_and_bearer(simulator):
    client = anthropic.Anthropic(base_url=f"{simulator.base_url}/anthropic", auth_token="sim-bearer", max_retries=0)
    assert ask(client, "Ёжик 🦔 и \\u0416 [[sim: echo]]").content[0].text.strip() == "Ёжик 🦔 и \\u0416"


@pytest.mark.parametrize("shape", ["", "; split_utf8", "; split_escapes", "; slow_loris=0.1"])
def test_stream_joins_to_whole(client, shape):
    pieces, message = stream_text(client, f"Скажи [[sim: text=Съешь ещё этих булок 🥐🥐, да выпей чаю{shape}]]")
    assert "".join(pieces) == "Съешь ещё этих булок 🥐🥐, да выпей чаю"
    assert len(pieces) > 3
    assert message.stop_reason == "end_turn" and message.usage.output_tokens > 0


def test_event_order(simulator):
    response = httpx.post(
        f"{simulator.base_url}/anthropic/v1/messages",
        headers={"x-api-key": "sim-a", "anthropic-version": "2023-06-01"},
        json={"model": MODEL, "max_tokens": 100, "stream": True,
              "messages": [{"role": "user", "content": "Привет"}]},
    )
    assert response.headers["content-type"].startswith("text/event-stream")
    names = [line[7:] for line in response.text.splitlines() if line.startswith("event: ")]
    assert names[:3] == ["message_start", "content_block_start", "ping"]
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(names[3:-3]) == {"content_block_delta"}


def test_two_tools_and_results(client):
    question = {"role": "user", "content": "Погода в Москве и Туле? [[sim: tools=2]]"}
    message = client.messages.create(model=MODEL, max_tokens=500, messages=[question], tools=[WEATHER])
    uses = [block for block in message.content if block.type == "tool_use"]
    assert message.stop_reason == "tool_use" and len(uses) == 2
    assert uses[0].id != uses[1].id and all(isinstance(use.input["city"], str) for use in uses)
    results = [
        {"type": "tool_result", "tool_use_id": use.id, "content": f"{degrees}°C"}
        for use, degrees in zip(uses, (7, 9))
    ]
    final = client.messages.create(
        model=MODEL, max_tokens=500, tools=[WEATHER],
        messages=[question, {"role": "assistant", "content": message.content},
                  {"role": "user", "content": results}],
    )
    assert "7°C" in final.content[0].text and "9°C" in final.content[0].text


def test_streamed_tools(client):
    with client.messages.stream(
        model=MODEL, max_tokens=500, tools=[WEATHER],
        messages=[{"role": "user", "content":
                   'x [[sim: tool=get_weather{"city":"Орёл"}; tool=get_weather{"city":"Тула"}]]'}],
    ) as stream:
        fragments = [event.partial_json for event in stream if event.type == "input_json"]
        message = stream.get_final_message()
    assert [block.input["city"] for block in message.content] == ["Орёл", "Тула"]
    assert json.loads("[" + "".join(fragments).replace("}{", "},{") + "]")[0] == {"city": "Орёл"}
    assert message.stop_reason == "tool_use"


def test_tool_choice(client):
    forced = ask(client, "Привет", tools=[WEATHER], tool_choice={"type": "tool", "name": "get_weather"})
    assert forced.content[0].type == "tool_use"
    required = ask(client, "Привет", tools=[WEATHER], tool_choice={"type": "any"})
    assert required.content[0].type == "tool_use"
    forbidden = ask(client, "погода", tools=[WEATHER], tool_choice={"type": "none"})
    assert forbidden.content[0].type == "text"
    single = ask(client, "погода [[sim: tools=2]]", tools=[WEATHER],
                 tool_choice={"type": "auto", "disable_parallel_tool_use": True})
    assert len(single.content) == 1


@pytest.mark.parametrize("streamed", [False, True])
def test_thinking(client, streamed):
    thinking = {"type": "adaptive"}
    text = "Сколько будет 2+2? [[sim: reasoning=Складываю два и два; text=4]]"
    if streamed:
        _, message = stream_text(client, text, max_tokens=4000, thinking=thinking)
    else:
        message = ask(client, text, max_tokens=4000, thinking=thinking)
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[0].thinking == "Складываю два и два"
    assert message.content[1].text == "4"
    assert message.usage.output_tokens_details.thinking_tokens > 0
    follow_up = client.messages.create(
        model=MODEL, max_tokens=4000, thinking=thinking,
        messages=[{"role": "user", "content": "а"},
                  {"role": "assistant", "content": message.content},
                  {"role": "user", "content": "дальше"}],
    )
    assert follow_up.content


def test_older_version_and_model_take_sampling_and_budget(client):
    kwargs = {"model": "claude-haiku-4-5-20251001", "max_tokens": 2000,
              "messages": [{"role": "user", "content": "Привет"}]}
    older = {"anthropic-version": "2023-06-01"}
    client.messages.create(**kwargs, extra_body={"temperature": 0.3}, extra_headers=older)
    thought = client.messages.create(
        **kwargs, thinking={"type": "enabled", "budget_tokens": 1024}, extra_headers=older)
    assert thought.content[0].type == "thinking"
    with pytest.raises(anthropic.BadRequestError, match="temperature: Extra inputs"):
        client.messages.create(**kwargs, extra_body={"temperature": 0.3})
    with pytest.raises(anthropic.BadRequestError, match="deprecated for this model"):
        client.messages.create(**{**kwargs, "model": MODEL}, extra_body={"temperature": 0.3},
                               extra_headers=older)


def test_structured_output(client):
    schema = {
        "type": "object", "additionalProperties": False, "required": ["город", "градусы"],
        "properties": {"город": {"type": "string"}, "градусы": {"type": "integer"}},
    }
    message = ask(client, "Прогноз", output_config={"format": {"type": "json_schema", "schema": schema}})
    value = json.loads(message.content[0].text)
    assert isinstance(value["город"], str) and isinstance(value["градусы"], int)


def test_parsed_output_and_tool_runner(client):
    import pydantic

    class Forecast(pydantic.BaseModel):
        city: str
        degrees: int

    parsed = client.messages.parse(
        model=MODEL, max_tokens=300, output_format=Forecast,
        messages=[{"role": "user", "content": "Прогноз"}])
    assert isinstance(parsed.parsed_output.degrees, int)

    @anthropic.beta_tool
    def get_weather(city: str) -> str:
        """Погода в городе."""
        return f"{city}: +5"

    answers = list(client.beta.messages.tool_runner(
        model=MODEL, max_tokens=300, tools=[get_weather],
        messages=[{"role": "user", "content": "Какая погода?"}]))
    assert [answer.stop_reason for answer in answers] == ["tool_use", "end_turn"]
    assert "+5" in answers[-1].content[0].text


def test_images(client):
    for source in (
        {"type": "base64", "media_type": "image/png", "data": PIXEL},
        {"type": "url", "url": "https://example.com/cat.png"},
    ):
        message = client.messages.create(
            model=MODEL, max_tokens=200,
            messages=[{"role": "user", "content": [
                {"type": "image", "source": source}, {"type": "text", "text": "Что это?"}]}],
        )
        assert message.usage.input_tokens > 1000


def test_stops(client):
    stopped = ask(client, "x [[sim: text=раз два СТОП три]]", stop_sequences=["СТОП"])
    assert stopped.stop_reason == "stop_sequence" and stopped.stop_sequence == "СТОП"
    assert stopped.content[0].text == "раз два "
    assert ask(client, "Привет", max_tokens=3).stop_reason == "max_tokens"
    assert ask(client, "x [[sim: finish=content_filter]]").stop_reason == "refusal"


def test_cached_tokens(client):
    usage = ask(client, "длинный вопрос " * 20 + "[[sim: cached_tokens=10]]").usage
    assert usage.cache_read_input_tokens == 10 and usage.input_tokens > 0


def test_cache_writes(client):
    system = [{"type": "text", "text": "длинная инструкция " * 500, "cache_control": {"type": "ephemeral"}}]
    usage = ask(client, "Привет", system=system).usage
    assert usage.cache_creation_input_tokens > 1024
    assert usage.cache_creation.ephemeral_5m_input_tokens == usage.cache_creation_input_tokens
    plain = ask(client, "Привет", system=system[0]["text"]).usage
    assert plain.cache_creation_input_tokens == 0
    assert plain.input_tokens == usage.input_tokens + usage.cache_creation_input_tokens


def test_count_tokens_and_models(client):
    counted = client.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "Привет"}])
    assert counted.input_tokens == ask(client, "Привет").usage.input_tokens
    models = list(client.models.list())
    assert MODEL in [model.id for model in models]
    assert client.models.retrieve(MODEL).display_name
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("gpt-4o")


@pytest.mark.parametrize(("status", "error", "kind"), [
    (400, anthropic.BadRequestError, "invalid_request_error"),
    (401, anthropic.AuthenticationError, "authentication_error"),
    (403, anthropic.PermissionDeniedError, "permission_error"),
    (413, anthropic.APIStatusError, "request_too_large"),
    (429, anthropic.RateLimitError, "rate_limit_error"),
    (500, anthropic.InternalServerError, "api_error"),
    (529, anthropic.APIStatusError, "overloaded_error"),
])
def test_error_statuses(client, status, error, kind):
    with pytest.raises(error) as caught:
        ask(client, f"x [[sim: status={status}; retry_after=2]]")
    assert caught.value.status_code == status
    assert caught.value.body["error"]["type"] == kind
    assert caught.value.request_id == caught.value.body["request_id"]
    assert caught.value.response.headers["retry-after"] == "2"


def test_rate_limit_headers(client):
    raw = client.messages.with_raw_response.create(
        model=MODEL, max_tokens=10, messages=[{"role": "user", "content": "x"}])
    for kind in ("requests", "tokens", "input-tokens", "output-tokens"):
        for what in ("limit", "remaining", "reset"):
            assert raw.headers[f"anthropic-ratelimit-{kind}-{what}"]


def test_requests_that_are_refused(simulator, client):
    with pytest.raises(anthropic.AuthenticationError):
        ask(anthropic.Anthropic(base_url=f"{simulator.base_url}/anthropic", api_key="wrong", max_retries=0), "x")
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(model="nope", max_tokens=1, messages=[{"role": "user", "content": "x"}])
    with pytest.raises(anthropic.BadRequestError, match="Extra inputs"):
        ask(client, "x", extra_body={"frequency_penalty": 1})
    response = httpx.post(f"{simulator.base_url}/anthropic/v1/messages", headers={"x-api-key": "sim-a"}, json={})
    assert response.status_code == 400 and "anthropic-version" in response.json()["error"]["message"]


def test_stream_failures(client):
    with pytest.raises(anthropic.APIStatusError) as caught:
        stream_text(client, "x [[sim: error_in_stream_after=2]]")
    assert caught.value.body["error"]["type"] == "overloaded_error"
    with pytest.raises(Exception):
        stream_text(client, "x [[sim: reset_after=2]]")
    with pytest.raises(Exception):
        stream_text(client, "x [[sim: garbage_after=2]]")
    with pytest.raises(anthropic.APIConnectionError):
        ask(client, "x [[sim: reset]]")
