import pathlib
import sys

for folder in ("accounting", "routing"):
    sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / folder))

import pytest
from guarded import Guarded
from running import Simulator


@pytest.fixture(scope="session")
def simulator():
    """The providers; tests look at what they received."""
    started = Simulator()
    yield started
    started.stop()


@pytest.fixture(scope="session")
def guarded(simulator, tmp_path_factory):
    """A gateway whose models have different policies."""
    gateway = Guarded(tmp_path_factory.mktemp("guarded"), simulator).start()
    yield gateway
    gateway.kill()
