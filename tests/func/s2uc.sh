#!/bin/bash
# scistreamctl as SciStream's user client, against gateways that answer as they are told: what it asks of both, all of it or nothing when one refuses, does not
# answer or dies, what it prints and writes, tickets that are none, and what it remembers of a login.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_program protoc openssl xxh128sum
requires_python grpc google.protobuf
umask 077
mkdir "$tmp/messages"
protoc -I "$srcdir/ctrl" --python_out="$tmp/messages" gateway.proto || fail protoc
take_ports
ctl=$builddir/scistreamctl

# fake NAME PORT: a gateway that does what $tmp/NAME/mode says
fake()
{
    port[$1]=$2
    mkdir -p "$tmp/$1"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$tmp/$1/key" -out "$tmp/$1/crt" -days 30 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost,DNS:gw.example.org 2>/dev/null || fail openssl
    pin[$1]=sha256:$(openssl x509 -in "$tmp/$1/crt" -noout -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256 -r | cut -d' ' -f1)
    run_fake "$1"
}
run_fake() { start "$1" $python "$srcdir/tests/func/s2uc_gateway.py" "$tmp/messages" "${port[$1]}" "$tmp/$1/crt" "$tmp/$1/key" "$tmp/$1"; wait_said "$1" ready; }
fake A $base
fake B $((base + 1))
A=localhost:${port[A]} B=localhost:${port[B]} nobody=localhost:$((base + 2))
asked() { grep -c "^$2 " "$tmp/$1/asked"; }
# forget: nothing was asked, all is granted
forget() { rm -f "$tmp"/[AB]/asked "$tmp"/[AB]/mode "$tmp"/[AB]/revoke; touch "$tmp"/A/asked "$tmp"/B/asked; }
# of GATEWAY NAME EXPRESSION: of the last such call, d
of() { sed -n "s/^$2 //p" "$tmp/$1/asked" | tail -n 1 >"$tmp/last"; json "$tmp/last" "$3"; }
is() { local got; got=$(of "$1" "$2" "$3"); [ "$got" = "$4" ] || fail "$2 at $1: $3 is $got, not $4"; }
c() { run ctl "$@"; }
inbound() { run ctl "$1" "$ctl" inbound --gateway "$A" --pin "${pin[A]}" "${@:2}"; }
outbound() { run ctl "$1" "$ctl" outbound --gateway "$B" --pin "${pin[B]}" "${@:2}"; }
# both CODE FROM TO OPTIONS...: FROM and TO stand behind the gateways
both() { run ctl "$1" "$ctl" stream --from "$A$2,pin=${pin[A]}" --to "$B$3,pin=${pin[B]}" "${@:4}"; }
out() { [ "$(cat "$tmp/ctl.out")" = "$1" ] || fail "printed: $(cat "$tmp/ctl.out"), not $1"; }
is_ticket() { "$ctl" --json ticket show "$1" >"$tmp/show" || fail "$1 is no ticket"; [ "$(json "$tmp/show" "$2")" = "$3" ] || fail "$(cat "$tmp/show")"; }

step "inbound: a ticket and nothing else on standard output"
forget
inbound 0 --to 10.0.0.5:5201,[2001:db8::1]:7000 --channels 2 --for 8h
cp "$tmp/ctl.out" "$tmp/ticket"
is_ticket "$tmp/ticket" 'd["role"], d["channels"], d["ports"], d["addresses"], d["expires_s"] - d["issued_s"], d["pins"][0][:9]' \
    "('cons', 2, [5100, 5101], ['gw.example.org:5000'], 28800, 'sha256:ab')"
