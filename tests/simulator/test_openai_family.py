"""The official OpenAI SDK, its Azure class and evolution-openai, straight at the simulator."""

import json
import struct
import time
import urllib.error
import urllib.request

import openai
import pytest
from openai import AzureOpenAI, OpenAI
from pydantic import BaseModel

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def ask(text):
    return [{"role": "user", "content": text}]


@pytest.fixture
def client(simulator):
    return OpenAI(base_url=f"{simulator.base_url}/openai/v1", api_key="sim-test", max_retries=0)


@pytest.fixture
def azure(simulator):
    return AzureOpenAI(
        azure_endpoint=f"{simulator.base_url}/azure",
        api_key="sim-azure",
        api_version="2024-10-21",
        max_retries=0,
    )


def at(simulator, path, key="sim-test", **options):
    return OpenAI(base_url=simulator.base_url + path, api_key=key, max_retries=0, **options)


# Chat completions


def test_chat(client):
    answer = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=ask("Привет"))
    assert answer.headers["x-request-id"].startswith("req_")
    assert int(answer.headers["openai-processing-ms"]) >= 0
    assert answer.headers["x-ratelimit-remaining-requests"] == "9999"
    chat = answer.parse()
    assert chat.id.startswith("chatcmpl-") and chat.object == "chat.completion"
    assert chat.system_fingerprint.startswith("fp_")
    assert "симулированной" in chat.choices[0].message.content
    assert chat.choices[0].finish_reason == "stop"
    usage = chat.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_tokens_details.cached_tokens == 0
    assert usage.completion_tokens_details.reasoning_tokens == 0


def test_echo_keeps_every_character(client):
    text = 'Кавычки "«»", обратная \\ черта, эмодзи 👩‍👩‍👧, табуляция\tи ё'
    chat = client.chat.completions.create(model="gpt-4o", messages=ask(f"[[sim: echo]]{text}"))
    assert chat.choices[0].message.content == text


def test_stream_joins_to_the_whole(client):
    messages = ask("[[sim: text=Съешь ещё этих мягких булок 🥐; chunks=7]]")
    whole = client.chat.completions.create(model="gpt-4o", messages=messages)
    stream = client.chat.completions.create(
        model="gpt-4o", messages=messages, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.object == "chat.completion.chunk" for chunk in chunks)
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content == "Съешь ещё этих мягких булок 🥐"
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_chunks_of_tokens(client):
    stream = client.chat.completions.create(
        model="gpt-4o", messages=ask("[[sim: chunks=40; chunk_tokens=5; lang=ru]]"), stream=True
    )
    pieces = [c.choices[0].delta.content for c in stream if c.choices and c.choices[0].delta.content]
    assert len(pieces) == 40


def test_parallel_tools_and_their_results(client):
    messages = ask('Погода? [[sim: tool=get_weather{"city":"Москва"}; tool=get_weather{"city":"Казань"}]]')
    chat = client.chat.completions.create(model="gpt-4o", messages=messages, tools=[WEATHER])
    assert chat.choices[0].finish_reason == "tool_calls" and chat.choices[0].message.content is None
    calls = chat.choices[0].message.tool_calls
    assert [json.loads(call.function.arguments)["city"] for call in calls] == ["Москва", "Казань"]
    assert len({call.id for call in calls}) == 2
    messages.append(chat.choices[0].message)
    for call, weather in zip(calls, ["снег", "дождь"]):
        messages.append({"role": "tool", "tool_call_id": call.id, "content": weather})
    final = client.chat.completions.create(model="gpt-4o", messages=messages, tools=[WEATHER])
    assert "снег" in final.choices[0].message.content and "дождь" in final.choices[0].message.content


def test_streamed_tool_calls(client):
    calls = {}
    for chunk in client.chat.completions.create(
        model="gpt-4o", messages=ask("Какая погода? [[sim: tools=2]]"), tools=[WEATHER], stream=True
    ):
        for delta in chunk.choices[0].delta.tool_calls or []:
            call = calls.setdefault(delta.index, {"id": delta.id, "name": delta.function.name, "text": ""})
            call["text"] += delta.function.arguments
            assert (delta.id is None) == (delta.function.name is None)
    assert sorted(calls) == [0, 1]
    for call in calls.values():
        assert call["name"] == "get_weather" and call["id"].startswith("call_")
        assert json.loads(call["text"])["city"]


