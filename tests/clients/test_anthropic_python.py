"""The official Anthropic SDK, over every provider."""

import anthropic
import pytest
from demo_models import CHAT_MODELS
from test_openai_python import PNG

WEATHER = {
    "name": "get_weather",
    "description": "Погода в городе",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


def ask(client, model, text, **more):
    return client.messages.create(
        model=model, max_tokens=500, messages=[{"role": "user", "content": text}], **more
    )


@pytest.mark.parametrize("model", CHAT_MODELS)
def test_plain(anthropic_client, model):
    answer = ask(
        anthropic_client, model, "[[sim: text=Привет, мир! 👋]] Поздоровайся", system="Кратко."
    )
    assert answer.content[-1].text == "Привет, мир! 👋"
    assert answer.stop_reason == "end_turn"
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0


@pytest.mark.parametrize("model", CHAT_MODELS)
def test_streamed(anthropic_client, model):
    text = ("Ёжик в тумане 🦔 — мультфильм. " * 10).strip()
    with anthropic_client.messages.stream(
        model=model,
        max_tokens=500,
        messages=[{"role": "user", "content": f"[[sim: text={text}; chunks=11; split_utf8]] Расскажи"}],
    ) as stream:
        assert "".join(stream.text_stream) == text
        final = stream.get_final_message()
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens > 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", CHAT_MODELS)
def test_two_tools_in_parallel_then_results(anthropic_client, model, stream):
    question = {"role": "user", "content": "[[sim: tools=2]] Погода в Москве и в Казани?"}
    wanted = {"model": model, "max_tokens": 500, "tools": [WEATHER]}
    if stream:
        with anthropic_client.messages.stream(messages=[question], **wanted) as events:
            first = events.get_final_message()
    else:
        first = anthropic_client.messages.create(messages=[question], **wanted)
    assert first.stop_reason == "tool_use"
    calls = [block for block in first.content if block.type == "tool_use"]
    assert len(calls) == (1 if model == "gigachat" else 2)
    results = [
        {"type": "tool_result", "tool_use_id": call.id, "content": f"{20 + number} градусов"}
        for number, call in enumerate(calls)
    ]
    content = [block.model_dump(exclude_none=True) for block in first.content]
    final = anthropic_client.messages.create(
        messages=[
            question,
            {"role": "assistant", "content": content},
            {"role": "user", "content": results},
        ],
        **wanted,
    )
    for number in range(len(calls)):
        assert f"{20 + number} градусов" in final.content[-1].text


@pytest.mark.parametrize("model", [model for model in CHAT_MODELS if model != "yandexgpt"])
def test_image(anthropic_client, model):
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    answer = ask(
        anthropic_client,
        model,
        [
            {"type": "image", "source": source},
            {"type": "text", "text": "[[sim: text=Красный]] Какого цвета точка?"},
        ],
    )
    assert answer.content[-1].text == "Красный"


@pytest.mark.parametrize("model", CHAT_MODELS)
@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("status=429; retry_after=7", anthropic.RateLimitError),
        ("status=500", anthropic.InternalServerError),
        ("status=503", anthropic.InternalServerError),
        ("reset", anthropic.InternalServerError),
        ("status=400", anthropic.BadRequestError),
    ],
)
def test_failures(anthropic_client, model, script, kind):
    with pytest.raises(kind) as caught:
        ask(anthropic_client, model, f"[[sim: {script}]] Привет")
    assert caught.value.body["type"] == "error"
    assert caught.value.body["error"]["message"]


@pytest.mark.parametrize("model", CHAT_MODELS)
def test_a_stream_that_breaks_does_not_end_cleanly(anthropic_client, model):
    text = ("слово " * 60).strip()
    with pytest.raises(anthropic.APIError):
        with anthropic_client.messages.stream(
            model=model,
            max_tokens=500,
            messages=[
                {
                    "role": "user",
                    "content": f"[[sim: text={text}; chunks=12; between_ms=3; cut_after=3]] Да",
                }
            ],
        ) as stream:
            for event in stream:
                assert event.type != "message_stop"


@pytest.mark.parametrize("model", ["anthropic", "gigachat", "yandexgpt", "openai"])
def test_count_tokens(anthropic_client, model):
    counted = anthropic_client.messages.count_tokens(
        model=model, messages=[{"role": "user", "content": "Сколько здесь токенов?"}]
    )
    assert 1 < counted.input_tokens < 100


def test_models(anthropic_client):
    assert "gigachat" in [model.id for model in anthropic_client.models.list()]


def test_errors_of_our_own(anthropic_client, demo):
    with pytest.raises(anthropic.NotFoundError) as caught:
        ask(anthropic_client, "claude-99", "Привет")
    assert caught.value.body["error"]["type"] == "not_found_error"
    stranger = anthropic.Anthropic(base_url=demo["base_url"], api_key="no", max_retries=0)
    with pytest.raises(anthropic.AuthenticationError):
        ask(stranger, "gigachat", "Привет")
