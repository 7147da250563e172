"""Which deployment serves, and what happens when one fails: real gateways, simulators that die."""

import concurrent.futures
import subprocess
import time

import httpx
import pytest
from routed import QUICK, asked, bearer, chat, profile, restart
from running import BINARY, STATIC_KEY, wait_until


def test_no_request_is_lost_when_a_provider_dies(simulators, routers):
    first, second = simulators(2)
    # As fast as each other: else the one that is a hair faster may rightly have all requests.
    pace = {"first_token_ms": 20, "jitter": 0}
    for simulator in (first, second):
        profile(simulator, **pace)
    router = routers([first, second], models=chat("provider: p0", "provider: p1"))
    served = {router.served()[0] for _ in range(20)}
    assert served == {"p0", "p1"}
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        stream = [number % 2 == 0 for number in range(80)]
        waiting = [pool.submit(router.ask, model="chat", stream=s) for s in stream[:40]]
        first.process.kill()
        waiting += [pool.submit(router.ask, model="chat", stream=s) for s in stream[40:]]
        answers = [future.result() for future in waiting]
    # What had its first byte when the provider died may have broken off; nothing else failed.
    assert all(answer.status_code == 200 for answer in answers)
    took = []
    for _ in range(30):
        started = time.time()
        assert router.served()[0] == "p1"
        took.append(time.time() - started)
    assert router.served() == ("p1", 1) and max(took) < 1
    first.process.wait()
    restart(first)
    profile(first, **pace)
    wait_until(lambda: "p0" in {router.served()[0] for _ in range(5)}, 30)


def test_429_is_a_pause_and_not_a_failure(simulators, routers):
    first, second = simulators(2)
    models = chat("provider: p0, priority: 1", "provider: p1, priority: 2")
    router = routers([first, second], models=models)
    profile(first, status=429, retry_after=1)
    assert router.served() == ("p1", 2)
    assert router.health("p0") == 3
    profile(first)
    assert router.served() == ("p1", 1), "until the second is over"
    wait_until(lambda: router.served() == ("p0", 1), 3)
    profile(first, status=429, retry_after=31_536_000)
    assert router.served() == ("p1", 2)
    profile(first)


def test_a_retry_after_of_a_year_is_cut(simulators, routers):
    first, second = simulators(2)
    models = chat("provider: p0, priority: 1", "provider: p1, priority: 2")
    router = routers([first, second], routing="breaker: {max_cooldown_ms: 700}", models=models)
    profile(first, status=429, retry_after=31_536_000)
    assert router.served() == ("p1", 2)
    profile(first)
    wait_until(lambda: router.served() == ("p0", 1), 3)


def test_a_200_with_an_error_body_fails_over(simulators, routers):
    first, second = simulators(2)
    models = chat("provider: p0, priority: 1", "provider: p1, priority: 2")
    router = routers([first, second], models=models)
    profile(first, ok_with_error_body=True)
    assert router.served() == ("p1", 2)
    for _ in range(6):
        assert router.served()[0] == "p1"
    assert router.health("p0") == 4


