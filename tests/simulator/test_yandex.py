"""YandexGPT: native REST as its documentation has it, and the OpenAI SDK at the compatible endpoint."""

import json
import pathlib

import httpx
import jwt
import openai
import pytest

FOLDER = "b1gsimfolder"
KEY = json.loads(
    (pathlib.Path(__file__).resolve().parents[2]
     / "crates/simulator/src/providers/yandex/service_account_key.json").read_text()
)
AUDIENCE = "https://iam.api.cloud.yandex.net/iam/v1/tokens"
WEATHER = {"function": {
    "name": "get_weather", "description": "Погода",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}}


@pytest.fixture
def post(simulator):
    def post(path, body, **headers):
        headers = headers or {"Authorization": "Api-Key sim-yandex"}
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.post(f"{simulator.base_url}/yandex{path}", json=body, headers=headers, timeout=20)

    return post


def request(text, uri=f"gpt://{FOLDER}/yandexgpt/latest", options=None, **extra):
    return {"modelUri": uri, "completionOptions": {"maxTokens": "500", **(options or {})},
            "messages": [{"role": "user", "text": text}], **extra}


def complete(post, *args, **kwargs):
    response = post("/foundationModels/v1/completion", request(*args, **kwargs))
    assert response.status_code == 200, response.text
    return response.json()["result"]


def lines(response):
    return [json.loads(line) for line in response.text.splitlines()]


def sign(now, **claims):
    claims = {"iss": KEY["service_account_id"], "aud": AUDIENCE, "iat": now, "exp": now + 3600, **claims}
    pem = KEY["private_key"].split("\n", 1)[1]
    return jwt.encode(claims, pem, algorithm="PS256", headers={"kid": KEY["id"]})


def test_plain(post):
    result = complete(post, "Привет")
    alternative = result["alternatives"][0]
    assert alternative["message"]["role"] == "assistant"
    assert alternative["message"]["text"].startswith("Это ответ")
    assert alternative["status"] == "ALTERNATIVE_STATUS_FINAL"
    usage = result["usage"]
    assert all(isinstance(usage[name], str) for name in ("inputTextTokens", "completionTokens", "totalTokens"))
    assert int(usage["inputTextTokens"]) + int(usage["completionTokens"]) == int(usage["totalTokens"])
    assert result["modelVersion"]


@pytest.mark.parametrize("shape", ["", "; split_utf8", "; split_escapes", "; slow_loris=0.05"])
def test_stream_is_cumulative(post, shape):
    text = "Съешь ещё этих булок 🥐🥐, да выпей чаю"
    response = post("/foundationModels/v1/completion",
                    request(f"x [[sim: text={text}{shape}]]", options={"stream": True}))
    results = [line["result"]["alternatives"][0] for line in lines(response)]
    texts = [result["message"]["text"] for result in results]
    assert len(texts) > 3 and texts[-1] == text
    assert all(later.startswith(earlier) for earlier, later in zip(texts, texts[1:]))
    assert {result["status"] for result in results[:-1]} == {"ALTERNATIVE_STATUS_PARTIAL"}
    assert results[-1]["status"] == "ALTERNATIVE_STATUS_FINAL"
    assert "data:" not in response.text


@pytest.mark.parametrize("streamed", [False, True])
def test_two_tools_and_results(post, streamed):
    body = request("Погода? [[sim: tools=2]]", options={"stream": streamed}, tools=[WEATHER])
    response = post("/foundationModels/v1/completion", body)
    alternative = lines(response)[-1]["result"]["alternatives"][0]
    assert alternative["status"] == "ALTERNATIVE_STATUS_TOOL_CALLS"
    assert "text" not in alternative["message"]
    calls = alternative["message"]["toolCallList"]["toolCalls"]
    assert len(calls) == 2 and isinstance(calls[0]["functionCall"]["arguments"]["city"], str)
    results = [{"functionResult": {"name": "get_weather", "content": f"{t} градусов"}} for t in (7, 9)]
    body["messages"] += [alternative["message"], {"role": "user", "toolResultList": {"toolResults": results}}]
    body["completionOptions"]["stream"] = False
    final = post("/foundationModels/v1/completion", body).json()["result"]
    assert "7 градусов; 9 градусов" in final["alternatives"][0]["message"]["text"]
    body["messages"][-1]["toolResultList"]["toolResults"].pop()
    assert post("/foundationModels/v1/completion", body).status_code == 400


