"""The official OpenAI SDK for Python, over every provider."""

import base64
import json

import openai
import pytest
from demo_models import CHAT_MODELS, EMBEDDING_MODELS
from pydantic import BaseModel

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Погода в городе",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "Город"}},
            "required": ["city"],
        },
    },
}

# One red pixel.
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5Erk"
    "Jggg=="
)


def ask(client, model, text, **more):
    return client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}], **more
    )


@pytest.mark.parametrize("model", CHAT_MODELS)
def test_plain(openai_client, model):
    raw = openai_client.chat.completions.with_raw_response.create(
        model=model,
        messages=[
            {"role": "system", "content": "Отвечай кратко."},
            {"role": "user", "content": "[[sim: text=Привет, мир! 👋]] Поздоровайся"},
        ],
        max_tokens=200,
    )
    answer = raw.parse()
    assert answer.choices[0].message.content == "Привет, мир! 👋"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens > 0 and answer.usage.completion_tokens > 0
    assert raw.headers["x-llm-proxy-route"] == model
    assert raw.headers["x-request-id"]


@pytest.mark.parametrize("model", CHAT_MODELS)
def test_streamed(openai_client, model):
    text = "Ёжик в тумане 🦔 — мультфильм. " * 20
    stream = ask(
        openai_client,
        model,
        f"[[sim: text={text.strip()}; chunks=17; split_utf8]] Расскажи",
        stream=True,
        stream_options={"include_usage": True},
    )
    pieces, finish, usage = [], None, None
    for chunk in stream:
        if chunk.usage:
            usage = chunk.usage
        for choice in chunk.choices:
            pieces.append(choice.delta.content or "")
            finish = choice.finish_reason or finish
    assert "".join(pieces) == text.strip()
    assert finish == "stop"
    assert usage.completion_tokens > 0


@pytest.mark.parametrize("model", CHAT_MODELS)
def test_usage_is_not_sent_to_those_who_did_not_ask(openai_client, model):
    chunks = list(ask(openai_client, model, "Привет", stream=True))
    assert all(chunk.usage is None for chunk in chunks)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", CHAT_MODELS)
def test_two_tools_in_parallel_then_results(openai_client, model, stream):
    messages = [{"role": "user", "content": "[[sim: tools=2]] Какая погода в Москве и в Казани?"}]
    if stream:
        calls = {}
        for chunk in ask(openai_client, model, messages[0]["content"], tools=[WEATHER], stream=True):
            for choice in chunk.choices:
                for call in choice.delta.tool_calls or []:
                    entry = calls.setdefault(call.index, {"id": None, "name": "", "arguments": ""})
                    entry["id"] = call.id or entry["id"]
                    entry["name"] += call.function.name or ""
                    entry["arguments"] += call.function.arguments or ""
        calls = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": call["arguments"]},
            }
            for call in calls.values()
        ]
    else:
        answer = ask(openai_client, model, messages[0]["content"], tools=[WEATHER])
        assert answer.choices[0].finish_reason == "tool_calls"
        calls = [call.model_dump() for call in answer.choices[0].message.tool_calls]
    # GigaChat's API has one call an answer.
    assert len(calls) == (1 if model == "gigachat" else 2)
    assert len({call["id"] for call in calls}) == len(calls)
    messages.append({"role": "assistant", "content": None, "tool_calls": calls})
    for number, call in enumerate(calls):
        assert call["function"]["name"] == "get_weather"
        assert "city" in json.loads(call["function"]["arguments"])
        messages.append(
            {"role": "tool", "tool_call_id": call["id"], "content": f"{20 + number} градусов"}
        )
    final = openai_client.chat.completions.create(model=model, messages=messages, tools=[WEATHER])
    for number in range(len(calls)):
        assert f"{20 + number} градусов" in final.choices[0].message.content


@pytest.mark.parametrize("model", CHAT_MODELS)
def test_forced_and_forbidden_tools(openai_client, model):
    forced = ask(
        openai_client,
        model,
        "Привет",
        tools=[WEATHER],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
    )
    assert forced.choices[0].message.tool_calls[0].function.name == "get_weather"
    forbidden = ask(openai_client, model, "Погода?", tools=[WEATHER], tool_choice="none")
    assert not forbidden.choices[0].message.tool_calls


