#!/bin/sh
# Makes every Secret that the manifests ask for, with new random values, and prints them:
#
#     k8s/secrets.sh production | kubectl apply -f -
#
# Run it once for each cluster and keep what it prints as you keep other secrets. LLM_API_KEY is
# taken from the environment. Run again with `tls` as second argument it makes new certificates only.
set -eu

overlay=${1:?usage: $0 local|production [tls]}
part=${2:-all}
case $overlay in
    local) servers=1 ;;
    production | keda) servers=3 ;;
    *) echo "$0: there is no overlay $overlay" >&2; exit 2 ;;
esac
command -v openssl >/dev/null || { echo "$0: openssl is missing" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
umask 077

random() { openssl rand -hex 24; }
indented() { sed 's/^/    /' "$1"; }

# An authority of our own, whose key is forgotten, and one certificate for all servers: it is good
# for clients by name, and for the servers among themselves.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 825 \
    -keyout ca.key -out ca.crt -subj "/CN=actor-mesh NATS" 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
    -keyout tls.key -out tls.csr -subj "/CN=mesh-nats" 2>/dev/null
# Each server by name, and two that may come: `*.mesh-nats` is too wide a wildcard for OpenSSL, and so
# for Python.
names="DNS:mesh-nats, DNS:localhost"
for number in 0 1 2 3 4; do
    names="$names, DNS:mesh-nats-$number.mesh-nats"
done
cat >extensions <<END
subjectAltName = $names
extendedKeyUsage = serverAuth, clientAuth
END
openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 825 \
    -extfile extensions -out tls.crt 2>/dev/null

cat <<END
apiVersion: v1
kind: Secret
metadata: {name: mesh-nats-tls, namespace: actor-mesh}
type: kubernetes.io/tls
stringData:
  ca.crt: |
$(indented ca.crt)
  tls.crt: |
$(indented tls.crt)
  tls.key: |
$(indented tls.key)
END
test "$part" = tls && exit

worker=$(random) web=$(random) redis=$(random)

# broker USER PASSWORD: all servers by name, as certificates have them.
broker() {
    list="nats://$1:$2@mesh-nats-0.mesh-nats:4222"
    number=1
    while [ $number -lt $servers ]; do
        list="$list;nats://mesh-nats-$number.mesh-nats:4222"
        number=$((number + 1))
    done
    echo "$list?tls_ca=/etc/mesh/secrets/nats-ca.crt"
}

cat <<END
---
apiVersion: v1
kind: Secret
metadata: {name: mesh-nats, namespace: actor-mesh}
stringData:
  passwords.conf: |
    WORKER_A_PASSWORD: "$worker"
    WORKER_B_PASSWORD: "$(random)"
    WEB_A_PASSWORD: "$web"
    WEB_B_PASSWORD: "$(random)"
    OPERATOR_PASSWORD: "$(random)"
---
apiVersion: v1
kind: Secret
metadata: {name: mesh-redis, namespace: actor-mesh}
stringData:
  password: $redis
  auth.conf: |
    requirepass $redis
---
apiVersion: v1
kind: Secret
metadata: {name: mesh-worker, namespace: actor-mesh}
stringData:
  broker_url: $(broker worker-a "$worker")
  redis_url: redis://:$redis@mesh-redis:6379/0
  llm_api_key: "${LLM_API_KEY:-}"
---
apiVersion: v1
kind: Secret
metadata: {name: mesh-web, namespace: actor-mesh}
stringData:
  broker_url: $(broker web-a "$web")
  secret_key: $(random)
  operator_token: $(random)
---
apiVersion: v1
kind: Secret
metadata: {name: mesh-metrics, namespace: actor-mesh}
stringData:
  token: $(random)
END
