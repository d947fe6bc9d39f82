#!/bin/bash
# The manuals say what the programs do: options, configuration keys, exit codes, messages of the protocol; and the examples in etc/ work.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
man=$srcdir/man err_h=$srcdir/src/core/err.h

# alike WHAT FILE FILE: the sorted lines of one are those of the other; what differs is shown.
alike()
{
    local what=$1
    [ -s "$2" ] || fail "$what: nothing to compare"
    sort "$2" >"$tmp/left"
    sort "$3" >"$tmp/right"
    diff "$tmp/left" "$tmp/right" >&2 || fail "$what: < is what the sources or programs say, > what the manual says"
}

# table NAME FILE: rows of the list behind the comment «table NAME», fields separated by |, without their header.
table()
{
    sed -n "/^\.\\\\\" table $1/,/^\.El/p" "$man/$2" | sed -n '/^\.It Em /d; s/^\.It //p' | sed 's/ *Ta */|/g'
}

step "long and short options"
for page in scistreamd.8 scistreamctl.1 scistream-send.1 scistream-recv.1; do
    program=${page%.*}
    "$builddir/$program" --help | sed -n 's/^  -\(.\), --\([a-z-]*\).*/\1 \2/p; s/^      --\([a-z-]*\).*/- \1/p' >"$tmp/program"
    sed -n 's/^\.It Fl \([A-Za-z]\) , Fl -\([a-z-]*\).*/\1 \2/p; s/^\.It Fl -\([a-z-]*\).*/- \1/p' "$man/$page" >"$tmp/manual"
    alike "options of $program" "$tmp/program" "$tmp/manual"
done

step "ranges, choices and defaults of options"
# «(64K to 4G, default 1M)» in the help: these words must stand below the .It of that option.
for page in scistreamctl.1 scistream-send.1 scistream-recv.1; do
    "$builddir/${page%.*}" --help | tr '\n' ' ' | sed 's/  */ /g; s/ \(-., \)\?--/\n--/g' |
        sed -n 's/^--\([a-z-]*\) .*(\([^()]*\), default \([^();]*\).*/\1|\2|\3/p' >"$tmp/ranges"
    [ -s "$tmp/ranges" ] || fail "no ranges in --help of ${page%.*}"
    while IFS='|' read -r option range default; do
        text=$(sed -n "/^\.It .*Fl -$option /,/^\.It /p" "$man/$page" | sed '1d; s/\\-/-/g' | tr '\n' ' ')
        case $range in
        number | rate | text | list) words= ;;
        *\|*) words=${range//|/ } ;;
        *) words="${range% to *} ${range#* to }" ;;
        esac
        words="$words $default"
        for word in $words; do
            grep -qE "(^|[ ,;(])$word([ ,;.)]|\$)" <<<"$text" || case "$page $option" in
                "scistreamctl.1 report") ;; # has no meaning there, and the page says so
                *) fail "$page: --$option: '$word' of '$range, default $default' is not mentioned" ;;
            esac
        done
    done <"$tmp/ranges"
done

step "configuration: keys and defaults, section by section, ranges and choices"
# scistreamd.conf(5) has one .It for each line «key = default» of --print-config.
"$builddir/scistreamd" -c /dev/null -o route.x.secret_file=x -o route.x.deliver=link -o policy.x.principals=x -o policy.x.roles=PROD --print-config >"$tmp/config" || fail "--print-config"
sed -i 's/secret_file = "x"/secret_file = ""/; s/deliver = {"link"}/deliver = {}/; s/principals = {"x"}/principals = {}/; s/roles = {"PROD"}/roles = {}/' "$tmp/config"
awk '/^[a-z]+.*{$/ { section = $1 } /^}/ { section = "" }
    /^ *# / { range = $0; sub(/.*\(/, "", range); sub(/\)$/, "", range); sub(/, default .*/, "", range) }
    /^ *[a-z_]+ = / { sub(/^ */, ""); print section "|" $0 "|" range }' "$tmp/config" >"$tmp/keys"
