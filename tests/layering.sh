#!/bin/bash
# Arrows only go down: programs -> ctrl, engine, transports -> tcp, rdma -> seam -> core. Which folder may include what, which files may
# know a library, and whose prefixes are never ours. A line of output for each that does not hold.
set -u
export LC_ALL=C
srcdir=${srcdir:-$(dirname "$0")/..}
cd "$srcdir" || exit 1
files=$(find src tcp rdma ctrl -name '*.[ch]' ! -name '*.pb-c.[ch]' | sort)

# floor FILES HEADERS...: these files include our own headers only from there (the first row that fits counts)
# library NAME HEADERS PREFIXES FILES: its headers <...> and its functions are for these files alone
# All are extended regular expressions.
rules='
floor   src/core/.*                 src/core/.*
floor   src/seam/.*                 src/(core|seam)/.*
floor   tcp/.*                      src/(core|seam)/.*|tcp/.*
floor   rdma/.*                     src/(core|seam)/.*|rdma/.*
floor   src/engine/flow\.[ch]       src/(core|seam)/.*|src/engine/flow\.h
floor   src/engine/channel\.[ch]    src/(core|seam)/.*|src/engine/(flow|channel)\.h
floor   src/engine/relay(_[a-z]+)?\.[ch] src/(core|seam)/.*|src/engine/(flow|channel|relay(_[a-z]+)?)\.h|ctrl/worker\.pb-c\.h
floor   src/engine/worker\.[ch]     src/(core|seam)/.*|src/engine/(flow|channel|relay(_[a-z]+)?|worker)\.h|ctrl/worker\.pb-c\.h
floor   ctrl/.*                     src/core/.*|ctrl/.*|tcp/(sock|tls|resolve)\.h
floor   src/transports\.c           src/seam/xport\.h
floor   src/[^/]*                   .*
library libconfuse   confuse        cfg_                                 src/core/conf\.c
library libxxhash    xxh            XXH                                  src/core/digest\.c
library OpenSSL      openssl/       SSL_|BIO_|ERR_|EVP_|X509_|HMAC|PEM_  tcp/tls(_[a-z]+)?\.c|tcp/tls_priv\.h
library c-ares       ares           ares_                                tcp/resolve\.c
library libmicrohttpd microhttpd    MHD_                                 ctrl/metrics\.c
library libcurl      curl/          curl_                                ctrl/introspect\.c
library jansson      jansson        json_(load|object|array_|string_value|number_value|is_|decref) ctrl/introspect\.c
library nghttp2      nghttp2/       nghttp2_                             ctrl/h2(_[a-z]+)?\.[ch]
library UCX          uc[pstm]/      uc[pstm]_                            rdma/ucx(_[a-z]+)?\.[ch]
library verbs        infiniband/    ibv?_                                rdma/(dev|mr|verbs(_[a-z]+)?)\.[ch]
library librdmacm    rdma/          rdma_                                rdma/(dev|mr|verbs(_[a-z]+)?)\.[ch]
library protobuf-c   protobuf-c/    protobuf_c_                          ctrl/.*|src/engine/(relay(_[a-z]+)?|worker)\.[ch]|src/[a-z_]+\.[ch]
library CUnit        CUnit/         CU_                                  none
library systemd      systemd/       sd_                                  none
'

awk -v rules="$rules" '
    function is(text, pattern) { return text ~ "^(" pattern ")$" }
    function complain(text) { print FILENAME ":" FNR ": " text; wrong++ }
    BEGIN {
        n = split(rules, row, "\n")
        for (i = 1; i <= n; i++) {
            k = split(row[i], w, /[[:space:]]+/)
            if (w[1] == "floor") { floors++; of[floors] = w[2]; may[floors] = w[3] }
            if (w[1] == "library") { libs++; name[libs] = w[2]; headers[libs] = w[3]; prefix[libs] = w[4]; owner[libs] = w[5]; all = all (libs > 1 ? "|" : "") w[4] }
        }
    }
    FNR == 1 {
        count++; comment = 0; here = 0
        for (i = floors; i; i--) if (is(FILENAME, of[i])) here = i
        if (!here) complain("belongs to no floor")
    }
    /^[[:space:]]*#[[:space:]]*include[[:space:]]*"/ {
        h = $0; sub(/^[^"]*"/, "", h); sub(/".*/, "", h)
        if (h != "config.h" && !is(h, may[here])) complain("may not include " h)
        if (h != "config.h" && h !~ /\.pb-c\.h$/ && (getline unused < h) < 0) complain("there is no " h ", paths begin at the top of the tree")
        close(h)
    }
    /^[[:space:]]*#[[:space:]]*include[[:space:]]*</ {
        h = $0; sub(/^[^<]*</, "", h)
        for (i = 1; i <= libs; i++) if (h ~ "^" headers[i] && !is(FILENAME, owner[i])) complain(name[i] " is for " owner[i] " alone")
    }
    {   # code without strings and comments
        gsub(/"([^"\\]|\\.)*"/, "\"\"")
        if (comment) { if (!sub(/^.*\*\//, "")) next; comment = 0 }
        gsub(/\/\*([^*]|\*[^\/])*\*\//, "")
        if (sub(/\/\*.*/, "")) comment = 1
        if ($0 ~ /^[a-zA-Z_][^(=]*\(/) {
            own = $0; sub(/\(.*/, "", own); sub(/.*[^A-Za-z0-9_]/, "", own)
            if (own ~ "^(" all ")") complain(own "() is a name of ours with the prefix of a library")
        }
        if (!match($0, "(^|[^A-Za-z0-9_])(" all ")[A-Za-z0-9_]*\\(")) next
        call = substr($0, RSTART, RLENGTH); sub(/^[^A-Za-z]/, "", call)
        for (i = 1; i <= libs; i++) if (call ~ "^(" prefix[i] ")" && !is(FILENAME, owner[i])) complain(call ") is of " name[i] ", for " owner[i] " alone")
    }
    END { if (!wrong) print "totals: layering: " count " files keep to their floor"; exit wrong != 0 }' $files || exit 1

# Who includes whom has no circle.
grep -E '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' $(grep '\.h$' <<<"$files") | sed -E 's/^([^:]*):[^"]*"([^"]*)".*/\1 \2/' | tsort >/dev/null && exit 0
echo "headers include each other in a circle"
exit 1
