"""The GigaChat SDK and LangChain straight at the simulator."""

import base64
import json
import uuid

import gigachat.exceptions as errors
import httpx
import pytest
from gigachat import GigaChat
from gigachat.context import session_id_cvar
from gigachat.models import Chat, Function, FunctionParameters, Messages
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_gigachat import GigaChat as LangGigaChat
from langchain_gigachat.embeddings import GigaChatEmbeddings

MODEL = "GigaChat-2"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
WEATHER = {
    "name": "get_weather",
    "description": "Погода в городе",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "Город"}},
        "required": ["city"],
    },
}


def credentials(name: str) -> str:
    return base64.b64encode(f"{name}:secret".encode()).decode()


def options(simulator, name="sim-giga"):
    return {
        "base_url": f"{simulator.base_url}/gigachat/api/v1",
        "auth_url": f"{simulator.base_url}/gigachat/api/v2/oauth",
        "credentials": credentials(name),
        "model": MODEL,
    }


@pytest.fixture
def client(simulator):
    with GigaChat(**options(simulator)) as client:
        yield client


@pytest.fixture
def token(simulator):
    return fetch_token(simulator).json()["access_token"]


def fetch_token(simulator, path="/api/v2/oauth", name="sim-giga", scope="GIGACHAT_API_PERS", **headers):
    headers = {"Authorization": f"Basic {credentials(name)}", "RqUID": str(uuid.uuid4()), **headers}
    return httpx.post(f"{simulator.base_url}/gigachat{path}", data={"scope": scope} if scope else {}, headers=headers)


def post(simulator, token, path, body):
    return httpx.post(f"{simulator.base_url}/gigachat/api{path}", json=body,
                      headers={"Authorization": f"Bearer {token}"})


# Tokens


def test_both_token_shapes(simulator):
    now = simulator.now()
    body = fetch_token(simulator).json()
    assert 1_799_000 <= body["expires_at"] - now * 1000 <= 1_802_000
    body = fetch_token(simulator, path="/oauth").json()
    assert 1_799 <= body["exp"] - now <= 1_802 and body["tok"]


@pytest.mark.parametrize(("change", "status", "code"), [
    ({"scope": None}, 400, 5),
    ({"scope": "GIGACHAT"}, 400, 1),
    ({"scope": "GIGACHAT_API_B2B", "name": "sim-shop-pers"}, 400, 7),
    ({"name": "someone"}, 401, 6),
    ({"RqUID": "7"}, 400, 2),
    ({"Authorization": "Basic ???"}, 401, 4),
])
def test_refused_token_requests(simulator, change, status, code):
    response = fetch_token(simulator, **change)
    assert (response.status_code, response.json()["code"]) == (status, code)


def test_tokens_expire(simulator, token):
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Привет"}]}
    assert post(simulator, token, "/v1/chat/completions", body).status_code == 200
    simulator.advance_clock(1801)
    response = post(simulator, token, "/v1/chat/completions", body)
    assert response.status_code == 401
    assert response.json() == {"status": 401, "message": "Token has expired"}


def test_sdk_renews_a_revoked_token(client):
    client.chat("Привет")
    first = client.token
    answer = client.chat(f"Отозван {uuid.uuid4()} [[sim: expired_token; text=снова здесь]]")
    assert answer.choices[0].message.content == "снова здесь"
    assert client.token != first


def test_password_login(simulator):
    with GigaChat(base_url=f"{simulator.base_url}/gigachat/api/v1", user="sim-user", password="x", model=MODEL) as client:
        assert client.chat("Привет").choices[0].message.content
    with GigaChat(base_url=f"{simulator.base_url}/gigachat/api/v1", user="user", password="x", model=MODEL) as client:
        with pytest.raises(errors.AuthenticationError):
            client.chat("Привет")


# Chat, first version


