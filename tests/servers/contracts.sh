#!/usr/bin/env bash
# The APIs that others published as OpenAPI documents (in tests/data), held up to requests by Prism: what they forbid is answered with 4xx and a
# `sl-violations` header. It keeps no state and knows no key.
#   contracts.sh install             into a folder outside the clone: 90 MB, half a minute
#   contracts.sh serve FOLDER PORT   each on a port of 127.0.0.1, from PORT on, until standard input ends; says the address of the first once
#                                    all answer; keeps nothing in FOLDER
set -euo pipefail
data=$(cd "$(dirname "$0")/../data" && pwd)
contracts=(pinecone-data-2025-10.oas.yaml pinecone-control-2026-04.oas.yaml weaviate-1.40.openapi.json)
version=5.14.2
home=${XDG_CACHE_HOME:-$HOME/.cache}/vectide/prism-$version
prism=$home/node_modules/@stoplight/prism-cli/dist/index.js
ready=$home/ready # The last thing that is made: where it is, all is.

install() {
  [ ! -e "$ready" ] || return 0
  npm install --silent --no-audit --no-fund --prefix "$home" "@stoplight/prism-cli@$version" >/dev/null
  touch "$ready"
}

serve() {
  [ -e "$ready" ] || { echo "not installed; tests/servers/contracts.sh install does it" >&2 && exit 69; }
  local port=$2 contract server
  servers=() # Not local: it is needed at the very end.
  trap 'kill "${servers[@]}" 2>/dev/null; wait' EXIT
  for contract in "${contracts[@]}"; do
    node "$prism" mock -h 127.0.0.1 -p "$port" "$data/$contract" </dev/null >&2 &
    servers+=($!)
    port=$((port + 1))
  done
  port=$2
  for server in "${servers[@]}"; do
    until (echo >"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
      kill -0 "$server" || exit 70
      sleep 0.05
    done
    port=$((port + 1))
  done
  echo "http://127.0.0.1:$2"
  cat >/dev/null
}

"$@"
