#!/bin/sh
# Says which of the programs that are needed this machine lacks, and where they come from:
#
#     k8s/need.sh docker kubectl
set -u

missing=0
lacks() {
    echo "$1" >&2
    missing=1
}
for program in "$@"; do
    if [ "$program" = docker-compose ]; then # since its second version a part of docker
        docker compose version >/dev/null 2>&1 ||
            lacks "docker compose is missing: https://docs.docker.com/compose/install/"
    elif ! command -v "$program" >/dev/null; then
        case $program in
            docker) lacks "docker is missing: https://docs.docker.com/engine/install/" ;;
            k3d) lacks "k3d is missing: https://k3d.io/#installation" ;;
            kubectl) lacks "kubectl is missing: https://kubernetes.io/docs/tasks/tools/" ;;
            openssl) lacks "openssl is missing: apt-get install openssl" ;;
            *) lacks "$program is missing" ;;
        esac
    elif [ "$program" = docker ] && ! docker info >/dev/null 2>&1; then
        lacks "docker is installed, but its engine does not answer: start it, or join the group docker"
    fi
done
exit $missing
