/* The table of the daemon's options. */
#ifndef SRC_CORE_CONF_ROWS_H
#define SRC_CORE_CONF_ROWS_H

/* Each row: TYPE(field, default, min, max, help) for numbers, TYPE(field, default, help) for the others.
 * scistreamd.conf(5) is held against these rows by tests/func/manuals.sh. */
#define CONF_GLOBAL(FLAG, INT, SIZE, RATE, TIME, ENUM, STR, LIST) \
    STR(name, "", "name of this gateway in answers, logs and sessions; default: the host name") \
    STR(listen, "[::]:5000", "address of the control endpoint") \
    STR(advertise, "", "numeric address that peers are told for data on a link; default: the address they reached us at") \
    STR(control_socket, "", "path of the local administration socket; default: /run/scistream/control.sock or below XDG_RUNTIME_DIR") \
    STR(metrics, "127.0.0.1:9500", "numeric address and port where Prometheus gets /metrics; \"\" = none") \
    STR(records, "", "file to which one JSON line is appended when a stream has ended, or log = as log lines; default: none") \
    STR(certificate, "", "PEM file with the certificate chain of the control endpoint") \
    STR(key, "", "PEM file with its private key") \
    STR(user, "scistream", "user to become when started as root; root = stay root") \
    INT(workers, "0", 0, 256, "data workers; 0 = one a CPU, at most 4") \
    STR(link_ports, "5010-5041", "ports for data on a link, one a worker") \
    STR(link_address, "", "numeric address the link ports are bound to; default: that of listen") \
    SIZE(memory_limit, "0", 0, 1ULL << 50, "sum of all rings; 0 = a quarter of the machine's memory") \
    INT(max_connections, "4096", 16, 1000000, "connections to the control endpoint at once") \
    TIME(peer_timeout, "10s", 1 * NS_PER_S, 3600 * NS_PER_S, "a peer or worker that is silent for this long is dead") \
    TIME(rendezvous_timeout, "10m", 1 * NS_PER_S, TIME_FOREVER, "how long one side waits for the other") \
    TIME(drain_timeout, "1m", 0, TIME_FOREVER, "how long a stop waits for streams that still run") \
    ENUM(huge_pages, "auto", "auto|yes|no", "rings of 2M and more in reserved 2M pages; auto = while the kernel has some to give") \
    TIME(attach_timeout, "10s", 1 * NS_PER_S, 3600 * NS_PER_S, "time for each step of an attach: connect, TLS, offer, data connection") \
    ENUM(log_level, "info", "error|warn|info|debug", "least important lines that are logged") \
    ENUM(log_target, "auto", "auto|stderr|syslog|journal", "where log lines go; auto = journal under systemd, else stderr") \
    ENUM(log_format, "text", "text|json", "shape of log lines")

#define CONF_UCX(FLAG, INT, SIZE, RATE, TIME, ENUM, STR, LIST) \
    LIST(devices, "", "devices UCX may use (lo, ib0, mlx5_0:1); none = no ucx") \
    STR(transports, "auto", "UCX_TLS; auto = tcp for network interfaces, rc for InfiniBand ports") \
    STR(listen, "", "numeric address of the UCX listener; default: the first address of the first device") \
    STR(ports, "0", "port range of the UCX listeners, one a worker; 0 = any free port") \
    STR(port_range, "0", "UCX_TCP_PORT_RANGE: ports UCX itself opens for tcp; 0 = any") \
    STR(advertise, "", "numeric address that peers are told for ucx; default: the listener's address")

#define CONF_RDMA(FLAG, INT, SIZE, RATE, TIME, ENUM, STR, LIST) \
    STR(listen, "", "numeric address of the RDMA device where peers attach by verbs; none = no verbs") \
    STR(ports, "0", "port range of the verbs listeners, one a worker; 0 = any free port") \
    STR(advertise, "", "numeric address that peers are told for verbs; default: that of listen") \
    STR(device, "", "port that verbs may use (mlx5_0:1, or mlx5_0 for any of its ports); default: the one that has the address or leads to the peer") \
    ENUM(path_mtu, "auto", "auto|256|512|1024|2048|4096", "largest path MTU [bytes]; auto = what both ends and the path can; iWARP: its TCP's") \
    INT(numa_node, "-1", (uint64_t)-1, 1023, "NUMA node whose memory rings are made of, if it has some; -1 = that of the device") \
    INT(retry_count, "7", 0, 7, "times a message is sent again before its queue pair fails") \
    INT(ack_timeout, "18", 0, 31, "time until it is sent again: 4.096 us times 2 to the power of this; 18 = 1.07 s; 0 = the device's") \
    INT(traffic_class, "0", 0, 255, "traffic class of the packets (service level on InfiniBand)")

