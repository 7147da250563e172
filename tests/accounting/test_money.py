"""The ledger agrees with the providers' bill, budgets hold, nothing is lost or doubled."""

import concurrent.futures
import http.server
import json
import random
import threading
import time

import httpx
import pytest
from running import STATIC_KEY, bearer, wait_until

ROUBLE = 1_000_000_000
KOPECK = ROUBLE // 100
DOLLAR_RATE = 80


def some_request(gateway, seeded, client):
    """One of the kinds of requests that cost money."""
    model = seeded.choice(["gigachat", "openai", "anthropic"])
    words = " ".join(seeded.choice(["дом", "река", "лес", "city"]) for _ in range(seeded.randint(1, 40)))
    kind = seeded.choice(["whole", "whole", "stream", "stream", "embeddings", "failing", "tools"])
    if kind == "embeddings":
        body = {"model": "embeddings", "input": [words, "ещё"]}
        client.post(gateway.url + "/v1/embeddings", json=body, headers=bearer(STATIC_KEY))
    elif kind == "failing":
        status = seeded.choice([429, 500, 400])
        assert not gateway.ask(model=model, text=f"[[sim: status={status}]] {words}", client=client).is_success
    elif kind == "tools":
        tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
        gateway.ask(model=model, text=words, client=client, tools=[tool])
    else:
        gateway.ask(model=model, text=words, client=client, stream=kind == "stream")


def bill_in_nanos(simulator):
    totals = {}
    for (provider, currency), micro in simulator.bill().items():
        rate = DOLLAR_RATE if currency == "USD" else 1
        totals[provider] = totals.get(provider, 0) + micro * 1000 * rate
    return totals


@pytest.mark.parametrize("seed", [1, 2])
def test_ledger_and_bill_agree_to_the_kopeck(gateway, simulator, seed):
    seeded = random.Random(seed)
    with httpx.Client(timeout=30) as client:
        for _ in range(150):
            some_request(gateway, seeded, client)
    bill = bill_in_nanos(simulator)
    spend = gateway.spend()
    assert set(spend) == set(bill)
    for provider, nanos in bill.items():
        entry = spend[provider]
        assert entry["estimated_entries"] == 0, provider
        # The bill is rounded down to a millionth of its currency.
        assert abs(entry["cost_nanos"] - nanos) < 1000 * DOLLAR_RATE * 200, (provider, entry, nanos)
        assert abs(entry["cost_nanos"] - nanos) < KOPECK


def test_streams_that_are_cut_are_charged_for_what_was_delivered(gateway, simulator):
    text = "[[sim: chunks=100; between_ms=20]] Расскажи длинную историю"
    body = {"model": "openai", "stream": True, "messages": [{"role": "user", "content": text}]}
    with httpx.stream("POST", gateway.url + "/v1/chat/completions", json=body, headers=bearer(STATIC_KEY)) as answer:
        for number, _ in enumerate(answer.iter_lines()):
            if number == 20:
                break
    [entry] = wait_until(gateway.entries)
    assert entry["outcome"] == "cut" and entry["estimated"]
    assert entry["usage"]["completion_tokens"] > 0
    bill = bill_in_nanos(simulator)["openai"]
    assert abs(entry["cost_nanos"] - bill) < KOPECK, (entry, bill)


def test_kill_loses_and_doubles_nothing(gateway):
    answered, stop = [], threading.Event()

    def load():
        with httpx.Client(timeout=5) as client:
            while not stop.is_set():
                try:
                    answer = gateway.ask(client=client, text="Привет", model="openai")
                except httpx.HTTPError:
                    return
                if answer.is_success:
                    answered.append(answer.headers["x-request-id"])

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(load)
        for round_number in range(3):
            time.sleep(0.7)
            gateway.kill()
            if round_number < 2:
                gateway.start()
                for _ in range(4):
                    pool.submit(load)
        stop.set()
    gateway.start()
    entries = wait_until(gateway.entries)
    charged = [entry["request_id"] for entry in entries if entry["outcome"] == "completed"]
    assert len(entries) == len({entry["id"] for entry in entries})
    assert len(charged) == len(set(charged))
    missing = set(answered) - {entry["request_id"] for entry in entries}
    assert not missing, f"{len(missing)} of {len(answered)} answered requests are not charged for"
    assert len(answered) > 20


def test_a_hard_budget_holds_under_parallel_requests(gateway):
    tenant, key = gateway.make_key()
    gateway.manage("POST", "budgets", {
        "tenant": tenant, "name": "рубль", "scope": {"kind": "tenant"}, "period": "total",
        "amount_nanos": ROUBLE, "hard": True,
    })
    time.sleep(1)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(gateway.ask, key["key"], max_tokens=200) for _ in range(120)]
        answers = [one.result() for one in asked]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused and {answer.json()["error"]["code"] for answer in refused} == {"budget_exceeded"}
    assert 0 < gateway.spend("tenant")[tenant]["cost_nanos"] <= ROUBLE


def test_a_budget_begins_with_what_was_spent_just_before(gateway):
    tenant, key = gateway.make_key()
    # Nothing of this is in the database yet, for it is not written at once.
    for _ in range(5):
        assert gateway.ask(key["key"]).is_success
    budget = gateway.manage("POST", "budgets", {
        "tenant": tenant, "name": "рубль", "scope": {"kind": "tenant"}, "period": "total",
        "amount_nanos": ROUBLE, "hard": True,
    })
    spent = wait_until(lambda: gateway.manage("GET", f"budgets/{budget['id']}/status")["spent_nanos"])
    assert spent == gateway.spend("tenant")[tenant]["cost_nanos"] > 0


def test_alerts_of_a_budget_reach_its_webhook_once(gateway):
    seen = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    hook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    tenant, key = gateway.make_key()
    gateway.manage("POST", "budgets", {
        "tenant": tenant, "name": "мягкий", "scope": {"kind": "key", "id": key["id"]},
        "period": "month", "amount_nanos": ROUBLE // 5, "hard": False,
        "alert_url": f"http://127.0.0.1:{hook.server_port}/",
    })
    time.sleep(1)
    for _ in range(12):
        assert gateway.ask(key["key"]).is_success
    wait_until(lambda: len(seen) == 3)
    assert sorted(alert["percent"] for alert in seen) == [50, 80, 100]
    hook.shutdown()


def test_a_missing_price_is_refused_with_a_remedy(gateways):
    unpriced = "  - {name: unpriced, deployments: [{provider: openai, model: gpt-99}]}"
    gateway = gateways("free", limits="missing_price: free", models=unpriced)
    assert gateway.ask(model="unpriced").is_success
    with pytest.raises(AssertionError):
        gateways("strict", models=unpriced)
