"""The server as its operator sees it."""

import signal
import subprocess
import threading
import time

import httpx
import pytest
from served import BINARY, KEY, wait_until


def test_health_metrics_and_logs_say_what_they_should_and_no_more(gateway):
    gateway.start()
    secret = "[[sim: text=тайный ответ]] тайный вопрос"
    assert gateway.ask(secret).is_success
    assert gateway.ask(secret, stream=True).is_success
    assert gateway.ask("[[sim: status=500]] тайный вопрос").status_code == 500
    assert httpx.get(gateway.ops + "/health/live").json() == {"live": True}
    assert httpx.get(gateway.ops + "/health/ready").json() == {"ready": True, "not_ready": []}
    metrics = httpx.get(gateway.ops + "/metrics").text
    for name in [
        'llm_proxy_requests_total{surface="chat_completions",route="main",status="200",error_type=""} 2',
        'gen_ai_client_operation_duration_seconds_count{gen_ai_operation_name="chat",gen_ai_provider_name="vllm"',
        "gen_ai_client_token_usage_sum",
        "gen_ai_server_time_to_first_token_seconds_count",
        "llm_proxy_overhead_seconds_bucket",
        "llm_proxy_open_streams 0",
    ]:
        assert name in metrics, metrics
    logs = gateway.logs()
    assert logs[0]["event"] == "ready"
    requests = [line for line in logs if line["message"] == "request"]
    assert len(requests) == 3
    assert requests[0]["gen_ai.provider.name"] == "vllm"
    assert requests[0]["gen_ai.usage.output_tokens"] > 0
    everything = gateway.log_file.read_text() + metrics
    for word in ["тайный", KEY, "sim-a"]:
        assert word not in everything


def test_sigterm_lets_streams_finish_and_readiness_goes_first(gateway):
    gateway.write(server=", drain_delay_s: 1, drain_timeout_s: 20")
    gateway.start()
    result = {}

    def stream():
        answer = gateway.ask("[[sim: chunks=30; between_ms=80]] Да", stream=True)
        result["text"] = answer.text

    thread = threading.Thread(target=stream)
    thread.start()
    wait_until(lambda: "llm_proxy_open_streams 1" in httpx.get(gateway.ops + "/metrics").text)
    gateway.process.send_signal(signal.SIGTERM)
    wait_until(lambda: httpx.get(gateway.ops + "/health/ready").status_code == 503)
    assert gateway.ask().is_success, "the listener is open until the delay is over"
    thread.join()
    assert result["text"].endswith("data: [DONE]\n\n")
    assert gateway.process.wait(timeout=10) == 0
    with pytest.raises(httpx.ConnectError):
        gateway.ask()


def test_a_drain_that_takes_too_long_is_cut(gateway):
    gateway.write(server=", drain_timeout_s: 1")
    gateway.start()
    thread = threading.Thread(target=lambda: pytest.raises(httpx.HTTPError, gateway.ask, "[[sim: hang]] Да"))
    thread.start()
    wait_until(lambda: "llm_proxy_in_flight_requests 1" in httpx.get(gateway.ops + "/metrics").text)
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(timeout=10) == 1
    thread.join()


@pytest.mark.parametrize("by_signal", [False, True])
def test_a_new_configuration_is_taken_whole_or_not_at_all(gateway, by_signal):
    gateway.start()

    def reload(**more):
        before = len(gateway.logs())
        gateway.write(**more)
        if by_signal:
            gateway.process.send_signal(signal.SIGHUP)
        wait_until(lambda: any("config_" in line.get("event", "") for line in gateway.logs()[before:]))
        return [line for line in gateway.logs()[before:] if "config_" in line.get("event", "")][-1]

    added = "  - {name: added, deployments: [{provider: vllm, model: qwen3-32b}]}"
    assert gateway.ask(model="added").status_code == 404
    assert reload(models=added)["event"] == "config_applied"
    assert gateway.ask(model="added").is_success
    refused = reload(models="  - {name: broken, deployments: [{provider: vlm, model: q}]}")
    assert refused["event"] == "config_refused" and "did you mean `vllm`" in refused["reason"]
    assert gateway.ask(model="added").is_success
    refused = reload(models=added, server=", workers: 1")
    assert refused["event"] == "config_refused" and "server.workers" in refused["reason"]
    metrics = httpx.get(gateway.ops + "/metrics").text
    assert 'llm_proxy_config_reloads_total{result="refused"} 2' in metrics


def test_the_next_deployment_serves_when_the_first_is_down(gateway):
    gateway.start()
    for stream in [False, True]:
        answer = gateway.ask(model="backed-up", stream=stream)
        assert answer.is_success
        assert answer.headers["x-llm-proxy-attempts"] == "2"
        assert answer.headers["x-llm-proxy-provider"] == "vllm"


