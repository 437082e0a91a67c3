#!/usr/bin/env bash
# Real Apache Kafka (KRaft) on loopback, for tests and for trying things out.
#
#   kafka.sh install                     fetch Kafka's jars from Maven Central (once; needs mvn)
#   kafka.sh start [1|3]                 a fresh cluster in the background; old data of its name is wiped
#   kafka.sh serve [1|3]                 a fresh cluster that lives until standard input ends; then it is stopped and wiped
#   kafka.sh stop | resume | wipe        stop all nodes | start them again on their data | stop and remove the data
#   kafka.sh status | bootstrap          what runs, and where
#   kafka.sh kill9 I | restart I         SIGKILL node I | start node I again on its data
#   kafka.sh pause I | cont I            SIGSTOP node I | SIGCONT node I
#   kafka.sh topic NAME PARTITIONS [K=V …]   create a topic
#   kafka.sh topic-set NAME K=V | topic-unset NAME K   change one setting of a topic | take it back
#   kafka.sh topics [NAME] | groups | group NAME | offsets TOPIC
#   kafka.sh acl ARGS…                   what `kafka-acls.sh ARGS…` does
#   kafka.sh secured | mutual            where the listeners are that ask for a password | for a certificate
#   kafka.sh authority | client          the file with the authority that their certificates are of | the folder with
#                                        client.pem and client.key, which show the first user of KAFKA_SECURED
#   kafka.sh produce TOPIC | consume TOPIC   lines from standard input | records to standard output, committed ones only
#   kafka.sh tool CLASS ARGS…            any tool of the jars
#
# Settings, all optional, from the environment:
#   KAFKA_DIR       where jars and data go         (<repository>/.kafka)
#   KAFKA_CLUSTER   the cluster's name             (default)
#   KAFKA_PORT      the first node's port, or auto (19092; the controllers listen 100 above)
#   KAFKA_PROXIED   what stands between clients and a second listener, 200 above each node's port: the ports of
#                   those proxies, one for each node, separated by commas; the second listener advertises them
#   KAFKA_SECURED   who may come over a third listener, 300 above each node's port: NAME=PASSWORD, separated by
#                   commas. It has TLS and asks for SCRAM-SHA-512; the cluster then has an authorizer, and those
#                   users may do what ACLs say. A fourth one, 400 above, asks for a certificate that names the user
#                   (CN) instead. The first listener stays open, and is the administrator's.
#   KAFKA_HEAP      heap of one node               (512m)
#   KAFKA_EXTRA     more broker settings, K=V separated by ; or by newlines
#   KAFKA_VERSION   (4.3.1)
#   JAVA            the java command               (java, 17 or later)
#
# Processes are only ever ended by the pid that this script wrote down when it started them.
set -euo pipefail

SELF=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/$(basename "${BASH_SOURCE[0]}")
KAFKA_DIR=${KAFKA_DIR:-$(cd "$(dirname "$SELF")/../.." && pwd)/.kafka}
KAFKA_CLUSTER=${KAFKA_CLUSTER:-default}
KAFKA_HEAP=${KAFKA_HEAP:-512m}
KAFKA_VERSION=${KAFKA_VERSION:-4.3.1}
JAVA=${JAVA:-java}
DIST=$KAFKA_DIR/dist-$KAFKA_VERSION
RUN=$KAFKA_DIR/run/$KAFKA_CLUSTER
CLUSTER_ID=4L6g3nShT-eMCtK--X86sw
START_SECONDS=90

die() { echo "kafka.sh: $*" >&2; exit 1; }

recorded() { cat "$RUN/$1" 2>/dev/null || echo "$2"; }
node_count() { recorded nodes 0; }
broker_port() { echo $(($(recorded port "${KAFKA_PORT:-19092}") + $1 - 1)); }
controller_port() { echo $(($(broker_port "$1") + 100)); }
proxied_port() { echo $(($(broker_port "$1") + 200)); }
secured_port() { echo $(($(broker_port "$1") + 300)); }
mutual_port() { echo $(($(broker_port "$1") + 400)); }

bootstrap() { # what gives a node's port
  local i list=
  for ((i = 1; i <= $(node_count); i++)); do list+=",127.0.0.1:$("${1:-broker_port}" "$i")"; done
  [ -n "$list" ] || die "cluster '$KAFKA_CLUSTER' was never started"
  echo "${list#,}"
}