class City(BaseModel):
    name: str
    population: int


@pytest.mark.parametrize("model", CHAT_MODELS)
def test_structured_output(openai_client, model):
    answer = openai_client.chat.completions.parse(
        model=model,
        messages=[{"role": "user", "content": "Назови город"}],
        response_format=City,
    )
    assert isinstance(answer.choices[0].message.parsed, City)


@pytest.mark.parametrize("model", CHAT_MODELS)
def test_json_object(openai_client, model):
    answer = ask(
        openai_client,
        model,
        '[[sim: text={"город": "Тверь"}]] Ответь в JSON',
        response_format={"type": "json_object"},
    )
    assert isinstance(json.loads(answer.choices[0].message.content), dict)


@pytest.mark.parametrize("model", [model for model in CHAT_MODELS if model != "yandexgpt"])
def test_image(openai_client, model):
    answer = openai_client.chat.completions.create(
        model=model,
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "[[sim: text=Красный]] Какого цвета точка?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                ],
            }
        ],
    )
    assert answer.choices[0].message.content == "Красный"


def test_image_where_there_is_none_is_named(openai_client):
    with_image = [
        {"type": "text", "text": "Что здесь?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
    ]
    try:
        raw = openai_client.chat.completions.with_raw_response.create(
            model="yandexgpt", messages=[{"role": "user", "content": with_image}]
        )
        assert "image" in raw.headers["x-llm-proxy-adapted"]
    except openai.BadRequestError as error:
        assert "image" in str(error)


@pytest.mark.parametrize("model", EMBEDDING_MODELS)
def test_embeddings(openai_client, model):
    texts = ["Москва — столица", "Cat", "Ещё текст"]
    answer = openai_client.embeddings.create(model=model, input=texts)
    assert [item.index for item in answer.data] == [0, 1, 2]
    assert answer.usage.prompt_tokens > 0
    plain = openai_client.embeddings.create(model=model, input=texts, encoding_format="float")
    for one, other in zip(answer.data, plain.data):
        assert len(one.embedding) == len(other.embedding)
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", CHAT_MODELS)
@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("status=429; retry_after=7", openai.RateLimitError),
        ("status=500", openai.InternalServerError),
        ("status=503", openai.InternalServerError),
        ("reset", openai.InternalServerError),
        ("status=400", openai.BadRequestError),
    ],
)
def test_failures(openai_client, model, stream, script, kind):
    with pytest.raises(kind) as caught:
        answer = ask(openai_client, model, f"[[sim: {script}]] Привет", stream=stream)
        list(answer)
    assert caught.value.body["message"]
    if kind is openai.RateLimitError:
        assert caught.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize("model", CHAT_MODELS)
def test_a_garbled_answer_is_an_error(openai_client, model):
    with pytest.raises(openai.InternalServerError):
        ask(openai_client, model, "[[sim: garbage]] Привет")


@pytest.mark.parametrize("model", CHAT_MODELS)
@pytest.mark.parametrize("script", ["cut_after=3", "reset_after=3", "error_in_stream_after=3"])
def test_a_stream_that_breaks_does_not_end_cleanly(openai_client, model, script):
    text = "слово " * 60
    stream = ask(
        openai_client,
        model,
        f"[[sim: text={text.strip()}; chunks=12; between_ms=3; {script}]] Привет",
        stream=True,
    )
    with pytest.raises(openai.APIError):
        for chunk in stream:
            assert not any(choice.finish_reason for choice in chunk.choices)


@pytest.mark.parametrize("model", ["gigachat", "yandexgpt", "cloudru"])
def test_an_expired_token_is_renewed(openai_client, model):
    answer = ask(openai_client, model, "[[sim: expired_token; text=Да]] Привет")
    assert answer.choices[0].message.content == "Да"


