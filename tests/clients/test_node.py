"""The official SDKs for Node."""

import json
import os
import pathlib
import subprocess

NODE_TESTS = pathlib.Path(__file__).parent.parent / "node"


def test_node_sdks(demo):
    done = subprocess.run(
        ["node", "--test", "sdk.test.mjs"],
        cwd=NODE_TESTS,
        env={**os.environ, "LLM_PROXY_DEMO": json.dumps(demo)},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