is A Arrange 'd["targets"], d["channels"], d["lifetimeS"], d["ticketS"], len(d["uid"]), "dial" in d' "(['10.0.0.5:5201', '[2001:db8::1]:7000'], 2, '28800', '28800', 32, False)"
says ctl 'session [0-9a-f]{32}, 2 channels, best effort, WAN TLS, keyed by ticket'
says ctl 'is dialed by the other gateway at ports 5100-5101, and connects to 10.0.0.5:5201, \[2001:db8::1\]:7000'
says ctl 'scistreamctl outbound --gateway GATEWAY --ticket-file FILE'
inbound 0 --to localhost:1 -o "$tmp/made" --address wan.example.org --ticket-for 2h --class provisioned --rate 10Gbit -q
out ''
[ "$(stat -c %a "$tmp/made")" = 600 ] && [ ! -s "$tmp/ctl.err" ] || fail "$(cat "$tmp/ctl.err")"
is_ticket "$tmp/made" 'd["addresses"], d["class"], d["rate_bit_s"], d["expires_s"] - d["issued_s"]' "(['wan.example.org:5000'], 'provisioned', 10000000000, 7200)"
inbound 0 --to localhost:1 --json
[ "$(json "$tmp/ctl.out" 'sorted(d), d["ports"], d["class"], d["ends_s"], d["outbound"][:5]')" = "(['channels', 'class', 'dialed', 'dials', 'ends', 'ends_s', \
'expires', 'expires_s', 'issued', 'issued_s', 'listeners', 'outbound', 'ports', 'rate_bit_s', 'security', 'session'], [5100], 'best effort', 0, 'sst1.')" ] ||
    fail "$(cat "$tmp/ctl.out")"
inbound 0 --attach send
says ctl 'with the ticket behind the word outbound, at the other gateway: .* --ticket-file FILE --attach recv$'
[ "$(cut -d' ' -f1 "$tmp/ctl.out" | tr '\n' ' ')" = 'send outbound ' ] || fail "$(cat "$tmp/ctl.out")"
inbound 0 --attach recv --recv-file "$tmp/in.recv" -o "$tmp/in.wan"
out ''
is_ticket "$tmp/in.recv" 'd["role"]' recv
is_ticket "$tmp/in.wan" 'd["role"]' send

step "inbound: what is wrong on the command line is said before anything is asked"
forget
for wrong in "" "--to localhost:1 --attach send" "--to localhost" "--to :5201" "--to localhost:1 --for 1500ms" "--to localhost:1 --class provisioned" \
    "--to localhost:1 --listen 5001" "--to localhost:1 --rate 1Gbit" "--to localhost:1 --send-file $tmp/no" "--to localhost:1 --output $tmp/made" "--attach send --send-file $tmp/x --output $tmp/x" \
    "--to localhost:1 --address a --address b --address c --address d --address e"; do
    inbound 64 $wrong
    [ -s "$tmp/ctl.err" ] && [ ! -s "$tmp/ctl.out" ] || fail "$wrong: $(cat "$tmp/ctl.out")"
done
inbound 74 --to localhost:1 -o "$tmp/nowhere/ticket"
[ ! -e "$tmp/no" ] && [ ! -e "$tmp/x" ] && [ "$(asked A Arrange)" = 0 ] || fail "something was made, or asked"

step "outbound: listeners and nothing else on standard output; terms of the ticket go on"
forget
outbound 0 --ticket-file "$tmp/ticket"
out '192.0.2.2:5150
192.0.2.2:5151'
is B Arrange 'd["dial"]["addresses"], d["dial"]["ports"], "role" in d["dial"], d["channels"], d["listen"], "ticketS" in d' "(['gw.example.org:5000'], [5100, 5101], False, 2, {}, False)"
uid=$(of B Arrange 'd["uid"]')
is_ticket "$tmp/ticket" 'd["session"]' "$uid"
outbound 0 --ticket-file "$tmp/ticket" --listen 5003-5004 --json
[ "$(json "$tmp/ctl.out" 'd["listeners"], d["session"], d["dialed"]')" = "(['192.0.2.2:5003', '192.0.2.2:5004'], '$uid', 'gw.example.org')" ] || fail "$(cat "$tmp/ctl.out")"
outbound 0 --ticket-file "$tmp/made" --attach recv --address b.example.org:7000
is B Arrange 'd["dial"]["role"], d["attach"], d["class"], d["rate"]' "('RECV', 'RECV', 'provisioned', '10000000000')"
cp "$tmp/ctl.out" "$tmp/recv"
is_ticket "$tmp/recv" 'd["role"], d["addresses"], d["class"]' "('recv', ['b.example.org:7000'], 'provisioned')"
input=$tmp/ticket outbound 0 --ticket-file -
SCISTREAM_TICKET_FILE=$tmp/ticket outbound 0 --attach send
is B Arrange 'd["dial"]["role"]' SEND
outbound 0 --ticket-file "$tmp/in.wan" --attach send

