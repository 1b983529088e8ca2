#!/usr/bin/env bash
# The one test command: style, lints, protos, dependencies and every test. Its arguments go to `cargo test`.
# It installs what it needs into .tools, so it also passes where the project has never been.
set -euo pipefail
cd "$(dirname "$0")/.."
exec </dev/null # a step that asks a question fails at once, on every machine, instead of waiting

tools=.tools
requirements=tests/python/requirements.txt
stamp=$tools/requirements.sha256

step() { printf '\n== %s\n' "$1"; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

install() {
    as_root apt-get update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
}

# Debian and Ubuntu have a python3 whose venv module lacks pip until python3-venv is there.
make_venv() {
    python3 -m venv --clear $tools && return
    install python3-venv
    python3 -m venv --clear $tools
}

step "Install the Python clients and tools, if they changed"
if ! sha256sum --check --status $stamp 2>/dev/null; then
    make_venv
    $tools/bin/python -m pip install --quiet --no-input --disable-pip-version-check --require-hashes -r $requirements
    sha256sum $requirements >$stamp # last, so that an install that broke off is done again
fi

step "Install the JavaScript clients and the driver of Chromium, if they changed"
# They need the fetch and crypto of Node.js 20, which the package of an older distribution may not have.
node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' ||
    { echo "Node.js 20 or newer is missing: apt-get install nodejs npm, or https://nodejs.org" >&2 && exit 1; }
if ! cmp --silent tests/node/package-lock.json tests/node/node_modules/installed; then
    npm ci --prefix tests/node --ignore-scripts --no-audit --no-fund
    cp tests/node/package-lock.json tests/node/node_modules/installed
fi

step "Install PostgreSQL, if it is missing"
ls /usr/lib/postgresql/*/bin/postgres 2>/dev/null || install postgresql

step "Install Redis, and openssl for its certificates, if they are missing"
command -v redis-server || install redis-server
command -v openssl || install openssl

step "Install Chromium, if it is missing"
# On Ubuntu the package of this name installs a snap, which runs nothing in most containers; Debian has the browser itself.
command -v chromium || command -v chromium-browser || install chromium

step "Install nginx, if it is missing"
command -v /usr/sbin/nginx nginx || install nginx-light

step "Install a Git credential helper that signs in by OAuth, if it is missing"
command -v git-credential-oauth || install git git-credential-oauth

step "Generate the Python gRPC stubs"
mkdir -p $tools/stubs
$tools/bin/python -m grpc_tools.protoc -Iproto --python_out=$tools/stubs --grpc_python_out=$tools/stubs \
    scopegate/v1/token_service.proto google/rpc/status.proto

step "Build the examples in other languages, if they changed"
tests/examples.sh

step "Fetch the schemas of gateways, if they are missing"
(cd tests/schemas && go mod download)

step "Check the format"
cargo fmt --check

step "Lint the protos"
$tools/bin/buf lint proto

step "Lint the Dockerfile"
$tools/bin/hadolint deploy/docker/Dockerfile

step "Check the licenses, versions and sources of the dependencies"
$tools/bin/cargo-deny --locked --all-features check licenses bans sources

step "Lint the code"
cargo clippy --all-targets --locked -- -D warnings

step "Run the tests"
cargo test --locked "$@"

step "Run the behaviours again, on PostgreSQL"
tests/with-postgres.sh cargo test --locked --test it "$@"
