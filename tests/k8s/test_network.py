"""What may speak to what: exactly what the policies are meant to let through."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
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


def addressed(peer: Any, address: str) -> bool:
    """Say whether a rule's peer is a range with this address in it."""
    block = peer.get("ipBlock")
    if block is None:
        return False
    within = [
        ip_address(address) in ip_network(r) for r in (block["cidr"], *block.get("except", ()))
    ]
    return within[0] and not any(within[1:])


def goes_to_address(manifests: Manifests, pod: Pod, address: str) -> set[tuple[str, int]]:
    """Return protocols and ports that a pod may speak to at an address outside."""
    return {
        (port["protocol"], port["port"])
        for rule in rules(manifests, pod, "egress")
        if any(addressed(peer, address) for peer in rule["to"])
        for port in rule["ports"]
    }


def goes_to_pods(
    manifests: Manifests, pod: Pod, namespace: str, labels: dict[str, str]
) -> set[tuple[str, int]]:
    """Return protocols and ports that a pod may speak to on other namespaces' pods."""
    name = {"kubernetes.io/metadata.name": namespace}
    return {
        (port["protocol"], port["port"])
        for rule in rules(manifests, pod, "egress")
        if any(
            "namespaceSelector" in peer
            and selects(peer["namespaceSelector"], name)
            and selects(peer.get("podSelector", {}), labels)
            for peer in rule["to"]
        )
        for port in rule["ports"]
    }


NAMES = {("UDP", 53), ("TCP", 53)}


@pytest.mark.parametrize("overlay", ["local", "production"])
def test_all_may_ask_for_names_wherever_a_cluster_has_its_dns(overlay: str) -> None:
    manifests = built(overlay)
    for pod in (Pod(manifests, workload) for workload in manifests.workloads):
        dns, other = {"k8s-app": "kube-dns"}, {"app": "other"}
        assert goes_to_pods(manifests, pod, "kube-system", dns) == NAMES
        assert goes_to_pods(manifests, pod, "kube-system", other) == NAMES
        assert goes_to_pods(manifests, pod, "dns", dns) == NAMES
        assert goes_to_pods(manifests, pod, "dns", other) == set()
        assert goes_to_address(manifests, pod, "169.254.20.10") == NAMES  # NodeLocal DNSCache


@pytest.mark.parametrize("overlay", ["local", "production"])
@pytest.mark.parametrize("address", ["93.184.215.14", "172.32.0.1", "2606:4700::1111"])
def test_only_workers_reach_the_internet_and_only_in_production(overlay: str, address: str) -> None:
    manifests = built(overlay)
    for pod in (Pod(manifests, workload) for workload in manifests.workloads):
        out = overlay == "production" and pod.name == "mesh-worker"
        assert goes_to_address(manifests, pod, address) == ({("TCP", 443)} if out else set())


@pytest.mark.parametrize("overlay", ["local", "production"])
@pytest.mark.parametrize(
    "address",
    [
        *("10.43.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1"),
        *("169.254.169.254", "100.100.100.200", "fd00:ec2::254", "fe80::1"),
    ],
)
def test_nobody_reaches_private_addresses_or_what_clouds_tell_their_machines(
    overlay: str, address: str
) -> None:
    manifests = built(overlay)
    for pod in (Pod(manifests, workload) for workload in manifests.workloads):
        assert goes_to_address(manifests, pod, address) == set()
