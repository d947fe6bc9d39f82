#!/bin/bash
# A ticket as another program makes it from scistream-protocol(7): scistreamctl ticket show says what is in it, but never its secret, and whether it may still
# be used; one that was wrapped, cut, altered, or is of a later version, and a file that others can read, are refused in words that say what to do.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_program xxh128sum
umask 077
secret=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
pin_a=$(printf 'a1%.0s' {1..32}) pin_b=$(printf 'b2%.0s' {1..32})

# make NAME OPTION...: the file $tmp/NAME.ticket
make() { $python "$srcdir/tests/lib/make_ticket.py" secret=$secret "${@:2}" >"$tmp/$1.ticket" || fail "make_ticket.py ${*:2}"; }
# show CODE ARGUMENTS...
show() { run show "$1" "$builddir/scistreamctl" ticket show "${@:2}"; keeps_secret; }
# has LINE
has() { grep -Exq -- "$1" "$tmp/show.out" || fail "no '$1' in: $(cat "$tmp/show.out" "$tmp/show.err")"; }
# refused CODE PATTERN ARGUMENTS...: in one line, and nothing else is said
refused()
{
    show "$1" "${@:3}"
    says show "^scistreamctl: .*$2"
    [ ! -s "$tmp/show.out" ] || fail "it is refused, and shown: $(cat "$tmp/show.out")"
}
# The secret in any form: hex, or three of its bytes as base64 in any of three phases.
keeps_secret()
{
    ! grep -Eiq '0001020304|AAECA|ABAgM|AQIDB' "$tmp/show.out" "$tmp/show.err" || fail "its secret was told: $(cat "$tmp/show.out" "$tmp/show.err")"
}

step "what is in one, for people"
make send channels=4 addresses=gw.example.org:5000,[2001:db8::b]:5001 name=gw.internal pins=$pin_a,$pin_b class=1 rate=10000000000
show 0 "$tmp/send.ticket"
has 'session +0123456789abcdef0123456789abcdef'
has 'role +send: .*scistream-send'
has 'gateway +gw.example.org:5000, else \[2001:db8::b\]:5001'
has 'tls name +gw.internal'
has "pin +sha256:$pin_a"
has "pin +sha256:$pin_b"
has 'channels +4'
has 'class +provisioned, 10 Gbit/s'
has 'issued +20[0-9-]+T[0-9:]+Z, 0:0[1-9]:[0-9]+ ago'
has 'expires +20[0-9-]+T[0-9:]+Z, in 2[34]:[0-9:]+'
[ ! -s "$tmp/show.err" ] || fail "$(cat "$tmp/show.err")"
make cons role=3 channels=5 ports=5131,5132,5133,5139,5100 issued=+3600
show 0 "$tmp/cons.ticket"
has 'role +cons: .*'
has 'pin +none: .*CA.*'
has 'class +best effort'
has 'ports +5131-5133, 5139, 5100'
has 'issued +.* from now: .*clock.*'

step "and for programs"
show 0 --json "$tmp/send.ticket"
[ "$(json "$tmp/show.out" '[d[k] for k in ("version", "session", "role", "channels", "addresses", "tls_name", "ports", "class", "rate_bit_s", "valid")]')" = \
  "[1, '0123456789abcdef0123456789abcdef', 'send', 4, ['gw.example.org:5000', '[2001:db8::b]:5001'], 'gw.internal', [], 'provisioned', 10000000000, True]" ] ||
    fail "$(cat "$tmp/show.out")"
[ "$(json "$tmp/show.out" 'd["pins"]')" = "['sha256:$pin_a', 'sha256:$pin_b']" ] || fail "$(cat "$tmp/show.out")"
[ "$(json "$tmp/show.out" 'd["expires_s"] - d["issued_s"], 86000 < d["left_s"] <= 86400, len(d["expires"])')" = '(86460, True, 20)' ] || fail "$(cat "$tmp/show.out")"
show 0 --json "$tmp/cons.ticket"
[ "$(json "$tmp/show.out" 'd["role"], d["ports"], d["pins"]')" = "('cons', [5131, 5132, 5133, 5139, 5100], [])" ] || fail "$(cat "$tmp/show.out")"
make odd uid=6e9a4b1c-aaaa-11ef-9cd2-0242ac120002 class=9
show 0 -j "$tmp/odd.ticket"
[ "$(json "$tmp/show.out" 'd["session"], d["class"]')" = "('6e9a4b1c-aaaa-11ef-9cd2-0242ac120002', 'unknown (9)')" ] || fail "$(cat "$tmp/show.out")"

step "standard input, SCISTREAM_TICKET_FILE, white space around it"
printf '\n   %s \r\n\n' "$(cat "$tmp/send.ticket")" >"$tmp/spaced.ticket"
input=$tmp/spaced.ticket show 0 -
has 'channels +4'
SCISTREAM_TICKET_FILE=$tmp/spaced.ticket show 0
has 'channels +4'
SCISTREAM_TICKET_FILE=$tmp/send.ticket show 0 "$tmp/cons.ticket"
has 'channels +5'

