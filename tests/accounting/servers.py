"""PostgreSQL and Redis of the test's own, from Debian's packages."""

import glob
import os
import pathlib
import shutil
import subprocess
import tempfile

from running import free_port, wait_until


def as_postgres(command):
    """PostgreSQL refuses to run as root."""
    return ["runuser", "-u", "postgres", "--", *command] if os.geteuid() == 0 else command


class Postgres:
    def __init__(self):
        folder = glob.glob("/usr/lib/postgresql/*/bin")
        assert folder, "PostgreSQL is missing: apt-get install postgresql"
        self.bin = pathlib.Path(sorted(folder)[-1])
        self.folder = tempfile.mkdtemp(prefix="llm-proxy-postgres-")
        os.chmod(self.folder, 0o777)
        self.data = self.folder + "/data"
        self.port = free_port()
        self.run("initdb", "-D", self.data, "-U", "proxy", "-A", "trust", "-N")
        self.process = None
        self.start()
        self.url = f"postgres://proxy@127.0.0.1:{self.port}/postgres"

    def run(self, program, *arguments):
        command = as_postgres([str(self.bin / program), *arguments])
        subprocess.run(command, check=True, capture_output=True, cwd="/")

    def start(self):
        command = [str(self.bin / "postgres"), "-D", self.data, "-p", str(self.port)]
        command += ["-k", self.folder, "-c", "listen_addresses=127.0.0.1"]
        self.process = subprocess.Popen(as_postgres(command), stderr=subprocess.DEVNULL, cwd="/")
        ready = [str(self.bin / "pg_isready"), "-h", "127.0.0.1", "-p", str(self.port)]
        wait_until(lambda: subprocess.run(ready, capture_output=True).returncode == 0)

    def stop(self):
        self.run("pg_ctl", "-D", self.data, "-m", "immediate", "stop")
        self.process.wait()

    def remove(self):
        if self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Redis:
    def __init__(self):
        self.port = free_port()
        self.process = None
        self.url = f"redis://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        assert shutil.which("redis-server"), "Redis is missing: apt-get install redis-server"
        command = ["redis-server", "--port", str(self.port), "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        ping = ["redis-cli", "-p", str(self.port), "ping"]
        wait_until(lambda: b"PONG" in subprocess.run(ping, capture_output=True).stdout)

    def stop(self):
        self.process.kill()
        self.process.wait()
