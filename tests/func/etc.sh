#!/bin/bash
# etc/: the unit, alert rules, dashboard, completion and examples work, and name only what is there. (manuals.sh has the options of the completion.)
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
etc=$srcdir/etc missing=""
have() { command -v "$1" >/dev/null && return 0; missing="$missing $1"; step "there is no $1: left out"; return 1; }

step "the dashboard is JSON, and like the rules it names only metrics that there are"
requires_program curl
new_gateway A
add_route A detector
start_gateway A
scrape A >"$tmp/page" || fail "no page"
sed -n 's/^# TYPE \([a-z_]*\) .*/\1/p' "$tmp/page" | sort >"$tmp/exported"
$python -ISc 'import json,sys
d = json.load(open(sys.argv[1]))
assert d["title"] and d["uid"] and len(d["panels"]) > 10
ids = [p["id"] for p in d["panels"]]
assert len(ids) == len(set(ids)), "ids"
boxes = [tuple(p["gridPos"][k] for k in "xywh") for p in d["panels"]]
assert len(boxes) == len(set(boxes)), "panels on top of each other"
for p in d["panels"]:
    for t in p.get("targets", []):
        print(t["expr"])
for v in d["templating"]["list"]:
    print(v["query"] if isinstance(v["query"], str) else v["query"]["query"])' "$etc/prometheus/grafana.json" >"$tmp/exprs" || fail "grafana.json"
names() { grep -ohE '\b(scistream_[a-z_]+|process_[a-z_]+)' "$@" | sort -u; }
for f in "$tmp/exprs" "$etc/prometheus/scistream.rules.yml" "$etc/prometheus/scistream.test.yml"; do
    grep -v '^ *description:' "$f" >"$tmp/text"
    unknown=$(names "$tmp/text" | comm -23 - "$tmp/exported")
    [ -z "$unknown" ] || fail "${f##*/} names what is not exported: $unknown"
done
unshown=$(names "$tmp/exprs" | comm -13 - "$tmp/exported" | grep -v build_info)
[ -z "$unshown" ] || fail "the dashboard does not show: $unshown"
man_lacks=$(sed -n 's/^\.It \(scistream_[a-z_]*\|process_[a-z_]*\)$/\1/p' "$srcdir/man/scistreamd.8" | sort | diff - "$tmp/exported") ||
    fail "metrics in scistreamd(8) (<) and those exported (>): $man_lacks"

if have promtool; then
    step "promtool: the page, the rules, and when they fire"
    promtool check metrics <"$tmp/page" >"$tmp/promtool" 2>&1 && [ ! -s "$tmp/promtool" ] || fail "check metrics: $(cat "$tmp/promtool")"
    promtool check rules "$etc/prometheus/scistream.rules.yml" >"$tmp/promtool" 2>&1 || fail "check rules: $(cat "$tmp/promtool")"
    (cd "$etc/prometheus" && promtool test rules scistream.test.yml) >"$tmp/promtool" 2>&1 || fail "test rules: $(cat "$tmp/promtool")"
    alerts=$(grep -c '^ *- alert:' "$etc/prometheus/scistream.rules.yml")
    [ "$(grep -cE 'exp_alerts: \[\]' "$etc/prometheus/scistream.test.yml")" = "$alerts" ] || fail "not all of the $alerts alerts are tested"
    # every expression of the dashboard is PromQL
    { echo 'groups: [{ name: x, rules: ['
    sed -e 's/\$__rate_interval/5m/g; s/\$instance/a/g; s/\$route/r/g' "$tmp/exprs" | grep -vE '^(label_values|prometheus)' | sort -u |
        awk '{ gsub(/\x27/, "\x27\x27"); printf "{ record: \"x:%d\", expr: \x27%s\x27 },\n", NR, $0 }'; echo ']}]'; } >"$tmp/dashboard.yml"
    promtool check rules "$tmp/dashboard.yml" >"$tmp/promtool" 2>&1 || fail "the dashboard: $(cat "$tmp/promtool")"
fi
stop_gateway A

if have systemd-analyze; then
    step "systemd-analyze: the unit is valid and hardened"
    mkdir "$tmp/unit"
    sed "s|^ExecStart=[^ ]*|ExecStart=$builddir/scistreamd|" "$builddir/etc/scistreamd.service" >"$tmp/unit/scistreamd.service"
    systemd-analyze verify --man=no "$tmp/unit/scistreamd.service" >"$tmp/verify" 2>&1 || fail "verify: $(cat "$tmp/verify")"
    ! grep -E "$tmp/unit|scistreamd.service" "$tmp/verify" >&2 || fail "verify has something to say"
    if systemd-analyze security --help 2>/dev/null | grep -q -- --offline; then
        systemd-analyze security --offline=true --threshold=30 --no-pager "$tmp/unit/scistreamd.service" >"$tmp/security" 2>&1 ||
            fail "security: $(cat "$tmp/security")"
        step "  $(tail -n 1 "$tmp/security")"
    fi
    value() { sed -n "s/^$1=//p" "$tmp/unit/scistreamd.service"; }
    drain=$("$builddir/scistreamd" -c /dev/null --print-config | sed -n 's/^drain_timeout = \([0-9]*\)s.*/\1/p; s/^drain_timeout = 1m.*/60/p')
    [ "$(value TimeoutStopSec)" -gt "$drain" ] || fail "TimeoutStopSec $(value TimeoutStopSec), drain_timeout $drain"
