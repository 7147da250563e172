"""Starts the simulator once per session: $LLM_PROXY_BIN simulate, or the crate's example."""

import json
import os
import pathlib
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 600


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _command(port):
    listen = ["--listen", f"127.0.0.1:{port}"]
    binary = os.environ.get("LLM_PROXY_BIN")
    if binary:
        return [binary, "simulate", *listen]
    return ["cargo", "run", "-q", "-p", "simulator", "--example", "simulate", "--", *listen]


class Simulator:
    """A running simulator and its control endpoints."""

    def __init__(self, base_url):
        self.base_url = base_url

    def _call(self, method, path, body=None):
        request = urllib.request.Request(f"{self.base_url}/_sim{path}", body, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def bill(self):
        return self._call("GET", "/bill")["keys"]

    def requests(self):
        return self._call("GET", "/requests")["requests"]

    def reset(self):
        self._call("POST", "/reset")

    def set_profile(self, profile):
        self._call("PUT", "/profile", json.dumps(profile).encode())

    def now(self):
        """Unix seconds by the simulated world's clock."""
        return self._call("POST", "/clock?advance_s=0")["now"]

    def advance_clock(self, seconds):
        self._call("POST", f"/clock?advance_s={seconds}")


@pytest.fixture(scope="session")
def running_simulator():
    port = _free_port()
    process = subprocess.Popen(_command(port), cwd=ROOT)
    base_url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + START_TIMEOUT_S
    try:
        while True:
            try:
                urllib.request.urlopen(f"{base_url}/_sim/healthz", timeout=1).close()
                break
            except (urllib.error.URLError, OSError):
                assert process.poll() is None, "the simulator ended before it was ready"
                assert time.monotonic() < deadline, "the simulator did not start"
                time.sleep(0.05)
        yield Simulator(base_url)
    finally:
        process.terminate()
        process.wait(timeout=10)


@pytest.fixture
def simulator(running_simulator):
    """The simulator with a clean slate."""
    running_simulator.reset()
    yield running_simulator
    running_simulator.set_profile({})