MANY = chat(
    "provider: p0, priority: 1, context_tokens: 4000, capabilities: {vision: false}, quality: 0.5,"
    " price: {prompt: '10', completion: '10'}",
    "provider: p1, priority: 2, sensitivity: sensitive, quality: 0.7,"
    " price: {prompt: '500', completion: '500'}",
    "provider: p2, priority: 3, quality: 0.9, first_token_ms: 100,"
    " price: {prompt: '2000', completion: '2000'}",
)
PICTURE = [
    {"type": "text", "text": "Что это?"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
]


@pytest.fixture
def many(simulators, routers):
    return routers(simulators(3), models=MANY, residency={1: "on_premise", 2: "russia"})


@pytest.mark.parametrize(
    "demand,provider",
    [
        ({}, "p0"),
        ({"residency": "russia"}, "p1"),
        ({"sensitivity": "sensitive"}, "p1"),
        ({"min_quality": 0.8}, "p2"),
        ({"max_latency_ms": 200}, "p2"),
        ({"policy": "quality"}, "p2"),
        ({"policy": "cost"}, "p0"),
        ({"policy": "latency"}, "p2"),
        ({"policy": "cost", "residency": "russia"}, "p1"),
        ({"max_cost": 0.1}, "p0"),
    ],
)
def test_requests_get_what_they_demand(many, demand, provider):
    assert many.served(llm_proxy=demand, max_tokens=50)[0] == provider


def test_what_the_prompt_needs_decides(many):
    assert many.served(text="слово " * 6000)[0] == "p1"
    body = {"model": "chat", "messages": [{"role": "user", "content": PICTURE}]}
    answer = httpx.post(
        many.url + "/v1/chat/completions", json=body, headers=bearer(STATIC_KEY), timeout=30
    )
    assert answer.headers["x-llm-proxy-provider"] == "p1"


def test_the_error_lists_every_filter_and_whom_it_removed(many):
    demand = {"sensitivity": "sensitive", "min_quality": 0.8}
    answer = many.ask(model="chat", llm_proxy=demand)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "no_deployment_fits")
    for part in ["p0/qwen3-32b (sensitivity)", "p1/qwen3-32b (quality)", "p2/qwen3-32b (sens"]:
        assert part in error["message"], error["message"]
    body = {
        "model": "chat",
        "max_tokens": 10,
        "messages": [{"role": "user", "content": "Привет"}],
        "llm_proxy": demand,
    }
    answer = httpx.post(many.url + "/v1/messages", json=body, headers={"x-api-key": STATIC_KEY})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_the_policy_may_be_closed_to_requests(simulators, routers):
    router = routers(
        simulators(1), routing="allow_policy_override: false", models=chat("provider: p0")
    )
    answer = router.ask(model="chat", llm_proxy={"policy": "cost"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "policy_not_allowed")


def test_fallbacks(simulators, routers):
    first, second = simulators(2)
    models = chat(
        "provider: p0, context_tokens: 2000",
        routing="fallbacks: {context_window: [long], content_policy: [other], unavailable: [other]}",
    )
    models += chat("provider: p1, context_tokens: 100000", name="long")
    models += chat("provider: p1", name="other")
    router = routers([first, second], models=models)
    assert router.served()[0] == "p0"
    assert router.served(text="слово " * 3000)[0] == "p1"
    _, made = router.make_key(policy={"models": ["chat"]})
    answer = router.ask(key=made["key"], model="chat", text="слово " * 3000)
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    profile(first, status=500)
    assert router.served()[0] == "p1"
    answer = router.ask(key=made["key"], model="chat")
    assert answer.status_code >= 500, "the key may not call the fallback"


def test_a_late_first_token_is_hedged_and_both_calls_are_charged(simulators, routers):
    first, second = simulators(2)
    price = "price: {prompt: '100', completion: '100'}"
    models = chat(
        f"provider: p0, priority: 1, {price}",
        f"provider: p1, priority: 2, {price}",
        routing="hedging: {enabled: true, min_delay_ms: 50, max_share: 1.0}",
    )
    router = routers([first, second], models=models)
    stream = {"stream": True}
    for _ in range(80):
        assert router.served(**stream)[0] == "p0"
    profile(first, first_token_ms=4000)
    started = time.time()
    assert router.served(**stream)[0] == "p1"
    assert time.time() - started < 3
    assert router.metric("llm_proxy_hedges_total") == 1
    last = lambda: [e for e in router.entries() if e["route"] == "chat"][-2:]
    wait_until(lambda: {entry["provider"] for entry in last()} == {"p0", "p1"})
    assert {entry["outcome"] for entry in last()} == {"completed", "cut"}
    assert len({entry["id"] for entry in last()}) == 2


def test_a_deadline_is_the_callers_and_not_the_providers_fault(simulators, routers):
    (first,) = simulators(1)
    router = routers([first], models=chat("provider: p0"))
    for _ in range(6):
        answer = router.ask(model="chat", text="[[sim: hang]]", llm_proxy={"deadline_ms": 150})
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert router.health("p0") == 0


POOL = (
    "pools: {gpu: {queue: {max_requests: 1, max_waiting: 2, max_waiting_per_tenant: 2}}}, " + QUICK
)
HYBRID = chat("provider: p0, priority: 1, pool: gpu", "provider: p1, priority: 2")


def test_a_full_pool_spills_what_may_go_elsewhere_and_queues_what_may_not(simulators, routers):
    local, cloud = simulators(2)
    router = routers([local, cloud], routing=POOL, models=HYBRID, residency={0: "on_premise"})
    profile(local, first_token_ms=1000)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        held = pool.submit(router.served)
        wait_until(lambda: router.metric("llm_proxy_pool_running") == 1)
        assert router.served()[0] == "p1"
        sensitive = {"llm_proxy": {"sensitivity": "sensitive"}}
        waiting = [pool.submit(router.served, **sensitive) for _ in range(2)]
        wait_until(lambda: router.metric("llm_proxy_pool_waiting") == 2)
        refused = router.ask(model="chat", **sensitive)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "pool_full")
        assert int(refused.headers["retry-after"]) >= 1
        assert held.result()[0] == "p0"
        assert [future.result()[0] for future in waiting] == ["p0", "p0"]
    assert all("sensitive" not in str(request) for request in asked(cloud))