def test_plain(client):
    answer = client.chat("Привет, как дела?")
    assert answer.choices[0].message.content.startswith("Это ответ")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model.startswith("GigaChat-2:")
    usage = answer.usage
    assert usage.prompt_tokens + usage.completion_tokens == usage.total_tokens
    assert usage.precached_prompt_tokens == 0


def test_trace_headers(client):
    mark = session_id_cvar.set("session-1")
    try:
        headers = client.chat("Привет").x_headers
    finally:
        session_id_cvar.reset(mark)
    assert uuid.UUID(headers["x-request-id"]) and headers["x-session-id"] == "session-1"


@pytest.mark.parametrize("shape", ["", "; split_utf8", "; split_escapes", "; slow_loris=0.1"])
def test_stream_joins_to_whole(client, shape):
    chunks = list(client.stream(f"x [[sim: text=Съешь ещё этих булок 🥐🥐, да выпей чаю{shape}]]"))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == "Съешь ещё этих булок 🥐🥐, да выпей чаю"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens > 0
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_stream_framing(simulator, token):
    body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "Привет"}]}
    response = post(simulator, token, "/v1/chat/completions", body)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.endswith("data: [DONE]\n\n") and "event:" not in response.text


@pytest.mark.parametrize("streamed", [False, True])
def test_function_and_result(client, streamed):
    history = [Messages(role="user", content="Какая погода в Москве?")]
    chat = Chat(model=MODEL, messages=history, functions=[Function.model_validate(WEATHER)], function_call="auto")
    if streamed:
        chunks = list(client.stream(chat))
        choice, message = chunks[-1].choices[0], chunks[-1].choices[0].delta
    else:
        choice = client.chat(chat).choices[0]
        message = choice.message
    assert choice.finish_reason == "function_call"
    assert isinstance(message.function_call.arguments["city"], str)
    assert uuid.UUID(message.functions_state_id)
    history.append(Messages(role="assistant", content="", function_call=message.function_call,
                            functions_state_id=message.functions_state_id))
    history.append(Messages(role="function", name="get_weather", content='{"градусы": 7}'))
    final = client.chat(Chat(model=MODEL, messages=history, functions=[Function.model_validate(WEATHER)]))
    assert "градусы" in final.choices[0].message.content


def test_one_call_at_a_time_and_forcing(client):
    def ask(text, **kwargs):
        return client.chat({"messages": [{"role": "user", "content": text}], "functions": [WEATHER], **kwargs})

    two = ask("Погода? [[sim: tools=2]]").choices[0].message
    assert two.function_call.name == "get_weather"
    assert ask("Привет", function_call={"name": "get_weather"}).choices[0].finish_reason == "function_call"
    assert ask("Погода?", function_call="none").choices[0].finish_reason == "stop"


def test_structured_output(client):
    import pydantic

    class Forecast(pydantic.BaseModel):
        city: str
        degrees: int

    _, parsed = client.chat_parse("Прогноз для Тулы", response_format=Forecast)
    assert isinstance(parsed.degrees, int) and parsed.city


def test_reasoning(client):
    answer = client.chat({"messages": [{"role": "user", "content": "2+2? [[sim: reasoning=Складываю; text=4]]"}],
                          "reasoning_effort": "low"})
    assert answer.choices[0].message.reasoning_content == "Складываю"
    chunks = list(client.stream("2+2? [[sim: reasoning=Складываю; text=4]]"))
    assert "".join(chunk.choices[0].delta.reasoning_content or "" for chunk in chunks) == "Складываю"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "4"


def test_several_choices_and_finish_reasons(client):
    answer = client.chat({"messages": [{"role": "user", "content": "Привет"}], "n": 2})
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert client.chat({"messages": [{"role": "user", "content": "Привет"}], "max_tokens": 3}).choices[0].finish_reason == "length"
    assert client.chat("x [[sim: finish=content_filter]]").choices[0].finish_reason == "blacklist"