step "on the command line: a warning, and it does not stay in the list of processes"
show 0 "$(cat "$tmp/send.ticket")"
has 'channels +4'
says show 'warning: .*can see.*mode 600'
mkfifo "$tmp/full"
exec {full}<>"$tmp/full"
for size in 4096 1; do dd if=/dev/zero of="$tmp/full" oflag=nonblock bs=$size 2>"$tmp/dd"; done # until it is full: who writes there waits
"$builddir/scistreamctl" ticket show "$(cat "$tmp/send.ticket")" >&$full 2>"$tmp/argv.err" &
started+=($!)
wait_said argv 'warning: '
tr '\0' '\n' <"/proc/$!/cmdline" >"$tmp/argv"
grep -qx show "$tmp/argv" || fail "it has ended: $(cat "$tmp/argv")"
! grep -q sst1 "$tmp/argv" || fail "in the list of processes: $(cat "$tmp/argv")"
exec {full}>&-

step "expired: it is shown, and the exit code is 67"
make old issued=-7200 expires=-3600
show 67 "$tmp/old.ticket"
has 'EXPIRED +.*, 1:00:[0-9]+ ago'
says show 'the ticket expired at 20[0-9-]+T[0-9:]+Z: ask for a new one'
show 67 --json "$tmp/old.ticket"
[ "$(json "$tmp/show.out" 'd["valid"], d["left_s"]')" = '(False, 0)' ] || fail "$(cat "$tmp/show.out")"

step "copied badly"
line=$(cat "$tmp/send.ticket")
fold -w 76 "$tmp/send.ticket" >"$tmp/bad.ticket"
refused 78 'bad.ticket: the ticket was wrapped, it has a line break behind character 76' "$tmp/bad.ticket"
for n in 1 7 40 100; do
    echo "${line:0:-n}" >"$tmp/bad.ticket"
    refused 78 'cut' "$tmp/bad.ticket"
done
echo "${line:0:50}x${line:51}" >"$tmp/bad.ticket"
[ "${line:50:1}" != x ] || echo "${line:0:50}y${line:51}" >"$tmp/bad.ticket"
refused 78 'cut or altered, its checksum does not fit' "$tmp/bad.ticket"
echo "$line" | tr a-z A-Z | sed 's/^SST/sst/' >"$tmp/bad.ticket"
refused 78 'altered' "$tmp/bad.ticket"
cat "$tmp/send.ticket" "$tmp/cons.ticket" >"$tmp/bad.ticket"
refused 78 'more than one ticket' "$tmp/bad.ticket"
echo 'gateway://localhost/detector' >"$tmp/bad.ticket"
refused 78 'this is no ticket: one begins with sst1' "$tmp/bad.ticket"
: >"$tmp/bad.ticket"
refused 78 'nothing is here' "$tmp/bad.ticket"
input=/dev/null refused 78 'standard input: there is no ticket' -
head -c 100000 /dev/zero >"$tmp/bad.ticket"
refused 78 'no ticket' "$tmp/bad.ticket"
refused 78 'cut' "${line:0:100}"

step "of a later version"
make next version=2
refused 78 'version 2, and this program knows version 1: use a newer one' "$tmp/next.ticket"
make field extra=42:01020304
refused 78 'field 42, which must be understood' "$tmp/field.ticket"
make field extra=200:01020304
show 0 "$tmp/field.ticket"

step "files: others must not be able to read them"
chmod 644 "$tmp/cons.ticket"
refused 78 'chmod 600' "$tmp/cons.ticket"
refused 78 'missing.ticket: No such file' "$tmp/missing.ticket"
refused 78 'regular file' "$tmp"

step "usage"
refused 64 'which ticket'
SCISTREAM_TICKET_FILE=$line refused 64 'SCISTREAM_TICKET_FILE is a ticket'
run show 64 "$builddir/scistreamctl" ticket
says show 'usage: scistreamctl ticket show'
run show 64 "$builddir/scistreamctl" ticket bananas
says show "unknown 'bananas'"

step "completion"
. "$srcdir/etc/completion/scistream.bash"
complete_with() { COMP_WORDS=("$builddir/scistreamctl" "$@") COMP_CWORD=$#; COMPREPLY=(); _scistream "$builddir/scistreamctl"; echo "${COMPREPLY[*]}"; }
[ "$(complete_with tick)" = ticket ] || fail "tick: $(complete_with tick)"
[ "$(complete_with ticket '')" = show ] || fail "ticket: $(complete_with ticket '')"
[ "$(complete_with ticket show '')" = '' ] || fail "ticket show: $(complete_with ticket show '')"
