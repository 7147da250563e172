"""The admin API: its resources, its refusals, and walls between tenants."""

import httpx
import pytest
from running import ADMIN_KEY, bearer, wait_until


def call(gateway, method, path, key=ADMIN_KEY, body=None, **headers):
    url = f"{gateway.admin}/admin/v1/{path}"
    return httpx.request(method, url, json=body, headers=bearer(key) | headers)


@pytest.fixture
def tenants(gateway):
    """Two tenants with a team, a user, a key and a budget each, and a key of each role."""
    made = {}
    for name in ("A", "B"):
        tenant, _ = gateway.make_key(name)
        team = gateway.manage("POST", "teams", {"tenant": tenant, "name": "team"})["id"]
        user = gateway.manage("POST", "users", {"tenant": tenant, "name": "user", "team": team})["id"]
        budget = gateway.manage("POST", "budgets", {
            "tenant": tenant, "name": "b", "scope": {"kind": "tenant"}, "period": "day",
            "amount_nanos": 5, "hard": False,
        })["id"]
        keys = {
            role: gateway.manage("POST", "keys", {"tenant": tenant, "name": role, "role": role})
            for role in ("user", "developer", "finance", "auditor", "admin")
        }
        for key in keys.values():
            gateway.wait_for_key(key["key"])
        made[name] = {"tenants": tenant, "teams": team, "users": user, "budgets": budget,
                      "keys": keys["user"]["id"], "secrets": {r: k["key"] for r, k in keys.items()}}
    return made


def test_life_of_a_resource(gateway):
    made = call(gateway, "POST", "tenants", body={"name": "Ромашка", "tier": "pro"})
    assert made.status_code == 201
    tenant, tag = made.json()["id"], made.headers["etag"]
    changed = call(gateway, "PATCH", f"tenants/{tenant}", body={"tier": "enterprise"}, **{"if-match": tag})
    assert changed.json()["tier"] == "enterprise"
    stale = call(gateway, "PATCH", f"tenants/{tenant}", body={"tier": "free"}, **{"if-match": tag})
    assert stale.status_code == 412 and stale.json()["error"]["code"] == "changed_meanwhile"
    team = call(gateway, "POST", "teams", body={"tenant": tenant, "name": "t"}).json()["id"]
    assert call(gateway, "DELETE", f"tenants/{tenant}").json()["error"]["code"] == "still_in_use"
    assert call(gateway, "DELETE", f"teams/{team}").status_code == 204
    assert call(gateway, "DELETE", f"tenants/{tenant}").status_code == 204
    assert call(gateway, "GET", f"tenants/{tenant}").status_code == 404


def test_bad_input_names_the_field(gateway):
    for body, field in [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x", "tier": "gold"}, "gold"),
        ({"name": "x", "colour": 1}, "colour"),
        ({"name": "x", "id": "ten_1"}, "id"),
        ({"name": "x", "time_zone": "Mars"}, "time_zone"),
    ]:
        answer = call(gateway, "POST", "tenants", body=body)
        assert answer.status_code == 400 and answer.json()["error"]["field"] == field, answer.text
    assert call(gateway, "POST", "nothing", body={}).status_code == 404
    assert call(gateway, "PUT", "tenants", body={}).status_code == 405
    assert call(gateway, "GET", "tenants", key="wrong").status_code == 401


def test_lists_have_pages(gateway):
    tenant, _ = gateway.make_key()
    for number in range(5):
        gateway.manage("POST", "teams", {"tenant": tenant, "name": f"{number}"})
    seen, after = [], ""
    while True:
        page = gateway.manage("GET", f"teams?tenant={tenant}&limit=2{after}")
        seen += [team["name"] for team in page["data"]]
        if "next" not in page:
            break
        after = f"&after={page['next']}"
    assert sorted(seen) == ["0", "1", "2", "3", "4"]


def test_the_same_idempotency_key_gives_the_same_key_again(gateway):
    tenant, _ = gateway.make_key()
    body = {"tenant": tenant, "name": "once"}
    first = call(gateway, "POST", "keys", body=body, **{"idempotency-key": "k1"})
    again = call(gateway, "POST", "keys", body=body, **{"idempotency-key": "k1"})
    assert first.json() == again.json() and again.headers["idempotent-replayed"] == "true"
    other = call(gateway, "POST", "keys", body=body | {"name": "two"}, **{"idempotency-key": "k1"})
    assert other.status_code == 409
    listed = gateway.manage("GET", f"keys?tenant={tenant}&name=once")["data"]
    assert len(listed) == 1 and "key" not in listed[0] and "digest" not in str(listed)
    assert first.json()["key"] not in gateway.log.read_text()