fi
if have systemd-sysusers; then
    step "sysusers, tmpfiles"
    mkdir -p "$tmp/root/etc"
    systemd-sysusers --root="$tmp/root" "$etc/sysusers.conf" 2>"$tmp/sysusers" || fail "sysusers: $(cat "$tmp/sysusers")"
    grep -q '^scistream:' "$tmp/root/etc/passwd" || fail "no user"
    if [ "$(id -u)" = 0 ]; then
        systemd-tmpfiles --root="$tmp/root" --create "$etc/tmpfiles.conf" 2>"$tmp/tmpfiles" || fail "tmpfiles: $(cat "$tmp/tmpfiles")"
        [ "$(stat -c %a "$tmp/root/var/log/scistream" "$tmp/root/etc/scistream" | tr '\n' ' ')" = "750 700 " ] || fail "folders"
    fi
fi

step "sysctl: each is a setting that kernels know, with its reason above"
grep -vE '^(#|$)' "$etc/90-scistream.conf" | while IFS=' =' read -r key _; do
    [ -e "/proc/sys/${key//./\/}" ] || case $key in
        net.core.default_qdisc | net.core.[rw]mem_max | net.core.netdev_max_backlog | vm.*) ;; # not in a network namespace
        *) [ ! -d /proc/sys/net/ipv4 ] || [ ! -w /proc/sys/net/ipv4 ] || fail "sysctl $key is not known here" ;;
    esac
done || exit 1
if have logrotate; then
    step "logrotate reads its file"
    sed '/^ *su /d' "$etc/logrotate.conf" >"$tmp/logrotate.conf"
    logrotate -d -s "$tmp/logrotate.state" "$tmp/logrotate.conf" >"$tmp/logrotate" 2>&1 || fail "logrotate: $(cat "$tmp/logrotate")"
    ! grep -i '^error' "$tmp/logrotate" || fail "logrotate"
fi

step "the examples of TCP routes"
dir=$tmp/example
"$builddir/scistreamd" --init "$dir" --name localhost >/dev/null || fail "--init"
cp "$dir/secret" "$dir/secret-b"
for f in tcp-gateway tcp-site-a tcp-site-b; do
    sed "s|/etc/scistream|$dir|; s|/var/log/scistream|$tmp|" "$etc/$f.conf" >"$tmp/$f.conf"
    run check 0 "$builddir/scistreamd" -c "$tmp/$f.conf" --check-config -o user=root
done

step "the example of who may do what"
cp "$dir/gateway.crt" "$dir/people.crt"
(umask 077 && : >"$dir/tokens" && echo id:secret >"$dir/globus-client")
sed "s|/etc/scistream|$dir|" "$etc/who.conf" >"$tmp/who.conf"
run check 0 "$builddir/scistreamd" -c "$tmp/who.conf" --check-config -o user=root

step "the example of direct mode"
take_ports
mkdir -p "$tmp/bin"
ln -s "$builddir/scistream-send" "$builddir/scistream-recv" "$tmp/bin"
make_data 100000 >"$tmp/in"
PATH=$tmp/bin:$PATH start recv "$etc/direct.sh" receive 127.0.0.1:$base "$tmp/out"
wait_said recv 'scistream-send .*--pin sha256:[0-9a-f]* .*direct://'
PATH=$tmp/bin:$PATH run send 0 "$etc/direct.sh" send direct://127.0.0.1:$base "$(grep -om 1 'sha256:[0-9a-f]*' "$tmp/recv.err")" "$tmp/in"
ends recv 0
same "$tmp/in" "$tmp/out"
run send 64 "$etc/direct.sh" nonsense a b

step "completion: options, choices, keys of the configuration, commands"
. "$etc/completion/scistream.bash"
# completes PROGRAM WORDS...: what is offered for the last one, in COMPREPLY
completes() { local p=$builddir/$1; shift; COMP_WORDS=("$p" "$@"); COMP_CWORD=$#; COMPREPLY=(); _scistream "$p"; }
offers() { [[ " ${COMPREPLY[*]} " == *" $1 "* ]] || fail "'${COMP_WORDS[*]}' does not offer $1 but: ${COMPREPLY[*]}"; }
completes scistreamd --ch; offers --check-config
[ ${#COMPREPLY[@]} = 1 ] || fail "more than one"
completes scistreamd -o lo; offers log_level=; offers log_target=
completes scistreamd --option ucx.; offers ucx.devices=
completes scistreamd -o me; offers metrics=; offers memory_limit=
completes scistream-send --report ""; offers json; offers text
completes scistreamctl se; offers sessions
completes scistreamctl drain --re; offers --resume # a command: its own options, and no other command
completes scistreamctl drain --rat
[ ${#COMPREPLY[@]} = 0 ] || fail "an option of another command: ${COMPREPLY[*]}"
completes scistreamctl --socket x grant ""
[ ${#COMPREPLY[@]} = 0 ] || fail "behind a command: ${COMPREPLY[*]}"
completes scistreamctl outbound --class ""; offers provisioned
completes scistream-recv --output ""
[ ${#COMPREPLY[@]} = 0 ] || fail "a file is wanted: ${COMPREPLY[*]}" # then bash completes files
complete -p scistreamd scistreamctl scistream-send scistream-recv >/dev/null || fail "not registered"
for program in scistreamd scistreamctl scistream-send scistream-recv; do
    "$builddir/$program" --help | tr '\n' ' ' | sed 's/  */ /g; s/ \(-., \)\?--/\n&/g' | sed -n 's/^ \(-., \)\?\(--[a-z-]*\) .*(\([a-z0-9-]*|[a-z0-9|-]*\)[,;)].*/\2 \3/p' >"$tmp/choices"
    while read -r option choices; do
        completes $program "$option" ""
        [ "$(IFS='|'; echo "${COMPREPLY[*]}")" = "$choices" ] || fail "$program $option: ${COMPREPLY[*]}, not $choices"
    done <"$tmp/choices"
done
[ -z "$missing" ] || step "all of the rest holds; not checked for lack of:$missing"