def test_cached_tokens_are_outside_the_sums(client):
    usage = client.chat("длинный вопрос " * 20 + "[[sim: cached_tokens=10; text=да]]").usage
    assert usage.precached_prompt_tokens == 10
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    again = client.chat("длинный вопрос " * 20 + "[[sim: cached_tokens=30; text=да]]").usage
    assert usage.prompt_tokens - again.prompt_tokens == 20


def test_files_and_attachments(client):
    uploaded = client.upload_file(("кот.png", PNG, "image/png"))
    assert uploaded.bytes_ == len(PNG) and uploaded.purpose == "general"
    assert uploaded.id_ in [file.id_ for file in client.get_files().data]
    assert client.get_file(uploaded.id_).filename == uploaded.filename
    message = {"role": "user", "content": "Что на картинке?", "attachments": [uploaded.id_]}
    assert client.chat({"messages": [message]}).usage.prompt_tokens > 900
    assert client.get_image(uploaded.id_).content
    assert client.delete_file(uploaded.id_).deleted
    with pytest.raises(errors.NotFoundError):
        client.chat({"messages": [message]})
    with pytest.raises(errors.BadRequestError):
        client.upload_file(("x.exe", b"MZ", "application/x-msdownload"))


# Chat, second version


def test_v2_plain_and_stream(client):
    answer = client.chat.create("Привет [[sim: text=Здравствуйте, мир!]]")
    assert answer.messages[0].content[0].text == "Здравствуйте, мир!"
    assert answer.finish_reason == "stop" and answer.usage.total_tokens > 0
    chunks = list(client.chat.stream("Привет [[sim: text=Здравствуйте, мир!; split_utf8]]"))
    assert {chunk.event for chunk in chunks[:-1]} == {"response.message.delta"}
    assert "".join(chunk.messages[0].content[0].text for chunk in chunks[:-1]) == "Здравствуйте, мир!"
    assert chunks[-1].event == "response.message.done" and chunks[-1].finish_reason == "stop"
    assert chunks[-1].usage.input_tokens_details.cached_tokens == 0


@pytest.mark.parametrize("streamed", [False, True])
def test_v2_two_calls_and_results(client, streamed):
    tools = [{"functions": {"specifications": [WEATHER]}}]
    user = {"role": "user", "content": "Погода? [[sim: tools=2]]"}
    request = {"messages": [user], "tools": tools}
    if streamed:
        message = list(client.chat.stream(request))[-1].messages[0]
    else:
        answer = client.chat.create(request)
        assert answer.finish_reason == "function_call"
        message = answer.messages[0]
    calls = [part.function_call for part in message.content]
    assert len(calls) == 2 and isinstance(calls[0].arguments["city"], str)
    results = [{"function_result": {"name": call.name, "result": {"t": at}}} for at, call in enumerate(calls)]
    final = client.chat.create({"messages": [
        user,
        {"role": "assistant", "tools_state_id": message.tools_state_id,
         "content": [{"function_call": {"name": call.name, "arguments": call.arguments}} for call in calls]},
        {"role": "tool", "tools_state_id": message.tools_state_id, "content": results},
    ], "tools": tools})
    assert '"t":1' in final.messages[0].content[0].text.replace(" ", "")


def test_v2_structured_output(client):
    import pydantic

    class Forecast(pydantic.BaseModel):
        city: str
        degrees: int

    _, parsed = client.chat.parse("Прогноз", response_format=Forecast)
    assert isinstance(parsed.degrees, int)


def test_v2_logprobs(client):
    request = {"messages": [{"role": "user", "content": "x [[sim: text=раз два]]"}],
               "model_options": {"top_logprobs": 2}}
    logprobs = client.chat.create(request).messages[0].logprobs
    assert [entry.chosen.token for entry in logprobs] == ["раз", " два"]
    assert all(len(entry.top) == 2 and entry.top[0] == entry.chosen for entry in logprobs)
    streamed = [entry.chosen.token for chunk in client.chat.stream(request) if chunk.messages
                for entry in chunk.messages[0].logprobs]
    assert streamed == ["раз", " два"]


# The rest