# The pid of node $1, if that process lives and is the one that was started.
pid_of() {
  local pid
  pid=$(cat "$RUN/$1/pid" 2>/dev/null) || return 1
  [ -n "$pid" ] && grep -qa "$RUN/$1/server.properties" "/proc/$pid/cmdline" 2>/dev/null && echo "$pid"
}

running_pid() { pid_of "$1" || die "node $1 of cluster '$KAFKA_CLUSTER' is not running"; }

pom() {
  cat <<XML
<project xmlns="http://maven.apache.org/POM/4.0.0">
 <modelVersion>4.0.0</modelVersion>
 <groupId>postrider</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
 <dependencies>
  <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$KAFKA_VERSION</version></dependency>
  <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$KAFKA_VERSION</version>
   <exclusions>
    <exclusion><groupId>org.apache.kafka</groupId><artifactId>connect-runtime</artifactId></exclusion>
    <exclusion><groupId>com.fasterxml.jackson.jakarta.rs</groupId><artifactId>*</artifactId></exclusion>
   </exclusions></dependency>
  <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.4</version></dependency>
 </dependencies>
</project>
XML
}

log4j() {
  cat <<'YAML'
Configuration:
  status: "OFF"
  Appenders:
    Console: { name: STDOUT, PatternLayout: { pattern: "[%d] %p %m (%c)%n" } }
  Loggers:
    Root: { level: "${sys:kafka.log.level:-WARN}", AppenderRef: { ref: STDOUT } }
YAML
}

installed() { [ -f "$DIST/complete" ]; }

# Fetches into a folder of its own and renames it, so that a broken download never looks like a whole one.
install() {
  command -v mvn >/dev/null || die "mvn is missing: it fetches Kafka's jars (Debian: apt-get install maven)"
  mkdir -p "$KAFKA_DIR"
  exec 9>"$KAFKA_DIR/install.lock"
  flock 9
  if installed; then return; fi
  local fresh=$DIST.fresh
  rm -rf "$fresh" "$DIST"
  mkdir -p "$fresh"
  pom >"$fresh/pom.xml"
  log4j >"$fresh/log4j2.yaml"
  echo "kafka.sh: fetching Apache Kafka $KAFKA_VERSION by mvn …" >&2
  (cd "$fresh" && mvn -B -q dependency:copy-dependencies -DoutputDirectory="$fresh/libs" 9>&-) ||
    die "mvn could not fetch Kafka's jars; its words are above"
  touch "$fresh/complete"
  mv "$fresh" "$DIST"
  exec 9>&-
}

# An authority, and certificates of it: one for loopback, in a file as Kafka's PEM stores have it, and the first user's.
certificates() {
  local tls=$RUN/tls key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
  mkdir -p "$tls"
  {
    openssl req -x509 "${key[@]}" -days 30 -subj "/CN=kafka.sh authority" -keyout "$tls/authority.key" -out "$tls/authority.pem"
    openssl req "${key[@]}" -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1,DNS:localhost -keyout "$tls/node.key" |
      openssl x509 -req -CA "$tls/authority.pem" -CAkey "$tls/authority.key" -days 30 -copy_extensions copy -out "$tls/node.crt"
    openssl req "${key[@]}" -subj "/CN=${KAFKA_SECURED%%=*}" -keyout "$tls/client.key" |
      openssl x509 -req -CA "$tls/authority.pem" -CAkey "$tls/authority.key" -days 30 -out "$tls/client.pem"
  } 2>"$tls/openssl.log" || { cat "$tls/openssl.log" >&2; die "openssl could not make certificates"; }
  cat "$tls/node.key" "$tls/node.crt" >"$tls/node.pem"
}

secured_config() {
  cat <<PROPERTIES
listener.name.secured.ssl.keystore.type=PEM
listener.name.secured.ssl.keystore.location=$RUN/tls/node.pem
listener.name.secured.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.secured.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.mutual.ssl.keystore.type=PEM
listener.name.mutual.ssl.keystore.location=$RUN/tls/node.pem
listener.name.mutual.ssl.truststore.type=PEM
listener.name.mutual.ssl.truststore.location=$RUN/tls/authority.pem
listener.name.mutual.ssl.client.auth=required
listener.name.mutual.ssl.principal.mapping.rules=RULE:^CN=(.*)\$/\$1/
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:ANONYMOUS
PROPERTIES
}

