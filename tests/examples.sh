#!/usr/bin/env bash
# Builds the services of examples/, each with the tools of its own language, where their sources changed. tests/run.sh runs this, and
# tests/it/examples.rs what it builds. The first time it downloads what go.mod, pom.xml and package-lock.json pin; then it works offline.
set -euo pipefail
cd "$(dirname "$0")/.."

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

install() {
    as_root apt-get update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
}

command -v go || install golang-go
# From 1.21 on, it fetches the version that go.mod names.
go version | grep --quiet --extended-regexp 'go1\.(2[1-9]|[3-9][0-9])' ||
    { echo "Go 1.21 or newer is missing: https://go.dev/dl" >&2 && exit 1; }
command -v javac || install default-jdk-headless
command -v mvn || install maven

# Runs the rest of its arguments in examples/$1, if what is in there or the protos differ from the last time.
build() {
    local language=$1 sum
    shift
    sum=$(find "examples/$language" proto -type f -not -path '*/target/*' -not -path '*/stubs/*' -not -path '*/node_modules/*' -not -name '*.pyc' -print0 |
        sort -z | xargs -0 sha256sum | sha256sum)
    [ "$sum" != "$(cat "examples/$language/target/built" 2>/dev/null)" ] || return 0
    (cd "examples/$language" && "$@")
    mkdir -p "examples/$language/target"
    printf %s "$sum" >"examples/$language/target/built" # last, so that a build that broke off is done again
}

build_go() {
    PATH=$PWD/../../.tools/bin:$PATH buf generate ../../proto --path ../../proto/scopegate
    go build -trimpath -o target/orders .
}

build_python() {
    mkdir -p target/stubs
    ../../.tools/bin/python -m grpc_tools.protoc -I../../proto --python_out=target/stubs --grpc_python_out=target/stubs \
        scopegate/v1/token_service.proto google/rpc/status.proto
}

build go build_go
build java mvn --batch-mode --quiet package
build node npm ci --ignore-scripts --no-audit --no-fund
build python build_python