def test_tool_choice(client):
    def finish(**options):
        return client.chat.completions.create(
            model="gpt-4o", messages=ask("Привет"), tools=[WEATHER], **options
        ).choices[0].finish_reason

    assert finish() == "stop"
    assert finish(tool_choice="required") == "tool_calls"
    assert finish(tool_choice={"type": "function", "function": {"name": "get_weather"}}) == "tool_calls"


class Step(BaseModel):
    explanation: str
    value: int


class Solution(BaseModel):
    steps: list[Step]
    city: str
    sure: bool


def test_structured_output(client):
    chat = client.chat.completions.parse(model="gpt-4o", messages=ask("Реши"), response_format=Solution)
    assert isinstance(chat.choices[0].message.parsed, Solution)
    with client.chat.completions.stream(
        model="gpt-4o", messages=ask("Реши"), response_format=Solution
    ) as stream:
        final = stream.get_final_completion()
    assert isinstance(final.choices[0].message.parsed, Solution)


def test_refusal_and_json_object(client):
    refused = client.chat.completions.parse(
        model="gpt-4o", messages=ask("[[sim: refusal=Не могу помочь]]"), response_format=Solution
    )
    assert refused.choices[0].message.refusal == "Не могу помочь"
    assert refused.choices[0].message.parsed is None
    chat = client.chat.completions.create(
        model="gpt-4o", messages=ask("Ответь в JSON"), response_format={"type": "json_object"}
    )
    assert isinstance(json.loads(chat.choices[0].message.content), dict)


def test_logprobs_n_stop_and_length(client):
    chat = client.chat.completions.create(
        model="gpt-4o", messages=ask("[[sim: text=раз два три]]"), logprobs=True, top_logprobs=2, n=2
    )
    assert [choice.index for choice in chat.choices] == [0, 1]
    tokens = chat.choices[0].logprobs.content
    assert "".join(token.token for token in tokens) == "раз два три"
    assert all(len(token.top_logprobs) == 2 and token.logprob <= 0 for token in tokens)
    assert bytes(tokens[0].bytes).decode() == tokens[0].token
    stopped = client.chat.completions.create(
        model="gpt-4o", messages=ask("[[sim: text=раз два три]]"), stop=["три", "два"]
    )
    assert stopped.choices[0].message.content == "раз "
    short = client.chat.completions.create(model="gpt-4o", messages=ask("Привет"), max_tokens=3)
    assert (short.choices[0].finish_reason, short.usage.completion_tokens) == ("length", 3)


def test_reasoning_model_counts_hidden_tokens(client):
    chat = client.chat.completions.create(model="o3", messages=ask("Привет"), max_completion_tokens=500)
    assert chat.usage.completion_tokens_details.reasoning_tokens > 0
    assert not hasattr(chat.choices[0].message, "reasoning_content")
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="o3", messages=ask("Привет"), max_tokens=500)
    assert refused.value.code == "unsupported_parameter" and refused.value.param == "max_tokens"


def test_images(client):
    content = [
        {"type": "text", "text": "[[sim: echo]] Что на снимке?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
    ]
    chat = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": content}])
    assert chat.choices[0].message.content == "Что на снимке?" and chat.usage.prompt_tokens > 85


# Validation


@pytest.mark.parametrize(
    ("change", "message", "param", "code"),
    [
        ({"foo": 1}, "Unrecognized request argument supplied: foo", None, None),
        ({"foo": 1, "bar": 2}, "Unrecognized request arguments supplied: bar, foo", None, None),
        ({"messages": None}, "Missing required parameter: 'messages'.", "messages", "missing_required_parameter"),
        ({"messages": []}, "Invalid 'messages': empty array", "messages", "empty_array"),
        ({"messages": "x"}, "Invalid type for 'messages': expected an array of objects, but got a string instead.",
         "messages", "invalid_type"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "Invalid value: 'robot'", "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "tool", "tool_call_id": "a", "content": "x"}]},
         "messages with role 'tool' must be a response", "messages.[0].role", None),
        ({"temperature": "hot"}, "Invalid type for 'temperature': expected a decimal, but got a string instead.",
         "temperature", "invalid_type"),
        ({"temperature": 2.5}, "decimal above maximum value. Expected a value <= 2, but got 2.5", "temperature",
         "decimal_above_max_value"),
        ({"n": 0}, "integer below minimum value", "n", "integer_below_min_value"),
        ({"stop": ["a"] * 5}, "maximum length 4, but got an array with length 5", "stop", "array_above_max_length"),
        ({"stream_options": {"include_usage": True}}, "only allowed when 'stream' is enabled", "stream_options", None),
        ({"tool_choice": "required"}, "only allowed when 'tools' are", "tool_choice", None),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "at the same time is not supported", "max_tokens",
         "invalid_parameter_combination"),
        ({"response_format": {"type": "json_object"}}, "must contain the word 'json'", "messages", None),
        ({"response_format": {"type": "json_schema", "json_schema": {
            "name": "x", "strict": True, "schema": {"type": "object", "properties": {}}}}},
         "'additionalProperties' is required to be supplied and to be false", "response_format", None),
        ({"tools": [{"type": "function", "function": {"name": "плохо"}}]}, "does not match pattern",
         "tools[0].function.name", "invalid_value"),
    ],
)
def test_invalid_requests(simulator, change, message, param, code):
    body = {"model": "gpt-4o", "messages": ask("Привет"), **change}
    body = {name: value for name, value in body.items() if value is not None}
    status, error = post(simulator, "/openai/v1/chat/completions", body)
    assert status == 400 and error["error"]["type"] == "invalid_request_error"
    assert message in error["error"]["message"]
    assert (error["error"]["param"], error["error"]["code"]) == (param, code)


