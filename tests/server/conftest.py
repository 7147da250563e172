"""A simulator, and gateways with configurations of the test's own."""

import signal
import subprocess

import httpx
import pytest
from served import BINARY, Gateway, free_port, wait_until


@pytest.fixture(scope="session")
def simulator():
    port = free_port()
    process = subprocess.Popen([BINARY, "simulate", "--listen", f"127.0.0.1:{port}"])
    url = f"http://127.0.0.1:{port}"
    wait_until(lambda: httpx.get(url + "/_sim/healthz").is_success)
    yield url
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=10)


@pytest.fixture
def gateway(tmp_path, simulator):
    gateway = Gateway(tmp_path, simulator)
    gateway.write()
    yield gateway
    if gateway.process and gateway.process.poll() is None:
        gateway.process.kill()
        gateway.process.wait()