def test_identical_requests_share_a_call_and_others_do_not(simulators, routers):
    (local,) = simulators(1)
    routing = "pools: {gpu: {}}, " + QUICK
    router = routers([local], routing=routing, models=chat("provider: p0, pool: gpu"))
    profile(local, first_token_ms=700)
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        same = [pool.submit(router.ask, model="chat", temperature=0) for _ in range(6)]
        chance = [pool.submit(router.ask, model="chat", temperature=1) for _ in range(2)]
        _, made = router.make_key()
        foreign = pool.submit(router.ask, key=made["key"], model="chat", temperature=0)
        texts = {f.result().json()["choices"][0]["message"]["content"] for f in same}
        assert all(future.result().is_success for future in [*chance, foreign])
    assert len(texts) == 1
    calls = [call for call in asked(local) if "chat/completions" in str(call)]
    assert len(calls) == 4
    assert router.metric("llm_proxy_coalesced_total") == 5


def test_embeddings_are_sent_together_and_charged_apart(simulators, routers):
    (local,) = simulators(1)
    routing = "pools: {gpu: {coalesce: false}}, " + QUICK
    models = (
        "  - name: vectors\n    deployments:\n"
        "      - {provider: p0, model: bge-m3, pool: gpu, price: {prompt: '100', completion: '0'}}\n"
    )
    router = routers([local], routing=routing, models=models)
    texts = [f"текст номер {number}" for number in range(24)]

    def embed(text):
        answer = httpx.post(
            router.url + "/v1/embeddings",
            json={"model": "vectors", "input": text},
            headers=bearer(STATIC_KEY),
            timeout=30,
        )
        assert answer.is_success, answer.text
        return answer.json()["data"][0]["embedding"]

    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        together = list(pool.map(embed, texts))
    calls = len(asked(local))
    assert calls < 24
    assert [embed(text) for text in texts] == together, "each got its own vectors"
    wait_until(lambda: len([e for e in router.entries() if e["route"] == "vectors"]) == 48)


def test_feedback_is_kept_and_taken_only_from_whose_request_it_was(simulators, routers):
    (first,) = simulators(1)
    router = routers([first], models=chat("provider: p0"))
    _, mine = router.make_key("мой")
    tenant, other = router.make_key("чужой")
    answer = router.ask(key=mine["key"], model="chat")
    said = {"request_id": answer.headers["x-request-id"], "thumbs": "down", "comment": "мимо"}

    def say(body, key):
        return httpx.post(router.url + "/v1/feedback", json=body, headers=bearer(key))

    for body, key in [(said, other["key"]), (said | {"request_id": "req_x"}, mine["key"])]:
        refused = say(body, key)
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "request_not_found")
    assert say(said | {"score": 2}, mine["key"]).status_code == 400
    assert say(said, mine["key"]).status_code == 200
    router.kill()
    router.start()
    found = router.manage("GET", f"decisions/{said['request_id']}")
    assert found["feedback"]["score"] == 0 and found["feedback"]["comment"] == "мимо"
    assert found["decision"]["candidates"][0]["deployment"] == "p0/qwen3-32b"
    assert found["outcome"]["status"] == 200


def test_decisions_are_explained_to_the_tenant_and_to_no_other(many):
    _, mine = many.make_key("мой")
    _, other = many.make_key("чужой", role="auditor")
    answer = many.ask(key=mine["key"], model="chat", llm_proxy={"min_quality": 0.6})
    request = answer.headers["x-request-id"]
    found = many.manage("GET", f"decisions/{request}")
    by_name = {c["deployment"]: c for c in found["decision"]["candidates"]}
    assert by_name["p0/qwen3-32b"]["removed_by"] == "quality"
    assert found["chosen"] == "p1/qwen3-32b" and found["decision"]["order"][0] == "p1/qwen3-32b"
    assert 0 < found["propensity"] <= 1
    url = f"{many.admin}/admin/v1/decisions/{request}"
    assert httpx.get(url, headers=bearer(other["key"])).status_code == 404
    rows = many.manage("GET", "deployments")["data"]
    assert {row["health"] for row in rows if row["route"] == "chat"} == {"closed"}