def post(simulator, path, body, headers=None):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"authorization": "Bearer sim-test", "content-type": "application/json", **(headers or {})}
    request = urllib.request.Request(simulator.base_url + path, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_bodies_that_are_no_json(simulator):
    for body in (b"", b"{", b"\xff\xfe", b"[" * 5000):
        status, error = post(simulator, "/openai/v1/chat/completions", body)
        assert status == 400 and "could not parse the JSON body" in error["error"]["message"]


# Errors


def test_authentication(simulator):
    with pytest.raises(openai.AuthenticationError) as refused:
        at(simulator, "/openai/v1", key="sk-real-looking-key-1234").chat.completions.create(
            model="gpt-4o", messages=ask("Привет")
        )
    assert refused.value.code == "invalid_api_key"
    assert "sk-r" in refused.value.message and "real-looking" not in refused.value.message


def test_unknown_model_and_path(simulator, client):
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="no-such-model", messages=ask("Привет"))
    assert missing.value.code == "model_not_found"
    status, error = post(simulator, "/openai/v1/nothing", {})
    assert (status, error["error"]["message"]) == (404, "Invalid URL (POST /v1/nothing)")


@pytest.mark.parametrize(
    ("directive", "error", "retry_after"),
    [
        ("status=429; retry_after=2", openai.RateLimitError, "2"),
        ("status=429", openai.RateLimitError, None),
        ("status=500", openai.InternalServerError, None),
        ("status=503", openai.InternalServerError, None),
        ("expired_token", openai.AuthenticationError, None),
        ("status=403", openai.PermissionDeniedError, None),
    ],
)
def test_scripted_statuses(client, directive, error, retry_after):
    for stream in (False, True):
        with pytest.raises(error) as refused:
            client.chat.completions.create(
                model="gpt-4o", messages=ask(f"[[sim: {directive}]] {stream}"), stream=stream
            )
        assert refused.value.response.headers.get("retry-after") == retry_after
        assert refused.value.body["message"]


def test_the_sdk_retries_through_a_first_failure(simulator):
    simulator.set_profile({"rules": [{"when": {"first": 2}, "then": {"status": 500}}]})
    client = OpenAI(base_url=f"{simulator.base_url}/openai/v1", api_key="sim-test", max_retries=2)
    chat = client.chat.completions.create(model="gpt-4o", messages=ask("Привет"))
    assert chat.choices[0].message.content
    assert [request["status"] for request in simulator.requests()] == [500, 500, 200]


@pytest.mark.parametrize("directive", ["reset", "reset_after=2", "cut_after=2"])
def test_broken_connections(simulator, client, directive):
    with pytest.raises((openai.APIConnectionError, *transport_errors())):
        list(
            client.chat.completions.create(
                model="gpt-4o", messages=ask(f"[[sim: {directive}; text=Один два три четыре]]"), stream=True
            )
        )
    assert simulator.requests()[-1]["outcome"] == "broken"
    with pytest.raises((openai.APIConnectionError, *transport_errors())):
        client.chat.completions.create(model="gpt-4o", messages=ask(f"[[sim: {directive}]]"))