#define CONF_LINK(FLAG, INT, SIZE, RATE, TIME, ENUM, STR, LIST) \
    ENUM(cipher, "aes-256-gcm", "aes-256-gcm|aes-128-gcm|chacha20-poly1305", "TLS 1.3 cipher of data connections") \
    SIZE(chunk, "1M", 4 << 10, 64 << 20, "largest chunk on a link")

/* Who somebody is: the first of these ways that applies says it. Without any of them nobody is asked. */
#define CONF_AUTH(FLAG, INT, SIZE, RATE, TIME, ENUM, STR, LIST) \
    STR(client_ca, "", "PEM file with the CAs of client certificates; default: none is asked for") \
    STR(client_crl, "", "PEM file with the revocation lists of these CAs, one of each; default: none is looked at") \
    STR(token_file, "", "file with a line for each token: PRINCIPAL sha256:SALT:HEX [expires TIME]; scistreamctl token makes them") \
    STR(introspection_url, "", "https://HOST[:PORT]/PATH that is asked about tokens (RFC 7662)") \
    STR(introspection_credentials_file, "", "file with CLIENT_ID:CLIENT_SECRET for it") \
    STR(introspection_ca, "", "PEM file with the CA of its certificate; default: the system's") \
    TIME(introspection_timeout, "5s", 100 * NS_PER_MS, 60 * NS_PER_S, "time for it to answer") \
    TIME(introspection_cache, "1m", 0, 3600 * NS_PER_S, "how long an answer is remembered, at most until the token expires; 0 = not at all") \
    STR(principal_field, "username", "field of its answer that names the principal: username, sub, email") \
    STR(required_scope, "", "scope that the answer must have; default: any") \
    STR(required_audience, "", "audience that the answer must have; default: any") \
    STR(scope_id, "", "what clients without a valid token are told to log in for; default: the name of this gateway")

/* Who may do what: the first row whose principals and roles fit decides. */
#define CONF_POLICY(FLAG, INT, SIZE, RATE, TIME, ENUM, STR, LIST) \
    LIST(principals, "", "who: names, * in them being any text, also none") \
    LIST(roles, "", "what: PROD, CONS, SEND, RECV, ADMIN") \
    LIST(targets, "", "where streams may be sent to: NETWORK[/BITS]:PORTS, * being any; none = nowhere") \
    LIST(classes, "best_effort", "kinds of sessions: best_effort, provisioned") \
    INT(sessions, "0", 0, 1000000, "sessions of one principal at once; 0 = any number") \
    INT(channels, "0", 0, 65536, "channels of one session; 0 = any number") \
    RATE(rate, "0", 0, 1000000000000000ULL, "rate reserved for one principal in all; 0 = any") \
    SIZE(window, "0", 0, 4ULL << 30, "ring of one channel; 0 = any size") \
    SIZE(ring_memory, "0", 0, 1ULL << 50, "sum of the rings of one principal; 0 = any") \
    TIME(lifetime, "forever", 1 * NS_PER_S, TIME_FOREVER, "time after which a session ends")

/* What can be reserved, and what best effort shares. Rates are those of each way. */
#define CONF_CAPACITY(FLAG, INT, SIZE, RATE, TIME, ENUM, STR, LIST) \
    RATE(wan, "0", 0, 1000000000000000ULL, "what links and TCP connections together may take; 0 = anything, and nothing of it can be reserved") \
    RATE(rdma, "0", 0, 1000000000000000ULL, "the same of ucx and verbs") \
    INT(best_effort_percent, "5", 1, 100, "part of each of them that cannot be reserved and stays for best effort [%]")