def test_quality_follows_feedback(simulators, routers):
    routing = "policy: quality, decisions: {record: all}, stickiness_margin: 0, " + QUICK
    models = chat("provider: p0, quality: 0.8", "provider: p1, quality: 0.75")
    router = routers(simulators(2), routing=routing, models=models)
    assert router.served()[0] == "p0"
    said = {"request_id": router.ask(model="chat").headers["x-request-id"], "score": 0}
    answer = httpx.post(router.url + "/v1/feedback", json=said, headers=bearer(STATIC_KEY))
    assert answer.is_success, answer.text
    wait_until(lambda: router.served()[0] == "p1", 5)


def test_who_asks_the_same_again_was_not_content(simulators, routers):
    routing = "policy: quality, stickiness_margin: 0, " + QUICK
    models = chat("provider: p0, quality: 0.8", "provider: p1, quality: 0.79, priority: 200")
    router = routers(simulators(2), routing=routing, models=models)
    first = {"role": "user", "content": "Столица Чили?"}
    turn = [first, {"role": "assistant", "content": "Лима"}, {"role": "user", "content": "Точно?"}]

    def ask(messages):
        body = {"model": "chat", "messages": messages}
        url = router.url + "/v1/chat/completions"
        answer = httpx.post(url, json=body, headers=bearer(STATIC_KEY))
        return answer.raise_for_status().headers["x-llm-proxy-provider"]

    # A first question may be asked by many.
    assert {ask([first]) for _ in range(8)} == {"p0"}
    assert ask(turn) == "p0"
    wait_until(lambda: ask(turn) == "p1", 5)


def faults(folder, routing="", model="deployments: [{provider: p, model: m}]", more=""):
    file = folder / "llm-proxy.yaml"
    file.write_text(
        'providers: {p: {kind: vllm, base_url: "http://127.0.0.1:1/v1"}}\n'
        f"models:\n  - {{name: chat, {model}}}\n{more}"
        "identity: {static_keys: [{name: k, key: sk-test-123456}]}\n"
        f"routing: {{{routing}}}\n"
    )
    command = [BINARY, "check", "--config", str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2, done.stdout
    assert "llm-proxy.yaml:" in done.stderr
    return done.stderr


def test_check_refuses_what_cannot_work(tmp_path):
    one = "deployments: [{provider: p, model: m}]"
    assert "sum to zero" in faults(tmp_path, "weights: {cost: 0, latency: 0, quality: 0}")
    weightless = "deployments: [{provider: p, model: m, weight: 0}]"
    assert "sum to zero" in faults(tmp_path, model=weightless)
    assert "is empty" in faults(tmp_path, model="deployments: []")
    unknown = f"{one}, routing: {{fallbacks: {{unavailable: [chatt]}}}}"
    assert "did you mean `chat`" in faults(tmp_path, model=unknown)
    back = f"  - {{name: b, {one}, routing: {{fallbacks: {{unavailable: [chat]}}}}}}\n"
    there = f"{one}, routing: {{fallbacks: {{unavailable: [b]}}}}"
    assert "chat -> b -> chat" in faults(tmp_path, model=there, more=back)
    assert "no pool `gpu`" in faults(tmp_path, model=one.replace("m}", "m, pool: gpu}"))
    assert "from 0 to 1" in faults(tmp_path, model=one.replace("m}", "m, quality: 7}"))
    secret = one.replace("m}", "m, sensitivity: public}") + ", routing: {sensitivity: sensitive}"
    assert "mark one with" in faults(tmp_path, model=secret)


def test_replicas_tell_each_other_of_the_dead(tmp_path, simulators, routers):
    from servers import Postgres, Redis

    postgres, redis = Postgres(), Redis()
    try:
        first, second = simulators(2)
        storage = f'{{database: "{postgres.url}", redis: "{redis.url}", journal: ./journal}}'
        models = chat("provider: p0, priority: 1", "provider: p1, priority: 2")
        routing = "breaker: {open_ms: 20000}"
        one, other = (
            routers([first, second], name=name, storage=storage, models=models, routing=routing)
            for name in ("one", "other")
        )
        first.process.kill()
        for _ in range(6):
            assert one.served()[0] == "p1"
        assert one.health("p0") == 4
        wait_until(lambda: other.health("p0") == 4, 2)
        assert other.served() == ("p1", 1)
    finally:
        redis.stop()
        postgres.remove()


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_costs_the_deployment_its_good_name(simulators, routers, stream):
    routing = "policy: quality, stickiness_margin: 0, " + QUICK
    models = chat("provider: p0, quality: 0.72", "provider: p1, quality: 0.7")
    router = routers(simulators(2), routing=routing, models=models)
    assert router.served()[0] == "p0"
    router.ask(model="chat", text="[[sim: refusal=нет]]", stream=stream)
    assert router.served()[0] == "p1"
