#!/bin/sh
# Applies an overlay to a cluster and waits until it works: `make deploy CONTEXT=… OVERLAY=…`.
set -eu
cd "$(dirname "$0")/.."

context=$1
overlay=$2
fail() {
    echo "$@" >&2
    exit 1
}

k8s/need.sh kubectl
test -d "k8s/overlays/$overlay" ||
    fail "There is no overlay $overlay. There are: $(ls k8s/overlays | tr '\n' ' ')"
test -n "$context" ||
    fail "Say which cluster: CONTEXT=…, one of: $(kubectl config get-contexts --output=name | tr '\n' ' ')"

kubernetes() { kubectl --context "$context" "$@"; }

objects=$(kubernetes kustomize "k8s/overlays/$overlay")
examples='example\.com|192\.0\.2\.'
if echo "$objects" | grep -Eq "$examples"; then
    fail "There are still places to fill in: the image, the shop, the hosts, who may operate." \
        "
$(grep -Ern "$examples" "k8s/overlays/$overlay" k8s/overlays/production | sort -u)"
fi
kubernetes version >/dev/null 2>&1 || fail "No cluster answers for the context $context."

kubernetes apply --filename k8s/base/namespace.yaml
lacking=""
for secret in mesh-nats mesh-nats-tls mesh-redis mesh-worker mesh-web mesh-metrics; do
    kubernetes --namespace actor-mesh get secret "$secret" >/dev/null 2>&1 ||
        lacking="$lacking $secret"
done
test -z "$lacking" || fail "Secrets are missing:$lacking." \
    "Make them: k8s/secrets.sh $overlay | kubectl --context $context apply -f -"

# What was changed by hand, or rolled back, becomes what is written here: else it would be a conflict.
echo "$objects" | kubernetes apply --server-side --force-conflicts --filename -
# Autoscalers leave alone what was stopped by hand, as for a backup; from one on they say how many.
for workload in statefulset/mesh-worker deployment/mesh-web; do
    count=$(kubernetes --namespace actor-mesh get "$workload" --output='jsonpath={.spec.replicas}')
    test "$count" != 0 ||
        kubernetes --namespace actor-mesh scale "$workload" --replicas=1
done
for workload in statefulset/mesh-nats deployment/mesh-redis statefulset/mesh-worker \
    deployment/mesh-web; do
    kubernetes --namespace actor-mesh rollout status "$workload" --timeout=10m
done