awk '/^\.Ss Section / { section = $3 } /^\.Ss Global/ { section = "" } /^\.Sh/ { section = "?" }
    section != "?" && /^\.It Ic / { sub(/^\.It Ic /, ""); gsub(/\\\(dq/, "\""); print section "|" $0 }' "$man/scistreamd.conf.5" >"$tmp/manual"
cut -d'|' -f1,2 "$tmp/keys" >"$tmp/program"
alike "scistreamd.conf(5)" "$tmp/program" "$tmp/manual"
while IFS='|' read -r section key range; do
    text=$(awk -v section="$section" -v key="${key%% =*}" '/^\.Ss Section / { s = $3 } /^\.Ss Global/ { s = "" } /^\.Sh/ { s = "?" }
        /^\.It / || /^\.El/ { on = s == section && $3 == key } on' "$man/scistreamd.conf.5" | tr '\n' ' ')
    case $range in
    *" to "*) grep -qF -- "$range" <<<"$text" || fail "scistreamd.conf(5): $section ${key%% =*}: the range '$range' is not mentioned" ;;
    *\|*) [ "$range" = 'yes|no' ] || for word in ${range//|/ }; do
        grep -qE "(^| )$word([ ,;]|\$)" <<<"$text" || fail "scistreamd.conf(5): $section ${key%% =*}: '$word' is not mentioned"
    done ;;
    esac
done < <(sed 's/|\([^|]*\)|\(.*\)/|\1|\2/' "$tmp/keys")

step "errors and exit codes"
sed -n 's/^ *X(\(E[A-Z]*\), \([0-9]*\), "\(.*\)", \([0-9]*\), \(true\|false\)).*/\2|\1|\4|\5|\3/p' "$err_h" | sed 's/|true|/|yes|/; s/|false|/|no|/' >"$tmp/program"
table errors scistream-protocol.7 >"$tmp/manual"
alike "error numbers" "$tmp/program" "$tmp/manual"
{ echo '0|-'; awk -F'|' '{ print $3 "|" $4 }' "$tmp/program" | sort -u; } >"$tmp/codes"
sed -n '/^\.Sh EXIT STATUS/,/^\.El/s/^\.It \([0-9]*\) *Ta \([a-z-]*\) *Ta .*/\1|\2/p' "$man/scistream.7" >"$tmp/manual"
alike "exit codes" "$tmp/codes" "$tmp/manual"
for page in scistream-send scistream-recv; do
    "$builddir/$page" --help | sed -n '/^Exit codes/,$p' | grep -oE '\b[0-9]{1,2}\b' | grep -vx 7 >"$tmp/program" # scistream(7)
    cut -d'|' -f1 "$tmp/codes" >"$tmp/manual"
    alike "exit codes in --help of $page" "$tmp/program" "$tmp/manual"
done

step "messages of the Attach and of the flow protocol"
# rows of ctrl/attach.c: { "OFFER", CLIENT, IN(ATTACH_NEW), ATTACH_OFFERED }
sed -n 's/^#define LIVE *(\(.*\))$/\1/p' "$srcdir/ctrl/attach.c" >"$tmp/live"
[ -s "$tmp/live" ] || fail "LIVE is not found in attach.c"
sed -n 's/.*= { "\([A-Z]*\)", \([A-Z]*\), \(.*\), ATTACH_\([A-Z]*\) },$/\1;\2;\3;\4/p' "$srcdir/ctrl/attach.c" | sed "s/LIVE/$(cat "$tmp/live")/" |
    while IFS=';' read -r name by in next; do
        states=
        for s in NEW OFFERED ANSWERED READY DONE CONFIRMED; do
            case $in in *"ATTACH_$s)"*) states="$states, ${s,,}" ;; esac
        done
        states=${states#, }
        [ "$next" = NEW ] && next=-
        echo "$name|${by,,}|${states:-never (reserved)}|${next,,}"
    done >"$tmp/program"
table attach scistream-protocol.7 >"$tmp/manual"
alike "messages of the Attach" "$tmp/program" "$tmp/manual"
sed -n 's/^enum frame_type { \(.*\) };$/\1/p' "$srcdir/src/seam/frame.h" | sed 's/, /\n/g' | sed -n 's/^FRAME_\([A-Z]*\) = \([0-9]*\)$/\1|\2/p' >"$tmp/program"
table frames scistream-protocol.7 | cut -d'|' -f1,2 >"$tmp/manual"
alike "frames" "$tmp/program" "$tmp/manual"
for text in "$(sed -n 's/^#define LABEL "\(.*\)"$/\1/p' "$srcdir/ctrl/auth.c")" "$(sed -n 's/^#define EXPORTER "\([^"]*\)".*/\1/p' "$srcdir/ctrl/auth.c")" \
    "$(sed -n 's/.*mem_printf("\(scistream lane[^|]*\)|.*/\1/p' "$srcdir/ctrl/auth.c")" "$(sed -n 's/^#define ALPN "\(.*\)"$/\1/p' "$srcdir/tcp/link.c")"; do
    [ -n "$text" ] && grep -qF "$text" "$man/scistream-protocol.7" || fail "scistream-protocol(7) lacks '$text'"
done

step "fields of a ticket"
# rows of src/core/ticket.c: { ADDRESS, 3, 2 + ADDR_HOST_MAX, 1, TICKET_ADDRESSES, take_address }; the shell works out such sums
while read -r name value; do
    declare "$name=$((value))"
done < <(sed -nE 's/^#define ([A-Z_]+) ([0-9]+)( .*)?$/\1 \2/p' "$srcdir"/src/core/{addr,ticket}.h "$srcdir/src/core/ticket.c")
next=0
for name in $(sed -n 's/^enum { \(SESSION = .*\) };$/\1/p' "$srcdir/src/core/ticket.c" | sed 's/ = /=/g; s/,//g'); do
    [[ $name != *=* ]] || next=$((${name#*=}))
    declare "${name%=*}=$next"
    next=$((next + 1))
done
range() { [ $1 = $2 ] && echo $1 || { [ $1$2 = 01 ] && echo '0 or 1'; } || echo "$1 to $2"; }
sed -n '/^} fields\[\]/,/^};/s/^    { \(.*\), take_.*/\1/p' "$srcdir/src/core/ticket.c" | while IFS=, read -r number shortest longest least most; do
    echo "$((number))|$(range $((shortest)) $((longest)))|$(range $((least)) $((most)))"
done >"$tmp/program"
table ticket scistream-protocol.7 | cut -d'|' -f1,3,4 >"$tmp/manual"
alike "fields of a ticket" "$tmp/program" "$tmp/manual"

step "environment variables"
for variable in $(grep -rhoE 'getenv\("[A-Z_]+"\)|setenv\("[A-Z_]+"|"SCISTREAM_[A-Z_]+"' "$srcdir/src" "$srcdir/rdma" "$srcdir/ctrl" "$srcdir/tcp" --include='*.c' \
    --include='*.h' | grep -oE '[A-Z][A-Z_]+' | sort -u); do
    case $variable in HOME | UCX_HANDLE_ERRORS | UCX_ERROR_SIGNALS) continue ;; esac
    grep -q "$variable" "$man/scistream.7" || fail "scistream(7) lacks $variable"
done

step "examples: configurations, completion"
dir=$tmp/etc
"$builddir/scistreamd" --init "$dir" --name localhost >/dev/null || fail "--init"
cp "$dir/secret" "$dir/secret-b"
for f in one-gateway gateway-a gateway-b s2cs; do
    sed "s|/etc/scistream|$dir|" "$srcdir/etc/$f.conf" >"$tmp/$f.conf"
    if grep -q '^#define WITH_UCX 1' "$builddir/config.h" || ! grep -q ucx "$tmp/$f.conf"; then
        run check 0 "$builddir/scistreamd" -c "$tmp/$f.conf" --check-config -o user=root
    fi
done
# the configurations printed in the manual and in the README are complete too
blocks()
{
    awk -v out="$tmp/block" '/^(\.Bd -literal|```)/ && !on { on = 1; n++; next } /^(\.Ed|```)$/ { on = 0 } on { print >(out n) }' "$1"
}
no_pin=$(printf 'sha256:%064d' 0)
for text in "$man/scistreamd.conf.5" "$srcdir/README.md"; do
    rm -f "$tmp"/block*
    blocks "$text"
    found=0
    for b in "$tmp"/block*; do
        grep -q '^route ' "$b" && grep -q '^certificate' "$b" || continue
        found=$((found + 1))
        sed "s|/etc/scistream|$dir|; s|/usr/local/etc/scistream|$dir|; s|sha256:\.\.\.|$no_pin|" "$b" >"$tmp/printed.conf"
        run check 0 "$builddir/scistreamd" -c "$tmp/printed.conf" --check-config -o user=root
    done
    [ $found -ge 2 ] || fail "$text: $found configurations found, 2 expected"
done

. "$srcdir/etc/completion/scistream.bash"
for program in scistreamd scistreamctl scistream-send scistream-recv; do
    COMP_WORDS=("$builddir/$program" --) COMP_CWORD=1
    _scistream "$builddir/$program"
    printf '%s\n' "${COMPREPLY[@]}" >"$tmp/manual"
    "$builddir/$program" --help | grep -oE '^  (-., |    )--[a-z-]+' | grep -oE -- '--[a-z-]+$' >"$tmp/program"
    alike "completion of $program" "$tmp/program" "$tmp/manual"
done
COMP_WORDS=("$builddir/scistreamctl" "") COMP_CWORD=1
_scistream "$builddir/scistreamctl"
sed -n 's/^    { { "\([a-z]*\)", "[^"]*", ".*/\1/p' "$srcdir/src/scistreamctl.c" >"$tmp/program"
printf '%s\n' "${COMPREPLY[@]}" >"$tmp/manual"
alike "completion of the commands" "$tmp/program" "$tmp/manual"
sed -n 's/^\.It Cm \([a-z]*\).*/\1/p' "$man/scistreamctl.1" >"$tmp/manual"
alike "commands in scistreamctl(1)" "$tmp/program" "$tmp/manual"

if command -v mandoc >/dev/null; then
    step "mandoc finds no fault"
    for page in "$man"/*.[1578]; do
        mandoc -T lint -W warning "$page" >&2 || fail "${page##*/}"
    done
else
    step "there is no mandoc: the markup of the pages is not checked"
fi