step "tickets that are none, or for something else"
forget
make() { (umask 077; $python "$srcdir/tests/lib/make_ticket.py" "${@:2}" >"$tmp/$1") || fail make_ticket.py; }
head -c 100 "$tmp/ticket" >"$tmp/cut"
sed 's/A/B/3' "$tmp/ticket" >"$tmp/altered"
make old role=3 ports=5100 issued=-7200 expires=-60
make prod role=4
make portless role=3
make foreign role=3 ports=5100 version=9
cp "$tmp/ticket" "$tmp/open"; chmod 644 "$tmp/open"
for wrong in "78 cut" "78 altered" "67 old" "78 prod" "78 portless" "78 foreign" "78 open" "78 missing" "64 in.wan"; do
    outbound ${wrong% *} --ticket-file "$tmp/${wrong#* }"
done
says ctl 'attaches there, by scistream-recv, so this one has to attach too: --attach send'
outbound 78 --ticket-file "$tmp/in.wan" --attach recv
says ctl 'the ticket is for one who sends: --attach send'
outbound 64 --ticket-file "$tmp/ticket" --channels 2
outbound 64 --ticket-file "$tmp/ticket" --listen 5001
says ctl '1 ports? for 2 channels'
outbound 64 --ticket-file "$tmp/ticket" --listen 5001,5002 --attach send
outbound 64 --ticket-file "$tmp/ticket" --listen 70000,1
outbound 64 --ticket-file "$tmp/ticket" --to h:1
outbound 64
says ctl 'which ticket'
[ "$(asked B Arrange)" = 0 ] || fail "it was asked"
outbound 0 --ticket-file "$(cat "$tmp/ticket")"
says ctl 'warning: all users of this machine can see what is on a command line'
! grep -q "$(cat "$tmp/ticket")" "$tmp/ctl.err" || fail "the ticket was told"

step "stream: who dials, and what each side is asked"
forget
both 0 =10.0.0.5:5201 =listen --channels 1
out 192.0.2.2:5150
is A Arrange 'd["targets"], "dial" in d' "(['10.0.0.5:5201'], False)"
is B Arrange 'd["dial"]["addresses"], d["dial"]["ports"]' "(['gw.example.org:5000'], [5100])"
[ "$(of A Arrange 'd["uid"]')" = "$(of B Arrange 'd["uid"]')" ] || fail "two uids"
forget
both 0 =listen:5007 =h:1,h:2
is B Arrange 'd["targets"], "dial" in d' "(['h:1', 'h:2'], False)"
is A Arrange 'd["listen"]' "{'ports': [5007]}"
forget
both 0 '' '' --send-file "$tmp/s" --recv-file "$tmp/r" --json
is B Arrange 'd["attach"], "dial" in d' "('RECV', False)"
is A Arrange 'd["attach"], d["dial"]["role"]' "('SEND', 'SEND')"
[ "$(json "$tmp/ctl.out" 'd["send_file"], d["recv_file"], d["dialed"], d["dials"]')" = "('$tmp/s', '$tmp/r', '$B', '$A')" ] || fail "$(cat "$tmp/ctl.out")"
is_ticket "$tmp/s" 'd["role"]' send
is_ticket "$tmp/r" 'd["role"]' recv
forget
both 0 '' '' --dial to
[ "$(cut -d' ' -f1 "$tmp/ctl.out" | tr '\n' ' ')" = 'send recv ' ] || fail "$(cat "$tmp/ctl.out")"
is A Arrange 'd["attach"], "dial" in d' "('SEND', False)"
is B Arrange 'd["attach"], d["dial"]["role"]' "('RECV', 'RECV')"
both 0 =h:1 '' && is B Arrange 'd["attach"], d["dial"]["ports"]' "('RECV', [5100])"
both 0 '' =h:1 && is A Arrange 'd["attach"], d["dial"]["role"]' "('SEND', 'SEND')"

