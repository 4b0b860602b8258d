#!/usr/bin/env bash
# A stand-in for a Qdrant server, made of what Qdrant publishes in its Python package: qdrant.py says what it is not.
#   qdrant.sh install               into a folder outside the clone
#   qdrant.sh serve FOLDER PORT     on 127.0.0.1 until standard input ends; PORT 0 is any; says its address once it answers; keeps its
#                                   data in FOLDER; with API_KEY set it asks for that key
set -euo pipefail
script=$(cd "$(dirname "$0")" && pwd)/qdrant.py
version=1.20.0
home=${XDG_CACHE_HOME:-$HOME/.cache}/vectide/qdrant-client-$version
python=$home/venv/bin/python

install() {
  [ ! -e "$home/ready" ] || return 0
  python3 -m venv "$home/venv"
  "$python" -m pip install -q --no-compile "qdrant-client==$version"
  touch "$home/ready"
}

serve() {
  [ -e "$home/ready" ] || { echo "not installed; tests/servers/qdrant.sh install does it" >&2 && exit 69; }
  exec "$python" "$script" "$@"
}

"$@"