def transport_errors():
    errors = []
    for name in ("httpx", "httpx2"):
        try:
            errors.append(__import__(name).TransportError)
        except ImportError:
            pass
    return errors


def test_error_inside_a_stream(client):
    pieces = []
    with pytest.raises(openai.APIError) as failed:
        for chunk in client.chat.completions.create(
            model="gpt-4o", messages=ask("[[sim: error_in_stream_after=2; text=Раз два три]]"), stream=True
        ):
            pieces.append(chunk.choices[0].delta.content)
    assert "server had an error" in failed.value.message
    assert len([piece for piece in pieces if piece]) == 2


def test_garbage_and_empty(client):
    with pytest.raises(Exception):
        list(client.chat.completions.create(model="gpt-4o", messages=ask("[[sim: garbage_after=1]]"), stream=True))
    assert list(client.chat.completions.create(model="gpt-4o", messages=ask("[[sim: empty]]"), stream=True)) == []


@pytest.mark.parametrize("layout", ["split_utf8", "split_escapes", "slow_loris=0.2"])
def test_segment_layouts_change_nothing(client, layout):
    text = "Ёжик 🦔 и «кавычки»"
    messages = ask(f"[[sim: {layout}; text={text}]]")
    assert client.chat.completions.create(model="gpt-4o", messages=messages).choices[0].message.content == text
    stream = client.chat.completions.create(model="gpt-4o", messages=messages, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == text


def test_latency_and_client_gone(simulator, client):
    started = time.monotonic()
    client.chat.completions.create(model="gpt-4o", messages=ask("[[sim: first_token_ms=150]]"))
    assert 0.15 <= time.monotonic() - started < 5
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.2).chat.completions.create(model="gpt-4o", messages=ask("[[sim: hang]]"))
    stream = client.chat.completions.create(
        model="gpt-4o", messages=ask("[[sim: chunks=1000; between_ms=20]]"), stream=True
    )
    next(iter(stream))
    stream.close()
    deadline = time.monotonic() + 5
    while [r["outcome"] for r in simulator.requests()[-2:]] != ["client_gone"] * 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_bill(simulator, client):
    usages = [
        client.chat.completions.create(model="gpt-4o", messages=ask(text)).usage for text in ("Раз", "Два")
    ]
    account = simulator.bill()["openai:sim-test"]
    assert account["calls"] == 2
    assert account["prompt_tokens"] == sum(usage.prompt_tokens for usage in usages)
    assert account["completion_tokens"] == sum(usage.completion_tokens for usage in usages)
    micro = sum(usage.prompt_tokens * 2.5 + usage.completion_tokens * 10 for usage in usages)
    assert account["cost_micro"]["USD"] == int(micro)


def test_same_seed_same_world(simulator, client):
    def ids():
        simulator.reset()
        return [
            client.chat.completions.create(model="gpt-4o", messages=ask("Привет")).id for _ in range(3)
        ]

    first = ids()
    assert first == ids() and len(set(first)) == 3


# Other endpoints


def test_completions(client):
    answer = client.completions.create(model="gpt-3.5-turbo-instruct", prompt=["Раз", "Два"], max_tokens=100)
    assert answer.object == "text_completion" and len(answer.choices) == 2
    stream = client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Раз", max_tokens=100, stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == answer.choices[0].text


def test_embeddings(client):
    plain = client.embeddings.create(
        model="text-embedding-3-small", input=["кошка", "кошка", "самолёт"], encoding_format="float"
    )
    assert [len(item.embedding) for item in plain.data] == [1536] * 3
    assert plain.data[0].embedding == plain.data[1].embedding != plain.data[2].embedding
    # The SDK asks for base64 by itself.
    packed = client.embeddings.create(model="text-embedding-3-small", input="кошка", dimensions=256)
    assert len(packed.data[0].embedding) == 256 and packed.usage.prompt_tokens > 0
    raw = client.embeddings.with_raw_response.create(
        model="text-embedding-3-small", input="кошка", dimensions=4, encoding_format="base64"
    )
    import base64

    encoded = json.loads(raw.text if isinstance(raw.text, str) else raw.text())["data"][0]["embedding"]
    assert len(struct.unpack("<4f", base64.b64decode(encoded))) == 4
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model="text-embedding-3-small", input="")
    with pytest.raises(openai.RateLimitError):
        client.embeddings.create(model="text-embedding-3-small", input="[[sim: status=429]]")