def test_embeddings(client):
    answer = client.embeddings(["как оформить отпуск", "как взять отпуск", "котировки нефти"], model="Embeddings")
    assert [item.index for item in answer.data] == [0, 1, 2]
    assert all(len(item.embedding) == 1024 and item.usage.prompt_tokens > 0 for item in answer.data)
    wide = client.embeddings(["a"], model="EmbeddingsGigaR")
    assert len(wide.data[0].embedding) == 2560


def test_lists_and_counts(client):
    assert MODEL in [model.id_ for model in client.get_models().data]
    assert client.get_model(MODEL).id_ == MODEL
    counts = client.tokens_count(["Привет, мир", "a"], model=MODEL)
    assert counts[0].tokens > 1 and counts[0].characters == 11
    assert client.get_balance().balance[0].value > 0


@pytest.mark.parametrize(("status", "error"), [
    (400, errors.BadRequestError), (401, errors.AuthenticationError), (402, errors.ResponseError),
    (403, errors.ForbiddenError), (404, errors.NotFoundError), (413, errors.RequestEntityTooLargeError),
    (422, errors.UnprocessableEntityError), (429, errors.RateLimitError), (500, errors.ServerError),
    (503, errors.ServerError),
])
@pytest.mark.parametrize("streamed", [False, True])
def test_error_statuses(client, status, error, streamed):
    text = f"x [[sim: status={status}; retry_after=2]]"
    with pytest.raises(error) as caught:
        list(client.stream(text)) if streamed else client.chat(text)
    assert caught.value.status_code == status
    assert json.loads(caught.value.content)["status"] == status
    assert caught.value.headers["retry-after"] == "2"


def test_requests_that_are_refused(client):
    system = {"role": "system", "content": "a"}
    user = {"role": "user", "content": "b"}
    with pytest.raises(errors.UnprocessableEntityError) as caught:
        client.chat({"messages": [user, system]})
    assert "system message must be the first message" in str(caught.value)
    with pytest.raises(errors.NotFoundError):
        client.chat({"messages": [user], "model": "GigaChat-7"})
    with pytest.raises(errors.UnprocessableEntityError):
        client.chat({"messages": [user, {"role": "function", "name": "f", "content": "{}"}]})


def test_stream_failures(client):
    with pytest.raises(Exception):
        list(client.stream("x [[sim: error_in_stream_after=2]]"))
    with pytest.raises(httpx.TransportError):
        list(client.stream("x [[sim: reset_after=2]]"))
    with pytest.raises(Exception):
        list(client.stream("x [[sim: garbage_after=2]]"))
    with pytest.raises(httpx.TransportError):
        client.chat("x [[sim: reset]]")


def test_langchain(simulator):
    model = LangGigaChat(**options(simulator), auto_upload_attachments=True)
    assert model.invoke("Привет").content.startswith("Это ответ")
    assert "".join(chunk.content for chunk in model.stream("x [[sim: text=раз два три]]")) == "раз два три"

    def get_weather(city: str) -> str:
        """Погода в городе."""
        return city

    bound = model.bind_tools([get_weather])
    question = HumanMessage("Какая погода в Туле?")
    call = bound.invoke([question])
    assert call.tool_calls[0]["name"] == "get_weather"
    result = ToolMessage("ясно, +5", tool_call_id=call.tool_calls[0]["id"], name="get_weather")
    assert "+5" in bound.invoke([question, call, result]).content
    image = HumanMessage([
        {"type": "text", "text": "Что это?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(PNG).decode()}},
    ])
    assert model.invoke([image]).usage_metadata["input_tokens"] > 900
    structured = model.with_structured_output({"title": "Answer", "type": "object", "required": ["n"],
                                               "properties": {"n": {"type": "integer"}}}, method="json_schema")
    assert isinstance(structured.invoke("Число")["n"], int)
    embedder = GigaChatEmbeddings(**{**options(simulator), "model": "Embeddings"})
    assert len(embedder.embed_query("текст")) == 1024
