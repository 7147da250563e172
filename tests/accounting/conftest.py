import pytest
from running import Gateway, Simulator


@pytest.fixture
def simulator():
    simulator = Simulator()
    yield simulator
    simulator.stop()


@pytest.fixture
def gateways(tmp_path, simulator):
    """Makes gateways, each in a folder of its own, and stops them."""
    made = []

    def make(name="one", **more):
        gateway = Gateway(tmp_path / name, simulator, **more)
        made.append(gateway)
        return gateway.start()

    yield make
    for gateway in made:
        if gateway.process and gateway.process.poll() is None:
            gateway.kill()


@pytest.fixture
def gateway(gateways):
    return gateways()