def test_moderations(client):
    answer = client.moderations.create(input=["Хороший день", "я хочу убить время"])
    assert answer.id.startswith("modr-")
    assert [result.flagged for result in answer.results] == [False, True]
    assert answer.results[1].categories.violence and answer.results[1].category_scores.violence > 0.5


def test_models(client):
    names = [model.id for model in client.models.list()]
    assert "gpt-4o" in names
    assert client.models.retrieve("gpt-4o").owned_by == "system"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")


# Responses


def test_responses(client):
    answer = client.responses.create(model="gpt-4.1", input="[[sim: echo]] Привет", instructions="Кратко")
    assert answer.id.startswith("resp_") and answer.status == "completed"
    assert answer.output_text == "Привет" and answer.instructions == "Кратко"
    assert answer.usage.input_tokens_details.cached_tokens == 0
    parsed = client.responses.parse(model="gpt-4.1", input="Реши", text_format=Solution)
    assert isinstance(parsed.output_parsed, Solution)


def test_responses_stream(client):
    events = list(client.responses.create(model="gpt-4.1", input="[[sim: text=Раз два три]]", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == "Раз два три" == events[-1].response.output_text
    with client.responses.stream(model="gpt-4.1", input="Реши", text_format=Solution) as stream:
        assert isinstance(stream.get_final_response().output_parsed, Solution)


def test_responses_tools(client):
    tool = {"type": "function", "name": "get_weather", "parameters": WEATHER["function"]["parameters"]}
    history = [{"role": "user", "content": "Погода? [[sim: tools=2]]"}]
    first = client.responses.create(model="gpt-4.1", input=history, tools=[tool])
    calls = [item for item in first.output if item.type == "function_call"]
    assert len(calls) == 2 and json.loads(calls[0].arguments)["city"]
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="gpt-4.1", input=[*history, *first.output], tools=[tool])
    assert "No tool output found for function call" in refused.value.message
    results = [
        {"type": "function_call_output", "call_id": call.call_id, "output": "метель"} for call in calls
    ]
    final = client.responses.create(model="gpt-4.1", input=[*history, *first.output, *results], tools=[tool])
    assert "метель" in final.output_text
    streamed = list(client.responses.create(model="gpt-4.1", input=history, tools=[tool], stream=True))
    arguments = "".join(
        event.delta
        for event in streamed
        if event.type == "response.function_call_arguments.delta" and event.output_index == 1
    )
    assert json.loads(arguments)["city"]


def test_responses_reasoning_and_ends(client):
    events = list(
        client.responses.create(
            model="o3", input="Привет", reasoning={"effort": "low", "summary": "auto"}, stream=True
        )
    )
    summary = "".join(e.delta for e in events if e.type == "response.reasoning_summary_text.delta")
    final = events[-1].response
    assert final.output[0].type == "reasoning" and final.output[0].summary[0].text == summary
    assert final.usage.output_tokens_details.reasoning_tokens > 0
    short = list(client.responses.create(model="gpt-4.1", input="Привет", max_output_tokens=16, stream=True))
    assert short[-1].type == "response.incomplete"
    assert short[-1].response.incomplete_details.reason == "max_output_tokens"
    failed = list(
        client.responses.create(
            model="gpt-4.1", input="[[sim: error_in_stream_after=1; text=Раз два]]", stream=True
        )
    )
    assert [event.type for event in failed][-3:] == [
        "response.output_text.delta",
        "error",
        "response.failed",
    ]
    assert [event.sequence_number for event in failed] == list(range(len(failed)))
    assert failed[-1].response.error.code == "server_error"
    with pytest.raises(openai.BadRequestError) as unknown:
        client.responses.create(model="gpt-4.1", input="Привет", extra_body={"foo": 1})
    assert unknown.value.code == "unknown_parameter"


# Azure


def test_azure(azure):
    chat = azure.chat.completions.create(model="my-deployment", messages=ask("Привет"))
    assert chat.choices[0].content_filter_results["hate"]["filtered"] is False
    assert chat.prompt_filter_results[0]["prompt_index"] == 0
    chunks = list(azure.chat.completions.create(model="my-deployment", messages=ask("Привет"), stream=True))
    assert chunks[0].choices == [] and chunks[0].prompt_filter_results
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == chat.choices[0].message.content
    assert len(azure.embeddings.create(model="text-embedding-3-small", input="кошка").data[0].embedding) == 1536


def test_azure_errors(simulator, azure):
    with pytest.raises(openai.BadRequestError) as filtered:
        azure.chat.completions.create(model="d", messages=ask("[[sim: x.prompt_filter]]"))
    assert filtered.value.code == "content_filter"
    assert filtered.value.body["innererror"]["code"] == "ResponsibleAIPolicyViolation"
    with pytest.raises(openai.NotFoundError) as missing:
        azure.chat.completions.create(model="no-such", messages=ask("Привет"))
    assert missing.value.code == "DeploymentNotFound"
    with pytest.raises(openai.RateLimitError) as limited:
        azure.chat.completions.create(model="d", messages=ask("[[sim: status=429; retry_after=7]]"))
    assert limited.value.response.headers["retry-after"] == "7" and limited.value.code == "429"
    with pytest.raises(openai.AuthenticationError) as denied:
        azure.with_options(api_key="wrong").chat.completions.create(model="d", messages=ask("Привет"))
    assert denied.value.code == "401" and "Access denied" in denied.value.message
    status, error = post(simulator, "/azure/openai/deployments/d/chat/completions", {}, {"api-key": "sim"})
    assert (status, error["error"]["message"]) == (404, "Resource not found")


def test_azure_v1_and_entra(simulator):
    v1 = at(simulator, "/azure/openai/v1/", key="sim-azure")
    assert v1.responses.create(model="gpt-4.1", input="[[sim: echo]] Привет").output_text == "Привет"
    form = (
        b"grant_type=client_credentials&client_id=sim-app&client_secret=s"
        b"&scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default"
    )
    path = "/azure/sim-tenant/oauth2/v2.0/token"
    kind = {"content-type": "application/x-www-form-urlencoded"}
    status, token = post(simulator, path, form, kind)
    assert status == 200 and token["token_type"] == "Bearer" and token["expires_in"] == 3600
    entra = AzureOpenAI(
        azure_endpoint=f"{simulator.base_url}/azure",
        azure_ad_token=token["access_token"],
        api_version="2024-10-21",
        max_retries=0,
    )
    assert entra.chat.completions.create(model="d", messages=ask("Привет")).choices
    simulator.advance_clock(3600)
    with pytest.raises(openai.AuthenticationError):
        entra.chat.completions.create(model="d", messages=ask("Привет"))
    status, error = post(simulator, path, form.replace(b"sim-app", b"evil"), kind)
    assert (status, error["error"]) == (401, "invalid_client")


# The relatives


FAMILY = [
    "/qwen/compatible-mode/v1",
    "/cloudru/v1",
    "/vllm/v1",
    "/ollama/v1",
    "/llamacpp/v1",
    "/sglang/v1",
    "/openrouter/api/v1",
    "/gemini/v1beta/openai",
]


@pytest.mark.parametrize("path", FAMILY)
def test_relatives(simulator, path):
    client = at(simulator, path)
    assert client.models.list().data
    extra = {"top_k": 5, "unheard_of": True}
    chat = client.chat.completions.create(model="qwen3-32b", messages=ask("Привет"), extra_body=extra)
    stream = client.chat.completions.create(
        model="qwen3-32b", messages=ask("Привет"), stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == chat.choices[0].message.content
    assert chunks[-1].usage.total_tokens == chat.usage.total_tokens
    calls = {}
    for chunk in client.chat.completions.create(
        model="qwen3-32b", messages=ask("Погода?"), tools=[WEATHER], stream=True
    ):
        for delta in chunk.choices[0].delta.tool_calls or []:
            calls[delta.index] = calls.get(delta.index, "") + (delta.function.arguments or "")
    assert json.loads(calls[0])["city"]
    assert len(client.embeddings.create(model="e", input=["а", "б"]).data) == 2


def test_reasoning_content(simulator):
    qwen = at(simulator, "/qwen/compatible-mode/v1")
    options = {"model": "qwen-plus", "messages": ask("Привет"), "extra_body": {"enable_thinking": True}}
    thought = qwen.chat.completions.create(**options).choices[0].message.reasoning_content
    assert thought
    streamed = [c.choices[0].delta for c in qwen.chat.completions.create(**options, stream=True)]
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in streamed) == thought
    vllm = at(simulator, "/vllm/v1")
    message = vllm.chat.completions.create(
        model="qwen3-32b", messages=ask("[[sim: reasoning=Думаю]]")
    ).choices[0].message
    assert message.reasoning == message.reasoning_content == "Думаю"


def test_error_shapes_of_the_relatives(simulator):
    def refusal(path, body=None, headers=None):
        body = body or {"model": "no-such", "messages": ask("Привет")}
        return post(simulator, f"{path}/chat/completions", body, headers)

    status, error = refusal("/vllm/v1")
    assert status == 404
    assert error["error"] == {
        "message": "The model `no-such` does not exist.",
        "type": "NotFoundError",
        "param": "model",
        "code": 404,
    }
    status, error = refusal("/sglang/v1")
    assert (status, error["object"], error["code"]) == (404, "error", 404)
    status, error = refusal("/qwen/compatible-mode/v1", headers={"authorization": "Bearer bad"})
    assert (status, error["error"]["code"]) == (401, "invalid_api_key") and error["request_id"]
    status, error = refusal("/gemini/v1beta/openai")
    assert isinstance(error, list) and error[0]["error"]["status"] == "NOT_FOUND"
    status, error = refusal("/vllm/v1", headers={"authorization": "Bearer bad"})
    assert (status, error) == (401, {"error": "Unauthorized"})
    body = {"model": "m", "messages": ask("[[sim: status=429]]")}
    status, error = refusal("/openrouter/api/v1", body)
    assert (status, error["error"]["code"]) == (429, 429)


def test_vllm_operations(simulator):
    def get(path):
        with urllib.request.urlopen(simulator.base_url + path, timeout=5) as answer:
            return answer.read().decode()

    assert get("/vllm/health") == ""
    assert json.loads(get("/vllm/version"))["version"]
    metrics = get("/vllm/metrics")
    assert "vllm:num_requests_running{" in metrics and "vllm:kv_cache_usage_perc" in metrics
    status, counted = post(simulator, "/vllm/tokenize", {"model": "m", "prompt": "раз два"})
    assert status == 200 and counted["count"] == len(counted["tokens"]) == 2


def test_openrouter_quirks(simulator):
    request = urllib.request.Request(
        f"{simulator.base_url}/openrouter/api/v1/chat/completions",
        json.dumps({"model": "m", "messages": ask("[[sim: error_in_stream_after=1]]"), "stream": True}).encode(),
        {"authorization": "Bearer sim-or"},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        lines = [line for line in answer.read().decode().split("\n\n") if line]
    assert lines[0] == ": OPENROUTER PROCESSING"
    last = json.loads(lines[-1].removeprefix("data: "))
    assert last["error"]["code"] == 500 and last["choices"][0]["finish_reason"] == "error"


# Cloud.ru


def test_evolution_openai(simulator, monkeypatch):
    from evolution_openai import EvolutionOpenAI, token_manager

    original = token_manager.EvolutionTokenManager.__init__

    def pointed(self, key_id, secret, token_url=None, buffer_seconds=30):
        original(self, key_id, secret, f"{simulator.base_url}/cloudru/api/v1/auth/token", buffer_seconds)

    monkeypatch.setattr(token_manager.EvolutionTokenManager, "__init__", pointed)
    client = EvolutionOpenAI(key_id="sim-key-id", secret="secret", base_url=f"{simulator.base_url}/cloudru/v1")
    options = {"model": "openai/gpt-oss-120b"}
    chat = client.chat.completions.create(messages=ask("Привет"), **options)
    stream = client.chat.completions.create(messages=ask("Привет"), stream=True, **options)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert text == chat.choices[0].message.content
    assert simulator.bill()["cloudru:sim-key-id"]["calls"] == 2
    # The token is revoked; the client goes on with another.
    revoked = {"messages": ask("[[sim: expired_token; text=Снова]]"), **options}
    with pytest.raises(openai.AuthenticationError, match="token is expired"):
        client.chat.completions.create(**revoked)
    with pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(messages=ask("Привет"), **options)
    client.api_key = client.refresh_token()
    assert client.chat.completions.create(**revoked).choices[0].message.content == "Снова"
    with pytest.raises(Exception) as refused:
        EvolutionOpenAI(key_id="wrong", secret="secret", base_url=f"{simulator.base_url}/cloudru/v1")
    assert getattr(refused.value, "status_code", None) == 401
