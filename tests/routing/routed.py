"""A gateway whose providers are simulators of their own: `p0`, `p1`, ..."""

import subprocess

import httpx
from running import BINARY, Gateway, bearer, wait_until

# Short times: what takes a minute in earnest takes half a second here.
QUICK = "breaker: {open_ms: 500, lasting_open_ms: 500, ramp_step_ms: 0, reopen_on_probe_ms: 100}"


class Router(Gateway):
    def __init__(self, folder, simulators, routing=QUICK, models="", residency=None, storage=""):
        super().__init__(folder, simulators[0], storage=storage)
        residency = residency or {}
        providers = "".join(
            f'  p{number}: {{kind: vllm, base_url: "{simulator.url}/vllm/v1", '
            f'residency: {residency.get(number, "global")}}}\n'
            for number, simulator in enumerate(simulators)
        )
        text = self.file.read_text()
        text = text.replace("limits:\n", "limits:\n  missing_price: free\n", 1)
        text = text.replace("providers:\n", f"routing: {{{routing}}}\nproviders:\n{providers}", 1)
        self.file.write_text(text.rstrip() + "\n" + models)

    def served(self, model="chat", text="Привет", **more):
        """Which provider served, and in how many attempts."""
        answer = self.ask(model=model, text=text, **more)
        assert answer.is_success, answer.text
        return answer.headers["x-llm-proxy-provider"], int(answer.headers["x-llm-proxy-attempts"])

    def health(self, provider):
        """0 in service, 1 ramping, 2 tried out, 3 cooling down, 4 out of service."""
        name = f'llm_proxy_deployment_health{{gen_ai_provider_name="{provider}"'
        for line in httpx.get(self.ops + "/metrics").text.splitlines():
            if line.startswith(name):
                return int(line.rsplit(" ", 1)[1])
        raise AssertionError(f"no health of {provider}")

    def metric(self, name):
        lines = httpx.get(self.ops + "/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def chat(*deployments, name="chat", routing=""):
    """A model over deployments such as `"provider: p0, priority: 2"`."""
    listed = "".join(f"      - {{model: qwen3-32b, {deployment}}}\n" for deployment in deployments)
    extra = f"    routing: {{{routing}}}\n" if routing else ""
    return f"  - name: {name}\n{extra}    deployments:\n{listed}"


def restart(simulator):
    """A simulator that was killed, on its old port."""
    command = [BINARY, "simulate", "--listen", f"127.0.0.1:{simulator.port}"]
    simulator.process = subprocess.Popen(command)
    wait_until(lambda: httpx.get(simulator.url + "/_sim/healthz").is_success)


def asked(simulator):
    """Requests that a simulator got, probes aside."""
    log = httpx.get(simulator.url + "/_sim/requests?last=1000").json()
    requests = log["requests"] if isinstance(log, dict) else log
    return [request for request in requests if request.get("method", "POST") == "POST"]


def profile(simulator, **rule):
    """What the simulator does from now on."""
    httpx.put(simulator.url + "/_sim/profile", json={"defaults": rule}).raise_for_status()


__all__ = ["QUICK", "Router", "asked", "bearer", "chat", "profile", "restart"]
