#!/bin/bash
# cost of a relay: base and mine alternately; worker CPU per GB and Gbit/s
set -u
d=$(mktemp -d)
conf() { cat >$d/$1.conf <<C
name = "$1"
listen = "127.0.0.1:$2"
link_ports = "$(($2+1))-$(($2+4))"
metrics = ""
control_socket = "$d/$1.sock"
certificate = "$d/k/gateway.crt"
key = "$d/k/gateway.key"
user = "root"
log_target = "stderr"
workers = 1
$4
route "r" { accept = {"tcp://127.0.0.1:$3"} connect = "tcp://127.0.0.1:29999" }
C
}
/tmp/wk/cls/build-o2/scistreamd --init $d/k --name localhost >/dev/null
iperf3 -s -p 29999 -D --pidfile $d/ip.pid >/dev/null
one() { # label program port extra
  conf $1 $3 $(($3+9)) "$4"
  $2 -c $d/$1.conf 2>$d/$1.err & p=$!
  for i in $(seq 100); do grep -q ' is ready' $d/$1.err && break; sleep 0.05; done
  w=$(pgrep -P $p -x scistream-work | head -1)
  t0=$(awk '{print $14+$15}' /proc/$w/stat)
  iperf3 -c 127.0.0.1 -p $(($3+9)) -t 4 -J >$d/ip.json
  t1=$(awk '{print $14+$15}' /proc/$w/stat)
  python3 -c "import json;d=json.load(open('$d/ip.json'));b=d['end']['sum_received']['bytes'];print('$1', round(d['end']['sum_received']['bits_per_second']/1e9,2),'Gbit/s', round(($t1-$t0)/100/(b/1e9),4),'CPU-s/GB')"
  kill $p; wait $p 2>/dev/null
}
for i in 1 2 3; do
one base /tmp/cls-base/build/scistreamd 28100 ""
one mine /tmp/wk/cls/build-o2/scistreamd 28200 ""
one limited /tmp/wk/cls/build-o2/scistreamd 28300 "capacity { wan = 1000Gbit }"
done
kill $(cat $d/ip.pid)
rm -rf $d
