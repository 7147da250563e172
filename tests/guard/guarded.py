"""A gateway with a guard, and what simulated providers got to see."""

import json

import httpx
from running import STATIC_KEY, Gateway, bearer

MODELS = {
    "law": ("openai", "gpt-4o-mini", "152-fz"),
    "law-claude": ("anthropic", "claude-sonnet-4-5", "152-fz"),
    "law-giga": ("gigachat", "GigaChat-2-Pro", "152-fz"),
    "strict": ("openai", "gpt-4o-mini", "strict"),
    "cards": ("openai", "gpt-4o-mini", "pci"),
    "standard": ("openai", "gpt-4o-mini", "standard"),
    "watched": ("openai", "gpt-4o-mini", "watched"),
    "end-users": ("openai", "gpt-4o-mini", "end-users"),
    "marked": ("openai", "gpt-4o-mini", "marked"),
    "discreet": ("openai", "gpt-4o-mini", "discreet"),
    "open": ("openai", "gpt-4o-mini", None),
}

GUARD = """
guard:
  pseudonym_key: "0123456789abcdef0123456789abcdef"
  max_text_bytes: 400000
  allow: {texts: ["8 800 555-35-35"]}
  policies:
    watched: {extends: strict, mode: shadow}
    discreet: {prompt_leaks: block}
    end-users: {system_messages: refuse}
    marked:
      classify: true
      markers: {confidential: ["коммерческая тайна"]}
"""


class Guarded(Gateway):
    def __init__(self, folder, simulator, guard=GUARD):
        super().__init__(folder, simulator)
        self.simulator = simulator
        text = self.file.read_text()
        text = text.replace("limits:\n", "limits:\n  missing_price: free\n", 1)
        models = "".join(
            f"  - name: {name}\n"
            + (f"    guard: {policy}\n" if policy else "")
            + f"    deployments: [{{provider: {provider}, model: {model}}}]\n"
            for name, (provider, model, policy) in MODELS.items()
        )
        self.file.write_text(text.rstrip() + "\n" + models + guard)

    def chat(self, model, *messages, **more):
        """The answer to messages, texts being the user's."""
        listed = [{"role": "user", "content": m} if isinstance(m, str) else m for m in messages]
        body = {"model": model, "messages": listed, **more}
        url = self.url + "/v1/chat/completions"
        return httpx.post(url, json=body, headers=bearer(STATIC_KEY), timeout=60)

    def echoed(self, model, text, **more):
        """What the caller gets back of a text that the model repeats."""
        answer = self.chat(model, text + " [[sim: echo]]", **more)
        assert answer.is_success, answer.text
        return answer.json()["choices"][0]["message"]["content"]

    def received(self, last=1):
        """The bodies that the providers got last, as text with its letters readable."""
        url = f"{self.simulator.url}/_sim/requests?last={last}"
        log = httpx.get(url).json()
        requests = log["requests"] if isinstance(log, dict) else log
        return json.dumps([request.get("body") for request in requests], ensure_ascii=False)

    def code(self, model, *messages, **more):
        answer = self.chat(model, *messages, **more)
        return answer.status_code, answer.json().get("error", {}).get("code")
