"""Deployments that die, hang, throttle or answer nonsense, and come back."""

import concurrent.futures
import threading
import time

import httpx
import pytest
from routed import QUICK, asked, bearer, chat, profile, restart
from running import STATIC_KEY, wait_until

PREFERRED = chat("provider: p0, priority: 1", "provider: p1, priority: 2")


def stream(router, text):
    """Head and text of a streamed answer, as far as it came."""
    body = {"model": "chat", "stream": True, "messages": [{"role": "user", "content": text}]}
    url = router.url + "/v1/chat/completions"
    with httpx.stream("POST", url, json=body, headers=bearer(STATIC_KEY), timeout=30) as answer:
        return answer, answer.read().decode()


def test_fifty_requests_outlive_a_killed_provider(simulators, routers):
    first, second = simulators(2)
    for simulator in (first, second):
        profile(simulator, first_token_ms=300, between_ms=10, jitter=0.5)
    # Only a successful look brings it back.
    routing = (
        "breaker: {open_ms: 60000, ramp_step_ms: 0, reopen_on_probe_ms: 100}, "
        "probes: {interval_s: 1}, stickiness_ttl_s: 0"
    )
    models = chat("provider: p0", "provider: p1")
    router = routers([first, second], routing=routing, models=models)
    begun = threading.Barrier(51)

    def ask(number):
        begun.wait()
        time.sleep(number % 25 * 0.02)
        if number % 2:
            answer, text = stream(router, f"Поток {number}")
            # What broke after its first byte says so.
            assert "[DONE]" in text or '"error"' in text, text
            return answer.status_code
        return router.ask(model="chat", text=f"Целиком {number}").status_code

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        waiting = [pool.submit(ask, number) for number in range(50)]
        begun.wait()
        time.sleep(0.35)
        first.stop()
        assert [future.result() for future in waiting] == [200] * 50
        wait_until(lambda: router.health("p0") == 4, 3)
        after = [pool.submit(router.served, text=f"Потом {number}") for number in range(20)]
        assert {future.result() for future in after} == {("p1", 1)}
    restart(first)

    def is_back():
        return "p0" in {router.served()[0] for _ in range(4)} and router.health("p0") == 0

    wait_until(is_back, 15)


def test_one_that_may_be_well_again_is_tried_before_its_equals(simulators, routers):
    first, second = simulators(2)
    routing = "stickiness_ttl_s: 0, " + QUICK.replace("{", "{consecutive_failures: 1, ")
    models = chat("provider: p0", "provider: p1")
    router = routers([first, second], routing=routing, models=models)
    # By its load it would not be asked for a long time.
    profile(first, status=500, first_token_ms=2000)
    profile(second, first_token_ms=100)
    wait_until(lambda: router.served() and router.health("p0") == 4)
    profile(first)
    wait_until(lambda: router.health("p0") == 2, 3)
    assert [router.served() for _ in range(3)] == [("p0", 1)] * 3
    assert router.health("p0") == 0


def test_three_requests_try_it_out_and_then_it_has_all_again(simulators, routers):
    first, second = simulators(2)
    router = routers([first, second], models=PREFERRED)
    profile(first, status=500)
    assert [router.served() for _ in range(5)] == [("p1", 2)] * 5
    assert router.health("p0") == 4
    before = len(asked(first))
    assert router.served() == ("p1", 1)
    assert len(asked(first)) == before
    profile(first)
    wait_until(lambda: router.health("p0") == 2, 3)
    assert [router.served() for _ in range(2)] == [("p0", 1)] * 2
    assert router.health("p0") == 2
    assert router.served() == ("p0", 1)
    assert router.health("p0") == 0


def test_what_fails_when_tried_out_stays_away_for_twice_as_long(simulators, routers):
    first, second = simulators(2)
    router = routers([first, second], models=PREFERRED)
    profile(first, status=500)
    for _ in range(5):
        router.served()
    wait_until(lambda: router.health("p0") == 2, 3)
    assert router.served() == ("p1", 2)
    time.sleep(0.6)
    assert router.health("p0") == 4
    wait_until(lambda: router.health("p0") == 2, 3)


@pytest.mark.parametrize("fault", ["reset", "empty", "garbage", "ok_with_error_body"])
@pytest.mark.parametrize("streamed", [False, True])
def test_nonsense_counts_and_goes_elsewhere(simulators, routers, fault, streamed):
    first, second = simulators(2)
    router = routers([first, second], models=PREFERRED)
    profile(first, **{fault: True})
    for number in range(5):
        if streamed:
            answer, text = stream(router, f"Раз {number}")
            assert "[DONE]" in text and '"error"' not in text, text
        else:
            answer = router.ask(model="chat", text=f"Раз {number}")
            assert answer.json()["choices"][0]["message"]["content"]
        assert answer.headers["x-llm-proxy-provider"] == "p1"
    assert router.health("p0") == 4


def test_a_provider_that_hangs_is_a_failure(simulators, routers):
    first, second = simulators(2)
    slow = "timeouts: {first_byte_ms: 150}"
    models = chat(f"provider: p0, priority: 1, {slow}", "provider: p1, priority: 2")
    router = routers([first, second], models=models)
    profile(first, hang=True)
    for _ in range(5):
        assert router.served()[0] == "p1"
    assert router.health("p0") == 4


def test_a_stream_that_begins_with_an_error_event_counts(simulators, routers):
    first, second = simulators(2)
    router = routers([first, second], models=PREFERRED)
    profile(first, error_in_stream_after=0)
    for number in range(5):
        answer, text = stream(router, f"Раз {number}")
        assert answer.headers["x-llm-proxy-provider"] == "p1"
        assert "[DONE]" in text and '"error"' not in text
    assert router.health("p0") == 4


def test_a_stream_that_ends_with_an_error_event_counts(simulators, routers):
    (first,) = simulators(1)
    router = routers([first], models=chat("provider: p0"))
    # Apart from each other, or the error would come before anything was passed on.
    profile(first, error_in_stream_after=5, between_ms=20, jitter=0)
    for number in range(5):
        answer, text = stream(router, f"Раз {number}")
        assert answer.status_code == 200, text
        assert '"error"' in text and "[DONE]" not in text
    assert router.health("p0") == 4


def test_many_429_open_nothing(simulators, routers):
    first, second = simulators(2)
    router = routers([first, second], models=PREFERRED)
    profile(first, status=429, retry_after=1)
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        assert {who for who, _ in pool.map(lambda _: router.served(), range(12))} == {"p1"}
    assert router.health("p0") == 3
    profile(first)
    wait_until(lambda: router.health("p0") == 0, 3)
    assert router.served() == ("p0", 1)


def test_where_all_cool_down_the_caller_hears_when_to_come_again(simulators, routers):
    first, second = simulators(2)
    router = routers([first, second], models=PREFERRED)
    profile(first, status=429, retry_after=30)
    profile(second, status=429, retry_after=20)
    assert router.ask(model="chat").status_code == 429
    refused = router.ask(model="chat")
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (429, "no_deployment_available")
    for part in ("p0/qwen3-32b (cooldown)", "p1/qwen3-32b (cooldown)"):
        assert part in error["message"]
    assert 10 <= int(refused.headers["retry-after"]) <= 20


def test_the_callers_own_mistakes_are_tried_nowhere_else(simulators, routers):
    first, second = simulators(2)
    router = routers([first, second], models=PREFERRED)
    for _ in range(6):
        answer = router.ask(model="chat", text="[[sim: status=400]]")
        assert answer.status_code == 400
        assert answer.headers["x-llm-proxy-attempts"] == "1"
    assert router.health("p0") == 0
    assert not asked(second)
