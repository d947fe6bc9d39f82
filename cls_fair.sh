set -u; B=${4:-/tmp/wk/cls/build}
d=$(mktemp -d); b=$B
$b/scistreamd --init $d/k --name localhost >/dev/null
cat >$d/c <<C
name = "x"
listen = "127.0.0.1:28500"
link_ports = "28501-28504"
metrics = ""
control_socket = "$d/s"
certificate = "$d/k/gateway.crt"
key = "$d/k/gateway.key"
user = "root"
log_target = "stderr"
workers = $1
capacity { wan = $2 }
route "r" { accept = {"tcp://127.0.0.1:28509"} connect = "tcp://127.0.0.1:29998" }
C
iperf3 -s -p 29998 -D --pidfile $d/ip.pid >/dev/null
$b/scistreamd -c $d/c 2>$d/err & p=$!
for i in $(seq 100); do grep -q ' is ready' $d/err && break; sleep 0.05; done
iperf3 -c 127.0.0.1 -p 28509 -t 5 -P 8 $3 | grep -E "receiver"
kill $p; wait $p 2>/dev/null; kill $(cat $d/ip.pid); rm -rf $d
