import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "accounting"))

import pytest
from routed import Router
from running import Simulator


@pytest.fixture
def simulators():
    """Makes simulators, each a provider of its own, and stops them."""
    made = []

    def make(count):
        new = [Simulator() for _ in range(count)]
        made.extend(new)
        return new

    yield make
    for simulator in made:
        simulator.stop()


@pytest.fixture
def routers(tmp_path):
    """Makes gateways over simulators, each in a folder of its own, and stops them."""
    made = []

    def make(simulators, name="one", **more):
        router = Router(tmp_path / name, simulators, **more)
        made.append(router)
        return router.start()

    yield make
    for router in made:
        if router.process and router.process.poll() is None:
            router.kill()
