#!/bin/bash
# Small enough to read: files of 800 lines at most (over 500 are named), headers of 130 (over 90 are named), functions of 80, and the
# medians the project has set itself. The style has every function begin and end in column 0, which is all that counting needs.
set -u
export LC_ALL=C
srcdir=${srcdir:-$(dirname "$0")/..}
cd "$srcdir" || exit 1
files=$(find src tcp rdma ctrl -name '*.[ch]' ! -name '*.pb-c.[ch]' | sort)

# "LINES FILE:LINE NAME" of each function of a file
functions()
{
    awk '
        /^[A-Za-z_].*\)[[:space:]]*\{.*\}[[:space:]]*$/ { print 1, FILENAME ":" FNR, name($0); next }
        /^[A-Za-z_].*\(/ && !/;[[:space:]]*$/ && !/^(static )?(const )?(struct|union|enum) [A-Za-z_0-9]+ (\*?[A-Za-z_0-9]+(\[.*\])? = )?\{/ && !/ = / && !open { start = FNR; head = $0 }
        /;[[:space:]]*$/ && !open { if ($0 !~ /^[[:space:]]/ || !start) start = 0 }
        /^\{/ && start { open = 1 }
        /^\}/ && open { print FNR - start + 1, FILENAME ":" start, name(head); open = start = 0 }
        function name(s) { sub(/\(.*/, "", s); sub(/.*[^A-Za-z0-9_]/, "", s); return s }' "$1"
}

lines() { local n; n=$(wc -l <"$1"); echo "$n $1"; }
distribution() { sort -n | awk '{ v[NR] = $1 } END { printf "%d, median %d, 90 %% under %d, longest %d\n", NR, v[int((NR + 1) / 2)], v[int(NR * 0.9 + 0.5)] + 1, v[NR] }'; }

of_sources=$(for f in $files; do [ "${f##*.}" = c ] && lines "$f"; done)
of_headers=$(for f in $files; do [ "${f##*.}" = h ] && lines "$f"; done)
of_functions=$(for f in $files; do [ "${f##*.}" = c ] && functions "$f"; done)
of_tests=$(find tests -name '*.[ch]' -o -name '*.sh' -o -name '*.py' -o -name '*.inc' | while read -r f; do lines "$f"; done)

echo "source files: $(distribution <<<"$of_sources")"
echo "headers:      $(distribution <<<"$of_headers")"
echo "functions:    $(distribution <<<"$of_functions")"
awk -v tests="$(awk '{ n += $1 } END { print n }' <<<"$of_tests")" '{ n += $1 } END { printf "test lines:   %.2f of source lines\n", tests / n }' <<<"$of_sources
$of_headers"
awk '$1 > 500 { print "long, but allowed: " $2 " has " $1 " lines" }' <<<"$of_sources"
awk '$1 > 90 { print "long, but allowed: " $2 " has " $1 " lines" }' <<<"$of_headers"

wrong=$(
    awk '$1 > 800 { print $2 ": " $1 " lines, 800 is the limit" }' <<<"$of_sources"
    awk '$1 > 130 { print $2 ": " $1 " lines, 130 is the limit of a header" }' <<<"$of_headers"
    awk '$1 > 80 { print $2 ": " $3 " has " $1 " lines, 80 is the limit" }' <<<"$of_functions"
    sort -n <<<"$of_functions" | awk '{ v[NR] = $1 } END { if (v[int((NR + 1) / 2)] > 16) print "the median function has more than 16 lines"
        if (v[int(NR * 0.9 + 0.5)] > 50) print "more than a tenth of the functions have over 50 lines" }'
)
[ -z "$wrong" ] && exit 0
echo "$wrong"
exit 1