def test_another_tenants_things_do_not_exist(gateway, tenants):
    a, b = tenants["A"], tenants["B"]
    secret = b["secrets"]["admin"]
    document = httpx.get(f"{gateway.admin}/admin/v1/openapi.json").json()
    tried = 0
    for path, methods in document["paths"].items():
        kind = path.split("/")[3]
        if "{id}" not in path:
            continue
        for method in methods:
            body = {"patch": {"name": "stolen"}, "post": {}}.get(method)
            of = lambda id: call(gateway, method.upper(), path.removeprefix("/admin/v1/").replace("{id}", id), secret, body)
            foreign, missing = of(a[kind]), of("key_nothing")
            assert (foreign.status_code, foreign.text) == (missing.status_code, missing.text), path
            assert foreign.status_code == 404, (path, method, foreign.text)
            tried += 1
    assert tried > 15
    for kind in ("tenants", "teams", "users", "keys", "budgets"):
        for query in ("", f"?tenant={a['tenants']}"):
            assert a[kind] not in call(gateway, "GET", kind + query, secret).text
    created = call(gateway, "POST", "teams", secret, {"tenant": a["tenants"], "name": "x"})
    absent = call(gateway, "POST", "teams", secret, {"tenant": "ten_nothing", "name": "x"})
    assert created.status_code == 400 and created.text == absent.text
    budget = {"name": "x", "scope": {"kind": "tenant"}, "period": "day", "amount_nanos": 1, "hard": True}
    key_in_foreign_team = {"name": "x", "team": a["teams"]}
    assert call(gateway, "POST", "keys", secret, key_in_foreign_team).status_code == 400
    assert call(gateway, "POST", "budgets", secret, budget).status_code == 201
    for events in (call(gateway, "GET", "events?limit=1000", secret).json()["data"],):
        assert events and {event["tenant"] for event in events} == {b["tenants"]}


def test_roles_may_what_the_table_says(gateway, tenants):
    a = tenants["A"]
    columns = ["user", "developer", "finance", "auditor", "admin"]
    ways = {
        "teams": ("GET", "teams", None, "..xxx"),
        "make team": ("POST", "teams", {"name": "x"}, "....x"),
        "budgets": ("GET", "budgets", None, "..xxx"),
        "make budget": ("POST", "budgets", {"name": "x", "scope": {"kind": "tenant"}, "period": "day",
                                            "amount_nanos": 1, "hard": False}, "..x.x"),
        "prices": ("GET", "prices", None, "..xxx"),
        "events": ("GET", "events", None, "...xx"),
        "make tenant": ("POST", "tenants", {"name": "x"}, "....."),
        "own key": ("GET", f"keys/{a['keys']}", None, "x.xxx"),
        "whoami": ("GET", "whoami", None, "xxxxx"),
    }
    for name, (method, path, body, cells) in ways.items():
        for role, cell in zip(columns, cells):
            answer = call(gateway, method, path, a["secrets"][role], body)
            assert answer.is_success == (cell == "x"), (name, role, answer.status_code, answer.text)


def test_roles_that_administer_money_do_not_call_models(gateway, tenants):
    for role, status in [("user", 200), ("developer", 200), ("finance", 403), ("auditor", 403), ("admin", 200)]:
        answer = gateway.ask(tenants["A"]["secrets"][role])
        assert answer.status_code == status, (role, answer.text)


def test_the_document_describes_what_is_served(gateway):
    document = httpx.get(f"{gateway.admin}/admin/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            answer = httpx.request(method.upper(), gateway.admin + path.replace("{id}", "x"))
            assert answer.status_code == 401, (method, path, answer.text)
            assert "default" in operation["responses"]


def test_only_listed_addresses_may_call(gateways):
    gateway = gateways("listed")
    gateway.stop()
    text = gateway.file.read_text().replace("  drain_timeout_s", '  admin_addresses: ["10.0.0.0/8"]\n  drain_timeout_s')
    gateway.file.write_text(text)
    gateway.start()
    answer = call(gateway, "GET", "whoami")
    assert answer.status_code == 403
