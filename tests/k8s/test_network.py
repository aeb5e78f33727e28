"""What may speak to what: exactly what the policies are meant to let through."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from tests.k8s.manifests import Manifests, Object, built, selects

#: Namespaces whose pods come to us, by overlay, and what they reach.
VISITORS = {
    "local": {("kube-system", "mesh-web", 6066)},
    "production": {
        ("ingress-nginx", "mesh-web", 6066),
        ("monitoring", "mesh-web", 6066),
        ("monitoring", "mesh-worker", 6071),
    },
}
INSIDE = {
    ("mesh-worker", "mesh-nats", 4222),
    ("mesh-web", "mesh-nats", 4222),
    ("mesh-nats", "mesh-nats", 6222),
    ("mesh-worker", "mesh-redis", 6379),
}
MOCKS = {("mesh-worker", "mesh-mocks", port) for port in (6067, 6068, 6069, 6070)}


class Pod:
    """A workload's pod as policies see it."""

    def __init__(self, manifests: Manifests, workload: Object) -> None:
        self.name = workload["metadata"]["name"]
        self.labels = manifests.labels(workload)
        self.ports = {
            port["name"]: port["containerPort"]
            for container in workload["spec"]["template"]["spec"]["containers"]
            for port in container["ports"]
        }


def rules(manifests: Manifests, pod: Pod, direction: str) -> Iterator[Any]:
    """Yield the rules for a pod; nothing is allowed that no rule allows, as one policy sees to."""
    policies = [
        policy["spec"]
        for policy in manifests.of("NetworkPolicy")
        if selects(policy["spec"]["podSelector"], pod.labels)
        and direction.capitalize() in policy["spec"]["policyTypes"]
    ]
    assert policies, f"everything is allowed: {direction} of {pod.name}"
    for policy in policies:
        yield from policy.get(direction, ())


def names_port(rule: Any, pod: Pod, port: int) -> bool:
    assert rule["ports"], "a rule without ports allows all of them"
    numbers = (pod.ports.get(one["port"], one["port"]) for one in rule["ports"])
    return port in numbers


def allows(rule: Any, side: str, other: Pod) -> bool:
    assert rule[side], "a rule without peers allows all of them"
    return any(
        "podSelector" in peer
        and "namespaceSelector" not in peer
        and selects(peer["podSelector"], other.labels)
        for peer in rule[side]
    )


@pytest.mark.parametrize("overlay", ["local", "production"])
def test_only_what_is_used_is_open_inside(overlay: str) -> None:
    manifests = built(overlay)
    pods = [Pod(manifests, workload) for workload in manifests.workloads]
    opened = {
        (source.name, target.name, port)
        for source, target in product(pods, pods)
        for port in target.ports.values()
        if any(
            allows(rule, "to", target) and names_port(rule, target, port)
            for rule in rules(manifests, source, "egress")
        )
        and any(
            allows(rule, "from", source) and names_port(rule, target, port)
            for rule in rules(manifests, target, "ingress")
        )
    }
    assert opened == INSIDE | (MOCKS if overlay == "local" else set())


@pytest.mark.parametrize("overlay", ["local", "production"])
def test_only_who_should_comes_from_outside(overlay: str) -> None:
    manifests = built(overlay)
    opened = set()
    for pod in (Pod(manifests, workload) for workload in manifests.workloads):
        for rule in rules(manifests, pod, "ingress"):
            for peer in rule["from"]:
                if "namespaceSelector" in peer:
                    space = peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
                    ports = (port for port in pod.ports.values() if names_port(rule, pod, port))
                    opened |= {(space, pod.name, port) for port in ports}
                assert "ipBlock" not in peer
    assert opened == VISITORS[overlay]


def test_only_workers_reach_the_internet_and_only_in_production() -> None:
    for overlay in ("local", "production"):
        manifests = built(overlay)
        out = {
            pod.name
            for pod in (Pod(manifests, workload) for workload in manifests.workloads)
            for rule in rules(manifests, pod, "egress")
            if any("ipBlock" in peer for peer in rule["to"])
        }
        assert out == ({"mesh-worker"} if overlay == "production" else set())