# The users of the secured listener, as options of the format tool, one a line.
scram_users() {
  local user
  tr ',' '\n' <<<"${KAFKA_SECURED:-}" | while IFS= read -r user; do
    [ -z "$user" ] || printf '%s\n' --add-scram "SCRAM-SHA-512=[name=${user%%=*},password=${user#*=}]"
  done
}

config() { # node, nodes
  local i=$1 n=$2 k voters= isr=$(($2 < 3 ? 1 : 2)) proxied= advertised= proxies=() secured=
  if [ -n "${KAFKA_PROXIED:-}" ]; then
    IFS=, read -ra proxies <<<"$KAFKA_PROXIED"
    proxied=,PROXIED://127.0.0.1:$(proxied_port "$i")
    advertised=,PROXIED://127.0.0.1:${proxies[i - 1]:?KAFKA_PROXIED names a port for each node}
  fi
  if [ -n "${KAFKA_SECURED:-}" ]; then
    secured=,SECURED://127.0.0.1:$(secured_port "$i"),MUTUAL://127.0.0.1:$(mutual_port "$i")
    advertised+=$secured
  fi
  for ((k = 1; k <= n; k++)); do voters+=",$k@127.0.0.1:$(controller_port "$k")"; done
  cat <<PROPERTIES
process.roles=broker,controller
node.id=$i
controller.quorum.voters=${voters#,}
listeners=PLAINTEXT://127.0.0.1:$(broker_port "$i"),CONTROLLER://127.0.0.1:$(controller_port "$i")$proxied$secured
advertised.listeners=PLAINTEXT://127.0.0.1:$(broker_port "$i")$advertised
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT,SECURED:SASL_SSL,MUTUAL:SSL
inter.broker.listener.name=PLAINTEXT
log.dirs=$RUN/$i/data
num.network.threads=2
num.io.threads=4
num.partitions=1
default.replication.factor=$n
min.insync.replicas=$isr
offsets.topic.num.partitions=5
offsets.topic.replication.factor=$n
transaction.state.log.num.partitions=5
transaction.state.log.replication.factor=$n
transaction.state.log.min.isr=$isr
share.coordinator.state.topic.num.partitions=3
share.coordinator.state.topic.replication.factor=$n
share.coordinator.state.topic.min.isr=$isr
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
auto.create.topics.enable=false
log.cleaner.dedupe.buffer.size=8388608
log.segment.bytes=268435456
log.retention.hours=24
PROPERTIES
  if [ -n "$secured" ]; then secured_config; fi
  tr ';' '\n' <<<"${KAFKA_EXTRA:-}"
}

java_tool() { # options of the JVM and a class with its arguments
  "$JAVA" -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx256m -XX:-UsePerfData \
    -Dlog4j2.configurationFile="$DIST/log4j2.yaml" -Dkafka.log.level=ERROR -cp "$DIST/libs/*" "$@"
}

# Starts node $1 in a session of its own. With `tied`, the kernel kills it when this shell dies in any way.
launch() {
  local dir=$RUN/$1 tie=()
  if [ "${2:-}" = tied ]; then tie=(setpriv --pdeathsig KILL); fi
  (
    cd "$dir"
    exec </dev/null >>"$dir/broker.log" 2>&1
    exec setsid ${tie[@]+"${tie[@]}"} "$JAVA" -Xms128m "-Xmx$KAFKA_HEAP" -XX:+UseG1GC -XX:-UsePerfData \
      -Djava.awt.headless=true -Dlog4j2.configurationFile="$DIST/log4j2.yaml" -Dkafka.log.level="${KAFKA_LOG:-WARN}" \
      -cp "$DIST/libs/*" kafka.Kafka "$dir/server.properties"
  ) &
  echo $! >"$dir/pid"
  disown
}

# How many brokers the node at port $1 lists: a Metadata v1 request for all topics, read as bytes. Fails when
# no answer comes within a second, as from a frozen node.
brokers_listed() {
  timeout 1 bash -c '
    exec 3<>"/dev/tcp/127.0.0.1/$0" || exit 1
    printf "\0\0\0\x13\0\x03\0\x01\0\0\0\x07\0\x05probe\0\0\0\0" >&3
    head -c 12 <&3 | od -An -tu1 -j8' "$1" 2>/dev/null | awk 'NF == 4 { print $3 * 256 + $4; found = 1 } END { exit !found }'
}

wait_ready() { # node, brokers it has to list
  local deadline=$((SECONDS + START_SECONDS)) listed
  until listed=$(brokers_listed "$(broker_port "$1")") && [ "$listed" -ge "$2" ]; do
    pid_of "$1" >/dev/null || { tail -n 5 "$RUN/$1/broker.log" >&2; die "node $1 ended while starting"; }
    [ $SECONDS -lt $deadline ] || { tail -n 5 "$RUN/$1/broker.log" >&2; die "node $1 is not ready after $START_SECONDS s"; }
    sleep 0.05
  done
}

port_is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

ports_are_free() { # first port, nodes
  local i above
  for ((i = 0; i < $2; i++)); do
    for above in 0 100 200 300 400; do
      if port_is_taken $(($1 + above + i)); then return 1; fi
    done
  done
}

# Below the range the kernel gives out for outgoing connections, so that nothing takes the port in between.
choose_port() { # nodes
  local wanted=${KAFKA_PORT:-19092} tries=50
  if [ "$wanted" != auto ]; then
    ports_are_free "$wanted" "$1" || die "port $wanted (or one after it, or 100 to 400 above) is in use: set KAFKA_PORT"
    echo "$wanted"
    return
  fi
  while ((tries--)); do
    wanted=$((20000 + RANDOM % 9000))
    if ports_are_free "$wanted" "$1"; then echo "$wanted"; return; fi
  done
  die "no free ports between 20000 and 29400"
}

create() { # nodes; `tied` or nothing
  local n=${1:-1} i pids=() users=()
  [ "$n" = 1 ] || [ "$n" = 3 ] || die "a cluster has 1 or 3 nodes"
  command -v "$JAVA" >/dev/null || die "java is missing (Debian: apt-get install default-jre-headless)"
  if ! installed; then install; fi
  for i in 1 2 3; do if pid_of "$i" >/dev/null; then die "cluster '$KAFKA_CLUSTER' is running already"; fi; done
  rm -rf "$RUN"
  local port
  port=$(choose_port "$n")
  mkdir -p "$RUN"
  echo "$port" >"$RUN/port"
  echo "$n" >"$RUN/nodes"
  if [ -n "${KAFKA_SECURED:-}" ]; then certificates; fi
  mapfile -t users < <(scram_users)
  for ((i = 1; i <= n; i++)); do
    mkdir -p "$RUN/$i"
    config "$i" "$n" >"$RUN/$i/server.properties"
    java_tool kafka.tools.StorageTool format -t $CLUSTER_ID -c "$RUN/$i/server.properties" \
      ${users[@]+"${users[@]}"} >"$RUN/$i/format.log" 2>&1 &
    pids+=($!)
  done
  for i in "${pids[@]}"; do wait "$i" || { cat "$RUN"/*/format.log >&2; die "the storage could not be formatted"; }; done
  for ((i = 1; i <= n; i++)); do launch "$i" "${2:-}"; done
  for ((i = 1; i <= n; i++)); do wait_ready "$i" "$n"; done
}

resume() {
  local i n
  n=$(node_count)
  [ "$n" -gt 0 ] || die "cluster '$KAFKA_CLUSTER' has no data; start it"
  for ((i = 1; i <= n; i++)); do pid_of "$i" >/dev/null || launch "$i"; done
  for ((i = 1; i <= n; i++)); do wait_ready "$i" "$n"; done
}

stop() {
  local i pid n deadline=$((SECONDS + 30))
  n=$(node_count)
  for ((i = 1; i <= n; i++)); do
    if pid=$(pid_of "$i"); then kill -CONT "$pid" 2>/dev/null || true; kill "$pid" 2>/dev/null || true; fi
  done
  for ((i = 1; i <= n; i++)); do
    while pid=$(pid_of "$i"); do
      if [ $SECONDS -ge $deadline ]; then kill -9 "$pid" 2>/dev/null || true; fi
      sleep 0.05
    done
    rm -f "$RUN/$i/pid"
  done
}

# Throws a cluster away. Its data is not needed any more, so nothing is flushed.
wipe() {
  local i pid
  for ((i = 1; i <= $(node_count); i++)); do
    while pid=$(pid_of "$i"); do kill -9 "$pid" 2>/dev/null || true; sleep 0.02; done
  done
  rm -rf "$RUN"
}

# Whoever holds the other end of standard input owns the cluster: the pipe ends with that process, however it ends.
serve() {
  trap wipe EXIT
  trap 'exit 0' INT TERM HUP
  create "${1:-1}" tied
  echo "ready $(bootstrap)"
  while read -r _; do :; done
}

status() {
  local i pid
  echo "cluster $KAFKA_CLUSTER, $(node_count) node(s)"
  for ((i = 1; i <= $(node_count); i++)); do
    if pid=$(pid_of "$i"); then
      echo "node $i: pid $pid, port $(broker_port "$i"), $(awk '/VmRSS/ { print int($2 / 1024) }' "/proc/$pid/status") MiB," \
        "$(brokers_listed "$(broker_port "$i")" || echo no) broker(s) listed"
    else
      echo "node $i: down"
    fi
  done
}

topic() { # name, partitions, K=V …
  local name=$1 partitions=$2 setting settings=()
  shift 2
  for setting in "$@"; do settings+=(--config "$setting"); done
  java_tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$(bootstrap)" --create --if-not-exists \
    --topic "$name" --partitions "$partitions" ${settings[@]+"${settings[@]}"}
}

topic_config() { # name, options
  local name=$1
  shift
  java_tool kafka.admin.ConfigCommand --bootstrap-server "$(bootstrap)" --alter --entity-type topics \
    --entity-name "$name" "$@"
}

group_tool() { java_tool org.apache.kafka.tools.consumer.group.ConsumerGroupCommand --bootstrap-server "$(bootstrap)" "$@"; }

[ $# -gt 0 ] || set -- help
command=$1
shift
case $command in
install) install ;;
start) create "${1:-1}" && echo "ready $(bootstrap)" ;;
serve) serve "$@" ;;
resume) resume && echo "ready $(bootstrap)" ;;
stop) stop ;;
wipe) wipe ;;
status) status ;;
bootstrap) bootstrap ;;
kill9) pid=$(running_pid "$1") && kill -9 "$pid" && rm -f "$RUN/$1/pid" ;;
restart)
  if pid_of "$1" >/dev/null; then die "node $1 is running"; fi
  launch "$1" && wait_ready "$1" 1
  ;;
pause) pid=$(running_pid "$1") && kill -STOP "$pid" ;;
cont) pid=$(running_pid "$1") && kill -CONT "$pid" ;;
topic) topic "$@" ;;
topic-set) topic_config "$1" --add-config "$2" ;;
topic-unset) topic_config "$1" --delete-config "$2" ;;
topics)
  java_tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$(bootstrap)" --describe ${1:+--topic "$1"}
  ;;
acl) java_tool org.apache.kafka.tools.AclCommand --bootstrap-server "$(bootstrap)" "$@" ;;
secured) bootstrap secured_port ;;
mutual) bootstrap mutual_port ;;
authority) echo "$RUN/tls/authority.pem" ;;
client) echo "$RUN/tls" ;;
groups) group_tool --list ;;
group) group_tool --describe --group "$1" ;;
offsets) java_tool org.apache.kafka.tools.GetOffsetShell --bootstrap-server "$(bootstrap)" --topic "$1" ;;
produce) java_tool org.apache.kafka.tools.ConsoleProducer --bootstrap-server "$(bootstrap)" --topic "$1" ;;
consume)
  java_tool org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$(bootstrap)" --topic "$1" \
    --from-beginning --isolation-level read_committed
  ;;
tool) java_tool "$@" ;;
help) awk 'NR > 1 && /^#/ { sub(/^# ?/, ""); print; next } NR > 1 { exit }' "$SELF" ;;
*) die "no such command: $command (kafka.sh help)" ;;
esac