def test_tool_choice(post):
    def status(text, **extra):
        return complete(post, text, tools=[WEATHER], **extra)["alternatives"][0]["status"]

    assert status("Привет", toolChoice={"mode": "REQUIRED"}).endswith("TOOL_CALLS")
    assert status("Привет", toolChoice={"functionName": "get_weather"}).endswith("TOOL_CALLS")
    assert status("Погода?", toolChoice={"mode": "NONE"}).endswith("FINAL")
    one = complete(post, "x [[sim: tools=2]]", tools=[WEATHER], parallelToolCalls=False)
    assert len(one["alternatives"][0]["message"]["toolCallList"]["toolCalls"]) == 1


def test_structured_output(post):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    result = complete(post, "Число", jsonSchema={"schema": schema})
    assert isinstance(json.loads(result["alternatives"][0]["message"]["text"])["n"], int)
    result = complete(post, "Что-нибудь", jsonObject=True)
    assert isinstance(json.loads(result["alternatives"][0]["message"]["text"]), dict)


def test_reasoning_is_hidden_but_counted(post):
    result = complete(post, "2+2?", options={"reasoningOptions": {"mode": "ENABLED_HIDDEN"}})
    assert int(result["usage"]["completionTokensDetails"]["reasoningTokens"]) > 0
    assert set(result["alternatives"][0]["message"]) == {"role", "text"}


def test_statuses(post):
    assert complete(post, "Привет", options={"maxTokens": 3})["alternatives"][0]["status"] == "ALTERNATIVE_STATUS_TRUNCATED_FINAL"
    filtered = complete(post, "x [[sim: finish=content_filter]]")
    assert filtered["alternatives"][0]["status"] == "ALTERNATIVE_STATUS_CONTENT_FILTER"


def test_embeddings(post):
    def embed(text, **extra):
        response = post("/foundationModels/v1/textEmbedding",
                        {"modelUri": f"emb://{FOLDER}/text-search-doc/latest", "text": text, **extra})
        assert response.status_code == 200, response.text
        return response.json()

    first = embed("как оформить отпуск")
    assert len(first["embedding"]) == 256 and int(first["numTokens"]) > 0
    assert first["embedding"] == embed("как оформить отпуск")["embedding"]
    assert len(embed("a", dim="64")["embedding"]) == 64


def test_tokenizer(post):
    answer = post("/foundationModels/v1/tokenize",
                  {"modelUri": f"gpt://{FOLDER}/yandexgpt", "text": "Привет, мир"}).json()
    assert "".join(t["text"] for t in answer["tokens"] if not t["special"]) == "Привет, мир"
    assert post("/foundationModels/v1/tokenizeCompletion", request("Привет")).json()["tokens"]


# Identity


def test_iam_token_of_a_service_account(post, simulator):
    answer = post("/iam/v1/tokens", {"jwt": sign(simulator.now())}).json()
    assert answer["iamToken"].startswith("t1.") and answer["expiresAt"].endswith("Z")
    bearer = {"Authorization": f"Bearer {answer['iamToken']}", "x_folder_id": FOLDER}
    assert post("/foundationModels/v1/completion", request("Привет"), **bearer).status_code == 200
    simulator.advance_clock(12 * 3600 + 1)
    expired = post("/foundationModels/v1/completion", request("Привет"), **bearer)
    assert expired.status_code == 401 and expired.json()["error"]["grpcCode"] == 16


@pytest.mark.parametrize("claims", [
    {"aud": "https://elsewhere"}, {"iss": "someone"}, {"exp": 1}, {"exp": 4102444800},
])
def test_bad_jwt(post, simulator, claims):
    response = post("/iam/v1/tokens", {"jwt": sign(simulator.now(), **claims)})
    assert response.status_code == 401
    assert set(response.json()) == {"code", "message", "details"} and response.json()["code"] == 16


def test_own_key_can_be_registered(post, simulator):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    key = {"id": "ajeown", "service_account_id": "ajeacct", "public_key": public, "folder_id": "b1gown"}
    assert post("/_sim/keys", key).status_code == 200
    now = simulator.now()
    token = jwt.encode({"iss": "ajeacct", "aud": AUDIENCE, "iat": now, "exp": now + 60}, private,
                       algorithm="PS256", headers={"kid": "ajeown"})
    bearer = {"Authorization": f"Bearer {post('/iam/v1/tokens', {'jwt': token}).json()['iamToken']}"}
    wrong = post("/foundationModels/v1/completion", request("Привет"), **bearer)
    assert wrong.status_code == 400 and "b1gown" in wrong.json()["error"]["message"]
    own = request("Привет", uri="gpt://b1gown/yandexgpt")
    assert post("/foundationModels/v1/completion", own, **bearer).status_code == 200


