#!/usr/bin/env bash
# The systems' own Python clients, which the scripts beside this one use.
#   clients.sh install              into a folder outside the clone: 350 MB, half a minute
#   clients.sh run SYSTEM ADDRESS   the script of this system
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
home=${XDG_CACHE_HOME:-$HOME/.cache}/vectide/index-clients-1
python=$home/venv/bin/python
ready=$home/ready # The last thing that is made: where it is, all is.

install() {
  [ ! -e "$ready" ] || return 0
  python3 -m venv "$home/venv"
  "$python" -m pip install -q --no-compile pymilvus==3.0.2 qdrant-client==1.20.0 weaviate-client==4.24.1 'psycopg[binary]==3.3.9' pgvector==0.5.1
  touch "$ready"
}

run() {
  [ -e "$ready" ] || { echo "not installed; benches/indexes/clients.sh install does it" >&2 && exit 69; }
  exec "$python" -B "$here/upsert_$1.py" "${@:2}"
}

"$@"
