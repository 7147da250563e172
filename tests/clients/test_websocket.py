"""OpenAI's Responses API over a WebSocket."""

import asyncio
import json
import time

import httpx
import pytest
import websockets


def connect(demo, key=None):
    return websockets.connect(
        demo["base_url"].replace("http", "ws") + "/v1/responses",
        additional_headers={"authorization": "Bearer " + (key or demo["keys"]["default"])},
    )


async def events_of(socket):
    events = []
    while True:
        event = json.loads(await asyncio.wait_for(socket.recv(), 10))
        events.append(event)
        if event["type"] in ("response.completed", "response.failed", "error"):
            return events


def create(model, text):
    return json.dumps({"type": "response.create", "model": model, "input": text})


@pytest.mark.parametrize("model", ["gigachat", "openai"])
def test_two_responses_on_one_socket(demo, model):
    async def run():
        async with connect(demo) as socket:
            for text in ["раз", "два и три"]:
                await socket.send(create(model, f"[[sim: text={text}; chunks=3]] Скажи"))
                events = await events_of(socket)
                assert events[0]["type"] == "response.created"
                deltas = [e["delta"] for e in events if e["type"] == "response.output_text.delta"]
                assert "".join(deltas) == text
                assert events[-1]["type"] == "response.completed"
                numbers = [event["sequence_number"] for event in events]
                assert numbers == sorted(numbers)

    asyncio.run(run())


def test_events_equal_those_of_the_stream(demo, http):
    body = {"model": "gigachat", "input": "[[sim: text=одно и то же; chunks=2]] Да"}
    streamed = []
    with http.stream("POST", "/v1/responses", json={**body, "stream": True}) as response:
        for line in response.iter_lines():
            if line.startswith("data: "):
                streamed.append(json.loads(line[6:])["type"])

    async def run():
        async with connect(demo) as socket:
            await socket.send(json.dumps({"type": "response.create", **body}))
            return [event["type"] for event in await events_of(socket)]

    assert asyncio.run(run()) == streamed


def test_errors_are_events_and_the_socket_lives_on(demo):
    async def run():
        async with connect(demo) as socket:
            for message, expected in [
                ("это не JSON", "invalid_json"),
                ('{"type":"session.update"}', "unknown_event"),
                (create("no-such-route", "Да"), "model_not_found"),
                (create("gigachat", "[[sim: status=429]] Да"), "rate_limit_exceeded"),
            ]:
                await socket.send(message)
                event = json.loads(await socket.recv())
                assert event["type"] == "error", event
                assert event["error"]["code"] == expected
            await socket.send(b"\x00\xff")
            assert json.loads(await socket.recv())["type"] == "error"
            await socket.send(create("gigachat", "[[sim: text=жив]] Да"))
            assert (await events_of(socket))[-1]["type"] == "response.completed"

    asyncio.run(run())


def test_requests_sent_at_once_are_answered_in_order(demo):
    async def run():
        async with connect(demo) as socket:
            for text in ["раз", "два"]:
                await socket.send(create("vllm", f"[[sim: text={text}; chunks=3; between_ms=20]] Да"))
            for text in ["раз", "два"]:
                final = (await events_of(socket))[-1]
                assert final["response"]["output"][-1]["content"][0]["text"] == text

    asyncio.run(run())


def test_a_message_that_is_too_large_closes_with_1009(demo):
    async def run():
        async with connect(demo) as socket:
            with pytest.raises(websockets.ConnectionClosed):
                await socket.send(create("vllm", "a" * (40 << 20)))
                await asyncio.wait_for(socket.recv(), 10)
            assert socket.close_code == 1009

    asyncio.run(run())


def test_a_wrong_key_gets_no_socket(demo):
    async def run():
        async with connect(demo, key="sk-wrong"):
            pass

    with pytest.raises(websockets.InvalidStatus) as caught:
        asyncio.run(run())
    assert caught.value.response.status_code == 401
    assert httpx.get(demo["base_url"] + "/v1/responses").status_code == 405


def test_closing_cancels_the_provider(demo, simulator):
    mark = f"closing {time.time()}"

    async def run():
        async with connect(demo) as socket:
            script = f"[[sim: chunks=200; between_ms=50]] {mark}"
            await socket.send(create("vllm", script))
            for _ in range(6):
                await socket.recv()

    asyncio.run(run())
    wait_for_client_gone(simulator, mark)


def wait_for_client_gone(simulator, mark):
    deadline = time.time() + 5
    while time.time() < deadline:
        for request in simulator.get("/_sim/requests?last=50").json()["requests"]:
            if mark in request["body"] and request["outcome"] == "client_gone":
                return
        time.sleep(0.05)
    raise AssertionError("the provider was not cancelled")
