"""Several gateways on one PostgreSQL and one Redis."""

import concurrent.futures
import time

import pytest
from running import wait_until
from servers import Postgres, Redis

ROUBLE = 1_000_000_000


@pytest.fixture(scope="module")
def postgres():
    postgres = Postgres()
    yield postgres
    postgres.remove()


@pytest.fixture
def redis():
    redis = Redis()
    yield redis
    if redis.process.poll() is None:
        redis.stop()


@pytest.fixture
def replicas(gateways, postgres, redis):
    def make(count):
        storage = f'{{database: "{postgres.url}", redis: "{redis.url}", journal: ./journal}}'
        made = [gateways(f"replica-{number}", storage=storage) for number in range(count)]
        # Each must have heard of the others.
        time.sleep(2.5)
        return made

    return make


def test_keys_limits_and_budgets_are_shared(replicas):
    one, two = replicas(2)
    tenant, key = one.make_key()
    two.wait_for_key(key["key"])
    one.manage("POST", "budgets", {
        "tenant": tenant, "name": "рубль", "scope": {"kind": "tenant"}, "period": "total",
        "amount_nanos": ROUBLE, "hard": True,
    })
    time.sleep(1.5)
    spent = 0
    for number in range(200):
        gateway = (one, two)[number % 2]
        answer = gateway.ask(key["key"], max_tokens=100)
        if answer.status_code == 429:
            break
        time.sleep(0.01)
    assert answer.json()["error"]["code"] == "budget_exceeded"
    for gateway in (one, two):
        wait_until(lambda: gateway.ask(key["key"], max_tokens=100).status_code == 429)
    time.sleep(0.5)
    spent = one.spend("tenant")[tenant]["cost_nanos"]
    # At most what one more request may cost on each replica.
    assert 0.7 * ROUBLE < spent <= ROUBLE + 2 * 0.06 * ROUBLE, spent
    one.manage("POST", f"keys/{key['id']}/block")
    wait_until(lambda: two.ask(key["key"]).status_code == 403, 2)


def test_four_replicas_pass_a_limit_by_one_request_each_at_most(replicas):
    gateways = replicas(4)
    limit = 40
    _, key = gateways[0].make_key(policy={"limits": {"requests_per_minute": limit}})
    for gateway in gateways:
        gateway.wait_for_key(key["key"])
    began = time.time()
    admitted = 0

    def ask(number):
        time.sleep(number * 0.02)
        return gateways[number % 4].ask(key["key"]).status_code

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for wave in range(4):
            admitted += sum(code == 200 for code in pool.map(ask, range(wave % 2, 40)))
    back = (time.time() - began) * limit / 60
    assert admitted <= limit + back + 4, (admitted, back)
    assert admitted >= limit * 0.7


def test_without_redis_each_goes_on_with_its_share_and_recovers(replicas, redis):
    one, two = replicas(2)
    _, key = one.make_key(policy={"limits": {"requests_per_minute": 20}})
    closed, closed_key = one.make_key("закрытый")
    one.manage("PATCH", f"tenants/{closed}", {"fail_closed": True})
    two.wait_for_key(key["key"])
    assert one.ask(key["key"]).is_success
    redis.stop()
    refused = lambda: one.ask(closed_key["key"]).status_code == 503
    wait_until(refused, 10)
    assert one.ask(closed_key["key"]).json()["error"]["code"] == "shared_state_unavailable"
    answers = [gateway.ask(key["key"]).status_code for gateway in (one, two) for _ in range(15)]
    assert 4 <= answers.count(200) <= 24, answers
    redis.start()
    wait_until(lambda: one.ask(closed_key["key"]).is_success, 15)


def test_a_dead_database_delays_the_ledger_and_loses_nothing(replicas, postgres):
    (one,) = replicas(1)
    before = len(one.entries())
    assert one.ask().is_success
    postgres.stop()
    answers = [one.ask() for _ in range(20)]
    assert all(answer.is_success for answer in answers), answers[0].text
    postgres.start()
    wait_until(lambda: len(one.entries()) == before + 21, 30)
