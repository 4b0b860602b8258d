#!/usr/bin/env bash
# milvus-lite: Milvus' own gRPC interface in one Python process.
#   milvus.sh install               into a folder outside the clone
#   milvus.sh serve FOLDER PORT     on 127.0.0.1 until standard input ends; PORT 0 is any; says its address once it answers; keeps its
#                                   data in FOLDER
set -euo pipefail
version=3.2.2
home=${XDG_CACHE_HOME:-$HOME/.cache}/vectide/milvus-lite-$version
python=$home/venv/bin/python

install() {
  [ ! -e "$home/ready" ] || return 0
  python3 -m venv "$home/venv"
  "$python" -m pip install -q --no-compile "milvus-lite==$version" pymilvus==3.0.2
  touch "$home/ready"
}

serve() {
  [ -e "$home/ready" ] || { echo "not installed; tests/servers/milvus.sh install does it" >&2 && exit 69; }
  exec "$python" -c '
import os, sys
from milvus_lite.adapter.grpc.server import start_server_in_thread
server, database, port = start_server_in_thread(sys.argv[1], "127.0.0.1", int(sys.argv[2]))
print(f"http://127.0.0.1:{port}", flush=True)
sys.stdin.read()
os._exit(0)
' "$@"
}

"$@"
