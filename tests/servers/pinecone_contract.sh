#!/usr/bin/env bash
# Pinecone's published OpenAPI documents (tests/data/pinecone-*.oas.yaml), held up to requests by Prism: what they forbid is answered with 4xx
# and a `sl-violations` header. It keeps no state and knows no key.
#   pinecone_contract.sh install       into a folder outside the clone: 90 MB, half a minute
#   pinecone_contract.sh serve FOLDER PORT  the contract of an index on 127.0.0.1:PORT and that of the API on the port after it, until
#                                           standard input ends; says its address once both answer; keeps nothing in FOLDER
set -euo pipefail
data=$(cd "$(dirname "$0")/../data" && pwd)
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
  [ -e "$ready" ] || { echo "not installed; tests/servers/pinecone_contract.sh install does it" >&2 && exit 69; }
  local servers=() port=$2
  trap 'kill "${servers[@]}" 2>/dev/null; wait' EXIT
  for contract in pinecone-data-2025-10 pinecone-control-2026-04; do
    node "$prism" mock -h 127.0.0.1 -p "$port" "$data/$contract.oas.yaml" </dev/null >&2 &
    servers+=($!)
    port=$((port + 1))
  done
  for port in "$2" $(($2 + 1)); do
    until (echo >"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
      kill -0 "${servers[@]}" || exit 70
      sleep 0.05
    done
  done
  echo "http://127.0.0.1:$2"
  cat >/dev/null
}

"$@"