def test_reasoning_stop_and_logprobs(openai_client):
    answer = ask(openai_client, "vllm", "[[sim: reasoning=Думаю; text=Да]] Привет")
    assert answer.choices[0].message.model_extra["reasoning_content"] == "Думаю"
    answer = ask(openai_client, "openai", "[[sim: text=Да]] Привет", logprobs=True, top_logprobs=2)
    assert answer.choices[0].logprobs.content[0].top_logprobs


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["gigachat", "yandexgpt"])
def test_stop_is_emulated_where_the_provider_has_none(openai_client, model, stream):
    raw = openai_client.chat.completions.with_raw_response.create(
        model=model,
        messages=[{"role": "user", "content": "[[sim: text=один два три четыре; chunks=9]] Счёт"}],
        stop=["три"],
        stream=stream,
    )
    assert "stop" in raw.headers["x-llm-proxy-adapted"]
    if stream:
        chunks = list(raw.parse())
        text = "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices)
        assert chunks[-1].choices[0].finish_reason == "stop"
    else:
        text = raw.parse().choices[0].message.content
    assert text == "один два "


def test_responses(openai_client):
    for model in ["gigachat", "openai", "anthropic"]:
        answer = openai_client.responses.create(
            model=model, instructions="Кратко", input="[[sim: text=Привет]] Скажи"
        )
        assert answer.output_text == "Привет"
        assert answer.usage.total_tokens > 0
        with openai_client.responses.stream(
            model=model, input="[[sim: text=Привет всем; chunks=4]] Скажи"
        ) as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_response()
        assert kinds[0] == "response.created" and kinds[-1] == "response.completed"
        assert final.output_text == "Привет всем"


def test_responses_tools(openai_client):
    tool = {"type": "function", "strict": False, **WEATHER["function"]}
    for model in ["yandexgpt", "openai"]:
        first = openai_client.responses.create(
            model=model, input="[[sim: tools=1]] Погода в Москве?", tools=[tool]
        )
        call = next(item for item in first.output if item.type == "function_call")
        second = openai_client.responses.create(
            model=model,
            input=[
                {"role": "user", "content": "Погода в Москве?"},
                {
                    "type": "function_call",
                    "call_id": call.call_id,
                    "name": call.name,
                    "arguments": call.arguments,
                },
                {
                    "type": "function_call_output",
                    "call_id": call.call_id,
                    "output": "5 градусов",
                },
            ],
            tools=[tool],
        )
        assert "5 градусов" in second.output_text


def test_completions(openai_client):
    for model in ["vllm", "gigachat"]:
        answer = openai_client.completions.create(model=model, prompt="[[sim: text=Да]] Скажи да")
        assert answer.choices[0].text == "Да"
        pieces = openai_client.completions.create(
            model=model, prompt="[[sim: text=Да и нет; chunks=3]] Скажи", stream=True
        )
        assert "".join(c.text for piece in pieces for c in piece.choices) == "Да и нет"


def test_moderations(openai_client):
    answer = openai_client.moderations.create(model="openai-moderation", input="Добрый день")
    assert answer.results[0].flagged is False
    assert openai_client.moderations.create(input="Добрый день").results


def test_models(openai_client):
    names = [model.id for model in openai_client.models.list()]
    assert set(CHAT_MODELS) <= set(names)
    assert openai_client.models.retrieve("gigachat").id == "gigachat"
    with pytest.raises(openai.NotFoundError):
        openai_client.models.retrieve("нет такой")


def test_errors_of_our_own(openai_client, demo):
    with pytest.raises(openai.NotFoundError) as caught:
        ask(openai_client, "gpt-9", "Привет")
    assert caught.value.code == "model_not_found" and "gigachat" in str(caught.value)
    stranger = openai.OpenAI(base_url=demo["base_url"] + "/v1", api_key="sk-wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        ask(stranger, "gigachat", "Привет")
    with pytest.raises(openai.BadRequestError) as caught:
        openai_client.chat.completions.create(model="gigachat", messages=[])
    assert caught.value.param == "messages"


def test_azure_class(demo):
    client = openai.OpenAI(
        base_url=demo["base_url"] + "/v1",
        api_key="unused",
        default_headers={"api-key": demo["keys"]["default"], "authorization": ""},
        max_retries=0,
    )
    assert base64.b64decode(PNG)
    answer = ask(client, "azure", "[[sim: text=Да]] Привет")
    assert answer.choices[0].message.content == "Да"
