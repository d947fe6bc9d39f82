# 2 Gbit/s provisioned on wan beside ucx that nothing limits: what the worker's turns allow
set -u
d=$(mktemp -d); b=/tmp/wk/cls/build
$b/scistreamd --init $d/k --name localhost >/dev/null
cp $d/k/secret $d/secret; chmod 600 $d/secret
cat >$d/c <<C
name = "x"
listen = "127.0.0.1:28600"
link_ports = "28601-28604"
metrics = ""
control_socket = "$d/s"
certificate = "$d/k/gateway.crt"
key = "$d/k/gateway.key"
user = "root"
log_target = "stderr"
workers = 2
ucx { devices = {"lo"} }

route "r" { accept = {"tcp://127.0.0.1:28609"} connect = "tcp://127.0.0.1:29997" }
route "u" { accept = {"ucx"} deliver = {"ucx"} secret_file = "$d/secret" channels = 4 }
C
iperf3 -s -p 29997 -D --pidfile $d/ip.pid >/dev/null
$b/scistreamd -c $d/c 2>$d/err & p=$!
for i in $(seq 100); do grep -q ' is ready' $d/err && break; sleep 0.05; done
pin=$(grep -o 'sha256:[0-9a-f]*' <($b/scistreamd --init $d/k2 --name localhost) | head -1)
pin=$(openssl x509 -in $d/k/gateway.crt -pubkey -noout | openssl pkey -pubin -outform der | sha256sum | cut -d' ' -f1)
ps=()
for i in 1 2 3; do
$b/scistream-recv --secret-file $d/secret --pin sha256:$pin gateway://127.0.0.1:28600/u --no-digest -q -o /dev/null & ps+=($!)
$b/scistream-send --secret-file $d/secret --pin sha256:$pin gateway://127.0.0.1:28600/u --no-digest -q /dev/zero & ps+=($!)
done
sleep 1
iperf3 -c 127.0.0.1 -p 28609 -t 6 -b 2G | grep -E "sec"
kill "${ps[@]}" $p; wait 2>/dev/null; kill $(cat $d/ip.pid); rm -rf $d
