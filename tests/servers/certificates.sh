#!/usr/bin/env bash
# Throwaway certificates for tests, made anew each time and good for two days. Needs openssl.
#   certificates.sh FOLDER   ca.pem, the authority to trust; server.pem and server.key for 127.0.0.1 and localhost, signed by it;
#                            elsewhere.pem and elsewhere.key for another host, signed by it too; and other-ca.pem, an authority that
#                            signed nothing
set -euo pipefail
command -v openssl >/dev/null || { echo "there is no openssl" >&2 && exit 69; }
mkdir -p "$1" && cd "$1"

key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2)
for authority in ca other-ca; do
  openssl req -x509 "${key[@]}" -subj "/CN=$authority of Vectide's tests" -keyout "$authority.key" -out "$authority.pem"
done
issue() {
  openssl req -x509 "${key[@]}" -subj "/CN=$1" -CA ca.pem -CAkey ca.key -addext "subjectAltName=$2" \
    -addext "basicConstraints=critical,CA:FALSE" -keyout "$3.key" -out "$3.pem"
}
issue localhost IP:127.0.0.1,DNS:localhost server
issue elsewhere.example DNS:elsewhere.example elsewhere
rm ca.key other-ca.key
