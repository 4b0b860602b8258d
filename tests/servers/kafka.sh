#!/usr/bin/env bash
# A real broker of Apache Kafka, one node, from the jars of Maven Central. Needs Java 17 or newer and openssl, and Maven to install.
#   kafka.sh install                      into a folder outside the clone: 75 MB
#   kafka.sh serve DIR PORT [ADVERTISED]  on 127.0.0.1 until standard input ends; DIR keeps the data over a crash. PORT is for clients, PORT+1
#                                         is the controller's, PORT+2 asks for user `vectide` (PLAIN), PORT+3 speaks TLS, PORT+4 speaks TLS
#                                         and asks for user `vectide` (SCRAM). Clients of PORT are sent to port ADVERTISED. The certificates
#                                         are made in DIR
set -euo pipefail
version=4.1.0
home=${VECTIDE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vectide}/kafka-$version
jars=$home/lib # Moved here when it is whole.

install() {
  [ ! -e "$jars" ] || return 0
  mkdir -p "$home"
  rm -rf "$jars.part" # Maven takes half of a jar for a whole one.
  cat > "$home/pom.xml" <<XML
<project><modelVersion>4.0.0</modelVersion><groupId>vectide</groupId><artifactId>kafka</artifactId><version>1</version>
<dependencies><dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency></dependencies></project>
XML
  mvn -q -B -f "$home/pom.xml" dependency:copy-dependencies -DoutputDirectory="$jars.part" -DincludeScope=runtime
  mv "$jars.part" "$jars"
}

serve() {
  local dir=$1 port=$2 advertised=${3:-$2}
  [ -e "$jars" ] || { echo "not installed; tests/servers/kafka.sh install does it" >&2 && exit 69; }
  command -v java >/dev/null || { echo "there is no java" >&2 && exit 69; }
  mkdir -p "$dir"
  local certificates=$dir/certificates
  if [ ! -e "$certificates/broker.pem" ]; then
    "$(dirname "$0")/certificates.sh" "$certificates"
    cat "$certificates/server.key" "$certificates/server.pem" > "$certificates/broker.pem"
  fi
  cat > "$dir/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1)),SASL://127.0.0.1:$((port + 2)),TLS://127.0.0.1:$((port + 3)),SCRAM://127.0.0.1:$((port + 4))
advertised.listeners=PLAINTEXT://127.0.0.1:$advertised,SASL://127.0.0.1:$((port + 2)),TLS://127.0.0.1:$((port + 3)),SCRAM://127.0.0.1:$((port + 4))
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL,SCRAM:SASL_SSL
listener.name.sasl.sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_vectide="the-password";
listener.name.scram.sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512
listener.name.scram.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.scram.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location=$certificates/broker.pem
log.dirs=$dir/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
PROPERTIES
  [ -d "$dir/data" ] || java -cp "$jars/*" kafka.tools.StorageTool format -t vectideVectideVectideQ -c "$dir/server.properties" \
    --add-scram 'SCRAM-SHA-256=[name=vectide,password=the-password]' --add-scram 'SCRAM-SHA-512=[name=vectide,password=the-password]' >&2
  java -Xmx384m -XX:TieredStopAtLevel=1 -cp "$jars/*" kafka.Kafka "$dir/server.properties" >&2 &
  local broker=$!
  trap "kill -9 $broker 2>/dev/null || true" EXIT
  for _ in $(seq 600); do
    (echo > "/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    kill -0 $broker
    sleep 0.1
  done
  echo "$broker"
  # Until whoever started it ends, or says so by a line.
  read -r _ || true
}

"$@"
