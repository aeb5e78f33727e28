#!/bin/sh
# A cluster in containers on this machine, with the overlay `local`: `make k3d-up`.
set -eu
cd "$(dirname "$0")/.."

k8s/need.sh docker k3d kubectl openssl
# Ours is the one that several parts run.
image=$(kubectl kustomize k8s/overlays/local | sed -n 's/^ *image: //p' | sort | uniq -d)
if [ "${IMAGE:-$image}" != "$image" ]; then
    echo "The overlay local runs $image, not $IMAGE: name it in k8s/overlays/local/kustomization.yaml." >&2
    exit 1
fi
cluster=actor-mesh

k3d cluster get "$cluster" >/dev/null 2>&1 ||
    k3d cluster create "$cluster" --port "127.0.0.1:8080:80@loadbalancer" --wait
docker build --tag "$image" .
k3d image import "$image" --cluster "$cluster"
kubectl --context "k3d-$cluster" apply --filename k8s/base/namespace.yaml
kubectl --context "k3d-$cluster" --namespace actor-mesh get secret mesh-web >/dev/null 2>&1 ||
    k8s/secrets.sh local | kubectl --context "k3d-$cluster" apply --filename -
ours="statefulset/mesh-worker deployment/mesh-web deployment/mesh-mocks"
# The image keeps its name: what runs already does not see that it is a new one.
running=$(kubectl --context "k3d-$cluster" --namespace actor-mesh get $ours --output=name \
    --ignore-not-found)
k8s/deploy.sh "k3d-$cluster" local
for workload in $running; do
    kubectl --context "k3d-$cluster" --namespace actor-mesh rollout restart "$workload"
    kubectl --context "k3d-$cluster" --namespace actor-mesh rollout status "$workload" --timeout=10m
done
echo "The mesh is up: http://127.0.0.1:8080/"