step "stream: what cannot be"
forget
for wrong in "=h:1 =h:2" "=listen =listen" ",x=1 " "= " "=listen,5001 =h:1" "=listen:0 =h:1" " =listen" "=h:1 =listen:1,2" ",address=:1 "; do
    both 64 "${wrong%% *}" "${wrong#* }"
    [ -s "$tmp/ctl.err" ] || fail "nothing is said about $wrong"
done
both 64 =h:1 =listen --dial from
says ctl 'has to be dialed: --dial to, or leave it out'
both 64 '' =h:1 --dial to
c 64 "$ctl" stream --from "$A"
says ctl '--to: is missing'
c 64 "$ctl" stream --from "$A" --to "$B" --pin "${pin[A]}"
says ctl '--from GATEWAY,pin=PIN'
c 64 "$ctl" stream --from "$A" --to "$B" --gateway "$A"
[ "$(asked A Arrange)$(asked B Arrange)" = 00 ] || fail "it was asked"

step "all or nothing: the second refuses"
forget
echo refuse >"$tmp/B/mode"
both 67 =h:1 =listen
says ctl "$B refuses: no policy allows you that \(PERMISSION_DENIED\)"
says ctl "nothing is left at $A: the session was revoked there"
is A Revoke 'd["abort"]' True
[ "$(of A Revoke 'd["uid"]')" = "$(of A Arrange 'd["uid"]')" ] && [ "$(asked B Revoke)" = 0 ] || fail "$(cat "$tmp"/[AB]/asked)"
forget
echo never >"$tmp/B/mode"
both 64 =h:1 =listen
says ctl "$B refuses: 50Gbit cannot be reserved"
[ "$(asked A Revoke)" = 1 ] || fail "it is left"
forget
echo refuse >"$tmp/A/mode"
both 67 =h:1 =listen
[ "$(asked B Arrange)$(asked A Revoke)" = 00 ] || fail "it was asked"
both 67 '' '' --send-file "$tmp/s2" --recv-file "$tmp/r2"
[ ! -e "$tmp/s2" ] && [ ! -e "$tmp/r2" ] || fail "files were left"

step "all or nothing: what was revoked is refused, so it is said what to do, and the exit code is another"
forget
echo refuse | tee "$tmp/A/revoke" >"$tmp/B/mode"
both 76 =h:1 =listen
says ctl "session $(of A Arrange 'd["uid"]') may be left at $A, it could not be revoked: not you"
says ctl "^    scistreamctl --gateway $A --pin ${pin[A]} revoke --abort $(of A Arrange 'd["uid"]')\$"

step "all or nothing: nobody is there, or it is somebody else"
forget
c 69 "$ctl" stream --from "$A=h:1,pin=${pin[A]}" --to "$nobody=listen,pin=${pin[B]}"
says ctl "nothing is left at $A"
c 67 "$ctl" stream --from "$A=h:1,pin=${pin[A]}" --to "$B=listen,pin=${pin[A]}"
says ctl 'matches no given pin'
[ "$(asked A Revoke)" = 2 ] && [ "$(asked B Arrange)" = 0 ] || fail "$(cat "$tmp"/[AB]/asked)"
echo nonsense >"$tmp/B/mode"
both 76 =h:1 =listen
says ctl "$B: its answer makes no sense"

step "all or nothing: a gateway dies in mid-question"
forget
echo die >"$tmp/B/mode"
both 76 =h:1 =listen
says ctl "session $(of A Arrange 'd["uid"]') may be left at $B"
says ctl "nothing is left at $A: the session was revoked there"
finish B
rm "$tmp/B/mode"
run_fake B

step "Ctrl-C while the second, or the first, does not answer"
forget
echo hang >"$tmp/B/mode"
start ctl "$ctl" stream --from "$A=h:1,pin=${pin[A]}" --to "$B=listen,pin=${pin[B]}"
wait_until 10 '[ $(asked B Arrange) = 1 ]'
kill -INT "${pid[ctl]}"
ends ctl 76 20
says ctl "$B: interrupted"
says ctl "nothing is left at $B: the session was revoked there"
says ctl "nothing is left at $A: the session was revoked there"
forget
echo hang >"$tmp/A/mode"
start ctl "$ctl" inbound --gateway "$A" --pin "${pin[A]}" --to h:1 --output "$tmp/never"
wait_until 10 '[ $(asked A Arrange) = 1 ]'
kill -TERM "${pid[ctl]}"
ends ctl 76 20
says ctl "nothing is left at $A: the session was revoked there"
[ ! -e "$tmp/never" ] || fail "a file was left"

