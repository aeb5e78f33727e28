import pytest

from tests.k8s.manifests import OVERLAYS, Manifests, built


@pytest.fixture(params=OVERLAYS)
def manifests(request: pytest.FixtureRequest) -> Manifests:
    """Each overlay in turn, as kubectl would send it."""
    return built(request.param)
