"""LangChain, with GigaChat at the far side."""

import pytest
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


@pytest.fixture
def model(demo):
    return ChatOpenAI(
        base_url=demo["base_url"] + "/v1", api_key=demo["keys"]["default"], model="gigachat"
    )


@tool
def get_weather(city: str) -> str:
    """Погода в городе"""
    return f"В городе {city} 5 градусов"


class City(BaseModel):
    name: str


def test_invoke_and_stream(model):
    assert model.invoke("[[sim: text=Привет]] Скажи").content == "Привет"
    pieces = [piece.content for piece in model.stream("[[sim: text=раз два три; chunks=3]] Счёт")]
    assert "".join(pieces) == "раз два три"


def test_tools(model):
    bound = model.bind_tools([get_weather])
    question = ("user", "[[sim: tools=1]] Какая погода в Твери?")
    first = bound.invoke([question])
    call = first.tool_calls[0]
    result = get_weather.invoke(call)
    final = bound.invoke([question, first, result])
    assert "5 градусов" in final.content


def test_structured_output(model):
    for method in ["json_schema", "function_calling"]:
        structured = model.with_structured_output(City, method=method)
        assert isinstance(structured.invoke("Назови город"), City)