def test_timeouts_are_told_apart(gateway):
    short = "first_byte_ms: 300, idle_ms: 300, total_ms: 1500, connect_ms: 300"
    gateway.write(
        providers=f'  slow: {{kind: vllm, base_url: "{gateway.simulator}/vllm/v1", api_key: sim-a, timeouts: {{{short}}}}}',
        models="  - {name: slow, deployments: [{provider: slow, model: q}]}",
    )
    gateway.start()
    answer = gateway.ask("[[sim: hang]] Да", model="slow")
    assert answer.status_code == 504 and answer.json()["error"]["code"] == "provider_timeout"
    stalled = gateway.ask("[[sim: chunks=3; between_ms=900]] Да", model="slow", stream=True)
    assert "provider_idle_timeout" in stalled.text and "[DONE]" not in stalled.text
    long = gateway.ask("[[sim: chunks=30; between_ms=100]] Да", model="slow", stream=True)
    assert "provider_total_timeout" in long.text


def test_silent_streams_get_signs_of_life(gateway):
    gateway.write(server=", heartbeat_interval_ms: 200")
    gateway.start()
    answer = gateway.ask("[[sim: chunks=2; first_token_ms=900; between_ms=500]] Да", stream=True)
    assert answer.text.count(": keep-alive\n\n") >= 3
    assert answer.text.endswith("data: [DONE]\n\n")


def make_certificate(folder, name):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-days", "2",
         "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )


def handshake(gateway, *options):
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.port}", *options],
        input=b"", capture_output=True, timeout=20,
    )
    return done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")


def test_tls(gateway, tmp_path):
    make_certificate(tmp_path, "first")
    gateway.write(server=f', tls: {{certificate: "{tmp_path}/cert.pem", key: "{tmp_path}/key.pem"}}')
    gateway.start()
    url = gateway.url.replace("http", "https")
    with httpx.Client(verify=False, http2=False) as client:
        answer = gateway.ask(client=client, url=url)
        assert answer.is_success
        assert answer.headers["strict-transport-security"].startswith("max-age=31536000")
    both = subprocess.run(
        ["curl", "-sk", "--http2", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", url + "/v1/models"],
        capture_output=True, text=True,
    )
    assert both.stdout == "2 401"
    assert "TLSv1.3" in handshake(gateway) and "CN = first" in handshake(gateway)
    assert "Cipher is (NONE)" in handshake(gateway, "-tls1_2")
    session = tmp_path / "session.pem"
    resumed = subprocess.run(
        f"(printf 'GET /v1/models HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n'; sleep 0.5) | openssl s_client -connect 127.0.0.1:{gateway.port} -sess_out {session} -quiet; "
        f"sleep 0.2 | openssl s_client -connect 127.0.0.1:{gateway.port} -sess_in {session}",
        shell=True, capture_output=True, timeout=20,
    )
    assert b"Reused, TLSv1.3" in resumed.stdout, resumed.stdout
    time.sleep(1.1)
    make_certificate(tmp_path, "second")
    wait_until(lambda: "CN = second" in handshake(gateway))


def run(*arguments, cwd=None):
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, cwd=cwd)


def test_the_command_line(gateway, tmp_path):
    assert run("check", "--config", str(gateway.file)).returncode == 0
    effective = run("check", "--effective", "--config", str(gateway.file))
    assert "max_body_bytes: 33554432" in effective.stdout
    assert KEY not in effective.stdout and "sim-a" not in effective.stdout
    gateway.write(models="  - {name: x, deploymets: []}")
    faults = run("check", "--config", str(gateway.file))
    assert faults.returncode == 2
    assert "llm-proxy.yaml:16:15: models[2].deploymets: there is no key `deploymets`; did you mean `deployments`?" in faults.stderr
    served = run("serve", "--config", str(gateway.file))
    assert served.returncode == 2 and "deploymets" in served.stderr
    assert '"$schema"' in run("schema").stdout
    import pathlib
    binary = str(pathlib.Path(BINARY).resolve())
    lost = subprocess.run([binary], capture_output=True, text=True, cwd=tmp_path / "..")
    assert lost.returncode == 2 and "llm-proxy demo" in lost.stderr
    for command in ["serve", "demo", "simulate", "check", "schema"]:
        help_text = run(command, "--help")
        assert help_text.returncode == 0
        assert "Example" in help_text.stdout or command == "simulate"


def test_a_port_in_use_is_said(gateway):
    gateway.start()
    other = gateway.file.parent / "other"
    other.mkdir()
    (other / "llm-proxy.yaml").write_text(gateway.file.read_text())
    again = run("serve", "--config", str(other / "llm-proxy.yaml"))
    assert again.returncode == 1 and f"127.0.0.1:{gateway.port} cannot be bound" in again.stderr
