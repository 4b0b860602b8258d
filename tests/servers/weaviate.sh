#!/usr/bin/env bash
# Weaviate, built from its source with Go 1.26: the real server.
#   weaviate.sh install             into a folder outside the clone: 140 MB, and 2 GB for Go's caches; 6 to 20 minutes with 2 cores
#   weaviate.sh serve FOLDER PORT   its REST API on 127.0.0.1:PORT and gRPC on the port after it, until standard input ends; keeps its data in
#                                   FOLDER; says the address of REST and that of gRPC once it answers. Its key is `secret`
set -euo pipefail
script=$(cd "$(dirname "$0")" && pwd)/weaviate.py
version=1.38.11
home=${XDG_CACHE_HOME:-$HOME/.cache}/vectide/weaviate-$version
server=$home/bin/weaviate-server

install() {
  [ ! -e "$server" ] || return 0
  CGO_ENABLED=0 GOBIN=$home/bin go install -ldflags='-s -w' "github.com/weaviate/weaviate/cmd/weaviate-server@v$version"
}

serve() {
  [ -e "$server" ] || { echo "not installed; tests/servers/weaviate.sh install does it" >&2 && exit 69; }
  exec python3 "$script" "$server" "$@"
}

"$@"