step "a ticket given as an option is not in the list of processes"
forget
echo hang >"$tmp/B/mode"
start ctl "$ctl" outbound --gateway "$B" --pin "${pin[B]}" "--ticket-file=$(cat "$tmp/ticket")"
wait_until 10 '[ $(asked B Arrange) = 1 ]'
! grep -aq sst1 "/proc/${pid[ctl]}/cmdline" || fail "$(tr '\0' ' ' <"/proc/${pid[ctl]}/cmdline")"
kill -HUP "${pid[ctl]}"
ends ctl 76 20
says ctl "nothing is left at $B: the session was revoked there"

step "nobody reads the answer"
forget
"$ctl" stream --from "$A=h:1,pin=${pin[A]}" --to "$B=listen,pin=${pin[B]}" 2>"$tmp/ctl.err" | true
case ${PIPESTATUS[0]}$(asked A Revoke)$(asked B Revoke) in
000 | 7411) ;; # the pipe took it before it was closed, or not
*) fail "$(cat "$tmp/ctl.err")" ;;
esac

step "standard output is full"
if [ -e /dev/full ]; then
    forget
    "$ctl" stream --from "$A=h:1,pin=${pin[A]}" --to "$B=listen,pin=${pin[B]}" >/dev/full 2>"$tmp/ctl.err" && fail "it went well" || [ $? = 74 ] || fail "$(cat "$tmp/ctl.err")"
    [ "$(asked A Revoke)$(asked B Revoke)" = 11 ] || fail "$(cat "$tmp"/[AB]/asked)"
fi

step "firewall"
c 0 "$ctl" firewall --from "$A=10.0.0.5:5201,pin=${pin[A]},address=a.example.org:5000" --to "$B=listen,pin=${pin[B]},tls-name=gw.example.org" --json
rules() { json "$tmp/ctl.out" '[tuple(r[k] for k in ("site", "direction", "from", "to", "ports")) for r in d["rules"]]'; }
[ "$(rules)" = "[('a.example.org', 'in', 'user', 'a.example.org', '5000'), ('gw.example.org', 'in', 'user', 'gw.example.org', '5000'), \
('gw.example.org', 'out', 'gw.example.org', 'a.example.org', '6100-6109'), ('a.example.org', 'in', 'gw.example.org', 'a.example.org', '6100-6109'), \
('a.example.org', 'inside', 'a.example.org', '10.0.0.5', '5201'), ('gw.example.org', 'inside', 'application', 'gw.example.org', '6100-6109')]" ] || fail "$(rules)"
c 0 "$ctl" firewall --from "$A,pin=${pin[A]}" --to "$B,pin=${pin[B]}"
grep -qE "^localhost +in +tcp +localhost +localhost +${port[B]},6010-6013 +the other gateway attaches\$" "$tmp/ctl.out" || fail "$(cat "$tmp/ctl.out")"
make near role=3 ports=5100,5101,5107 channels=3 addresses="$A" pins="${pin[A]#sha256:}"
c 0 "$ctl" firewall --ticket-file "$tmp/near" --gateway "$B" --pin "${pin[B]}" --json
[ "$(json "$tmp/ctl.out" '[r["ports"] for r in d["rules"]]')" = "['${port[A]}', '${port[B]}', '5100-5101,5107', '5100-5101,5107', '${port[A]},6010-6013', \
'${port[A]},6010-6013', '${port[B]},6010-6013', '6100-6109']" ] || fail "$(cat "$tmp/ctl.out")"
make far role=2 addresses="$nobody"
c 0 "$ctl" firewall --ticket-file "$tmp/far"
says ctl 'does not tell its ports, connect: .*: link_ports and scistream.data_ports are taken to be the defaults'
grep -q ',5010-5041 ' "$tmp/ctl.out" || fail "$(cat "$tmp/ctl.out")"
c 0 "$ctl" firewall --gateway "$A" --pin "${pin[A]}"
c 64 "$ctl" firewall --from "$A" --to "$B" --ticket-file "$tmp/near"