def test_user_account_needs_a_folder(post):
    token = post("/iam/v1/tokens", {"yandexPassportOauthToken": "sim-person"}).json()["iamToken"]
    bearer = {"Authorization": f"Bearer {token}"}
    refused = post("/foundationModels/v1/completion", request("Привет"), **bearer)
    assert refused.status_code == 401 and "folder ID" in refused.json()["error"]["message"]
    named = post("/foundationModels/v1/completion", request("Привет"), **bearer, x_folder_id=FOLDER)
    assert named.status_code == 200


# Errors


@pytest.mark.parametrize(("change", "status", "part"), [
    ({"modelUri": "yandexgpt"}, 400, "invalid model_uri"),
    ({"modelUri": f"gpt://{FOLDER}/nope/latest"}, 404, "nope"),
    ({"messages": [{"role": "user", "text": ""}]}, 400, "empty message text"),
    ({"messages": [{"role": "tool", "text": "a"}]}, 400, "role"),
    ({"completionOptions": {"temperature": 1.5}}, 400, "temperature"),
    ({"top_p": 0.5}, 400, "top_p"),
])
def test_requests_that_are_refused(post, change, status, part):
    response = post("/foundationModels/v1/completion", {**request("Привет"), **change})
    error = response.json()["error"]
    assert response.status_code == error["httpCode"] == status
    assert part in error["message"] and error["httpStatus"] and error["details"] == []


def test_bad_credentials(post):
    for value in ("Api-Key wrong", "Bearer wrong", "Basic eA=="):
        response = post("/foundationModels/v1/completion", request("Привет"), Authorization=value)
        assert response.status_code == 401 and response.json()["error"]["grpcCode"] == 16


@pytest.mark.parametrize(("status", "code"), [(400, 3), (403, 7), (429, 8), (500, 13), (503, 14), (504, 4)])
def test_error_statuses(post, status, code):
    response = post("/foundationModels/v1/completion", request(f"x [[sim: status={status}; retry_after=2]]"))
    assert response.status_code == status
    assert response.json()["error"]["grpcCode"] == code and response.headers["retry-after"] == "2"


def test_stream_failures(post):
    def stream(script):
        return post("/foundationModels/v1/completion", request(f"x [[sim: {script}]]", options={"stream": True}))

    broken = lines(stream("error_in_stream_after=2"))
    assert len(broken) == 3 and broken[-1]["error"]["grpcCode"] == 14
    statuses = [line["result"]["alternatives"][0]["status"] for line in lines(stream("cut_after=2"))] \
        if _ends_cleanly(stream, "cut_after=2") else []
    assert "ALTERNATIVE_STATUS_FINAL" not in statuses
    with pytest.raises(httpx.TransportError):
        stream("reset_after=2")
    with pytest.raises(json.JSONDecodeError):
        lines(stream("garbage_after=2"))


def _ends_cleanly(stream, script):
    try:
        stream(script)
        return True
    except httpx.TransportError:
        return False


# The OpenAI-compatible endpoint


def test_openai_compatible(simulator):
    client = openai.OpenAI(base_url=f"{simulator.base_url}/yandex/v1", api_key="sim-yandex", max_retries=0)
    answer = client.chat.completions.create(
        model=f"gpt://{FOLDER}/yandexgpt/latest", messages=[{"role": "user", "content": "Привет"}])
    assert answer.choices[0].message.content.startswith("Это ответ")
    chunks = client.chat.completions.create(
        model=f"gpt://{FOLDER}/yandexgpt/latest", stream=True,
        messages=[{"role": "user", "content": "x [[sim: text=раз два три]]"}])
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "раз два три"


def test_openai_compatible_with_iam_token_and_tools(post, simulator):
    token = post("/iam/v1/tokens", {"jwt": sign(simulator.now())}).json()["iamToken"]
    client = openai.OpenAI(base_url=f"{simulator.base_url}/yandex/v1", api_key=token, max_retries=0)
    tool = {"type": "function", "function": {**WEATHER["function"]}}
    answer = client.chat.completions.create(
        model=f"gpt://{FOLDER}/yandexgpt/latest", tools=[tool],
        messages=[{"role": "user", "content": "x [[sim: tools=2]]"}])
    assert len(answer.choices[0].message.tool_calls) == 2
    stranger = openai.OpenAI(base_url=f"{simulator.base_url}/yandex/v1", api_key="other", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        stranger.models.list()