#define CONF_SCISTREAM(FLAG, INT, SIZE, RATE, TIME, ENUM, STR, LIST) \
    FLAG(enable, "no", "let sessions be arranged: by SciStream's own client (scistream.Control), and by users with tickets (scistreamctl)") \
    ENUM(auth, "unset", "unset|none|policy", "who may: none = anybody who reaches the endpoint; policy = by sections auth and policy; has to be said") \
    ENUM(wan, "psk", "psk|plaintext", "what sessions speak on the WAN: psk = TLS by a pre-shared key, which is the uid's; plaintext = TCP as it comes") \
    FLAG(require_ticket, "no", "take only sessions that are arranged with tickets (scistreamctl inbound, outbound): refuse req of scistream.Control") \
    FLAG(legacy_null_ciphers, "no", "wan = psk: take ciphers that do not encrypt, too, of a stunnel as SciStream starts it; each such connection is warned of") \
    STR(data_ports, "5100-5200", "ports of the listeners of sessions") \
    STR(data_address, "", "numeric address they are bound to; default: that of listen") \
    STR(data_advertise, "", "numeric address of them that peers are told; default: the one at which the caller reached us") \
    TIME(hello_timeout, "3m", 1 * NS_PER_S, 24 * 3600 * NS_PER_S, "how long a request waits for the hello of its application") \
    INT(sessions, "1000", 1, 8000, "sessions at once") \
    INT(connections, "1000", 1, 1000000, "connections open at once by each of their listeners") \
    STR(plaintext_listen, "", "numeric address and port where this service is there without TLS; default: none") \
    TIME(connect_timeout, "10s", 100 * NS_PER_MS, 3600 * NS_PER_S, "time for each address of a target to answer") \
    TIME(keepalive, "1m", 0, 9 * 3600 * NS_PER_S, "after this much silence a peer is asked whether it lives; 0 = never")

#define CONF_ROUTE(FLAG, INT, SIZE, RATE, TIME, ENUM, STR, LIST) \
    LIST(accept, "link", "transports by which senders attach, best first; tcp://ADDRESS:PORT = where TCP peers connect") \
    LIST(deliver, "", "transports by which receivers attach, best first; instead of connect") \
    STR(connect, "", "next gateway: gateway://host[:port]/route, or TCP peer: tcp://host:port") \
    LIST(connect_transports, "link", "transports towards the next gateway, best first") \
    STR(secret_file, "", "file with the secret that both ends of an attach share") \
    STR(connect_secret_file, "", "the same towards the next gateway; default: secret_file") \
    LIST(connect_pin, "", "public key pins of the next gateway (sha256:HEX), at most two") \
    STR(connect_ca, "", "PEM file with the CA of the next gateway; default without a pin: the system's") \
    STR(connect_tls_name, "", "name expected in the next gateway's certificate; default: its host") \
    SIZE(window, "4M", 64 << 10, 4ULL << 30, "ring of each channel: bytes in flight per flow") \
    INT(channels, "0", 0, 65536, "channels open at once; 0 = 1, or connections where TCP peers come or go by links alone") \
    ENUM(class, "best_effort", "best_effort|provisioned", "provisioned = rate is reserved, guaranteed and not exceeded; best_effort = a share of what is left") \
    RATE(rate, "0", 0, 1000000000000000ULL, "class = provisioned: of all its channels and connections together, each way") \
    FLAG(low_latency, "no", "small pieces go at once, they are not gathered while others are under way") \
    FLAG(plaintext, "no", "links of this route without TLS") \
    ENUM(dial, "send", "send|recv", "towards the next gateway: send = as the sender, recv = as the receiver of what comes from there") \
    INT(connections, "10000", 1, 1000000, "TCP peers connected at once by each tcp:// in accept") \
    STR(source_address, "", "numeric address that connections to the TCP peer come from; default: the system's choice") \
    FLAG(proxy_protocol, "no", "connections to the TCP peer begin with a PROXY protocol v2 header that names who came") \
    TIME(connect_timeout, "10s", 100 * NS_PER_MS, 3600 * NS_PER_S, "time for each address of the TCP peer to answer") \
    TIME(keepalive, "1m", 0, 9 * 3600 * NS_PER_S, "after this much silence a TCP peer is asked whether it lives; 0 = never")

#endif
