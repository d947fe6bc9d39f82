/* Promises of the configuration against limits of the machine. */
#include "ctrl/promises.h"

#include <stdio.h>
#include <sys/resource.h>

#include "ctrl/admission.h"
#include "tests/lib/unit.h"

static struct conf *conf;
static struct promises_machine machine;
static char why[PROMISES_MAX][PROMISES_WHY];

static void set(const char *assignment)
{
    char problem[400] = "";
    if (conf_set(conf, assignment, problem, sizeof(problem)) < 0)
        printf("%s\n", problem);
    CU_ASSERT_STRING_EQUAL_FATAL(problem, "");
}

static void begin(void)
{
    conf = conf_new();
    machine = (struct promises_machine){ UINT64_MAX, UINT64_MAX, 1ULL << 50, 1 };
}

static void end(void) { conf_free(conf); }

static void relay_route(void)
{
    set("route.app.accept=tcp://127.0.0.1:7000");
    set("route.app.connect=tcp://127.0.0.1:7001");
    set("route.app.connections=20000");
}

static bool silent(void) { return promises_check(conf, &machine, why) == 0; }

static void expect(const char *want)
{
    CU_ASSERT_EQUAL_FATAL(promises_check(conf, &machine, why), 1);
    if (!strstr(why[0], want))
        printf("\n  '%s' is not in '%s'\n", want, why[0]);
    CU_ASSERT_PTR_NOT_NULL(strstr(why[0], want));
}

static void test_nothing(void)
{
    begin();
    machine = (struct promises_machine){ .workers = 1 };
    CU_ASSERT_TRUE(silent()); /* without routes nothing is promised */
    end();
}

/* Two sockets for each connection; the door, and what a worker has anyway. */
static void test_descriptors(void)
{
    begin();
    relay_route();
    CU_ASSERT_TRUE(silent());
    machine.descriptors = 40065;
    CU_ASSERT_TRUE(silent());
    machine.descriptors = 40064;
    expect("the routes promise 20000 connections, which need 40065 descriptors in a worker, RLIMIT_NOFILE is 40064: raise LimitNOFILE in the unit");
    expect("or lower connections of route app;");
    machine.workers = 2; /* which share them, but for a few */
    CU_ASSERT_TRUE(silent());
    machine.descriptors = 20080;
    expect("need 20081 descriptors in a worker");
    set("route.app.accept=tcp://127.0.0.1:7000,tcp://127.0.0.1:7002"); /* each place has its connections */
    machine.descriptors = 20082;
    expect("promise 40000 connections, which need 40082 descriptors");
    end();
}

static void test_streams(void)
{
    begin();
    set("route.gate.accept=link");
    set("route.gate.deliver=link");
    set("route.gate.channels=100");
    machine.descriptors = 264;
    CU_ASSERT_TRUE(silent());
    machine.descriptors = 263;
    expect("the routes promise 100 streams, which need 264 descriptors in a worker, RLIMIT_NOFILE is 263");
    expect("or lower channels of route gate;");
    set("route.gate.deliver=ucx,link");
    machine.descriptors = 864;
    CU_ASSERT_TRUE(silent());
    machine.descriptors = 863;
    expect("need 864 descriptors");
    relay_route();
    set("route.app.connections=1");
    expect("promise 1 connection and 100 streams, which need 867 descriptors");
    expect("of route gate;");
    end();
}

/* Connections that leave by another transport than TCP are channels; there are as many as connections unless it is said. */
static void test_connections_that_are_channels(void)
{
    begin();
    set("route.out.accept=tcp://127.0.0.1:7000");
    set("route.out.connect=gateway://b.example.org/out");
    set("route.out.connections=500");
    machine.descriptors = 1000;
    expect("promise 500 streams, which need 1065 descriptors");
    expect("or lower connections of route out;");
    set("route.out.channels=400");
    CU_ASSERT_TRUE(silent());
    machine.descriptors = 800;
    expect("promise 400 streams, which need 865 descriptors");
    expect("or lower channels of route out;");
    end();
}

static void test_mappings(void)
{
    begin();
    relay_route();
    machine.mappings = 160512;
    CU_ASSERT_TRUE(silent());
    machine.mappings = 65530;
    expect("promise 20000 connections, which need up to 160512 mappings in a worker when bytes wait in all their rings, vm.max_map_count is 65530: raise it");
    machine.workers = 4;
    CU_ASSERT_TRUE(silent());
    end();
    begin();
    set("route.gate.deliver=link");
    set("route.gate.channels=1000");
    machine.mappings = 4000;
    expect("promise 1000 streams, which need up to 4512 mappings");
    end();
}

/* What memory_limit refuses anyway needs nothing. */
static void test_cut_by_memory(void)
{
    begin();
    relay_route();
    machine.memory = 1000 * 512ULL << 10;
    machine.descriptors = 2065;
    CU_ASSERT_TRUE(silent());
    machine.descriptors = 1024;
    expect("promise 1000 connections (as many as memory_limit has room for), which need 2065 descriptors");
    end();
}

static void test_places(void)
{
    begin();
    relay_route();
    set("route.app.connections=100000");
    machine.workers = 4;
    CU_ASSERT_TRUE(silent());
    machine.workers = 3;
    expect("promise 100000 connections, and 3 workers have 98304 places: raise workers to 4, or lower connections of route app;");
    machine.descriptors = machine.mappings = 1024;
    CU_ASSERT_EQUAL(promises_check(conf, &machine, why), 3);
    end();
}

/* Sessions of scistream.Control: every port of the range can be a listener, and each has its connections. */
static void test_sessions(void)
{
    begin();
    set("scistream.data_ports=5100-5109");
    set("scistream.connections=300");
    machine.descriptors = 1000;
    CU_ASSERT_TRUE(silent()); /* nobody arranges any */
    set("scistream.enable=yes");
    expect("the sessions promise 3000 connections, which need 6074 descriptors in a worker, RLIMIT_NOFILE is 1000: raise LimitNOFILE");
    expect("or lower scistream.connections; until then");
    machine.workers = 10;
    CU_ASSERT_TRUE(silent());
    machine.workers = 1;
    machine.descriptors = 6074;
    CU_ASSERT_TRUE(silent());
    relay_route();
    set("route.app.connections=1000");
    expect("the routes and sessions promise 4000 connections, which need 8075 descriptors");
    expect("or lower scistream.connections; until then");
    set("route.app.connections=4000");
    expect("or lower connections of route app; until then");
    set("scistream.data_ports=1024-65535"); /* there are no more places than that */
    set("scistream.connections=1");
    expect("promise 12128 connections, which");
    end();
}

static void test_this_machine(void)
{
    struct rlimit was, now;
    begin();
    CU_ASSERT_EQUAL(getrlimit(RLIMIT_NOFILE, &was), 0);
    now = (struct rlimit){ 10, was.rlim_max };
    setrlimit(RLIMIT_NOFILE, &now); /* control raises it */
    promises_machine(&machine, conf, 0);
    setrlimit(RLIMIT_NOFILE, &was);
    CU_ASSERT(machine.descriptors == (was.rlim_max == RLIM_INFINITY ? UINT64_MAX : was.rlim_max));
    CU_ASSERT(machine.mappings > 1000 && machine.memory == admission_limit(conf) && machine.workers == 1);
    end();
}

UNIT_MAIN("promises", UNIT(test_nothing), UNIT(test_descriptors), UNIT(test_streams), UNIT(test_connections_that_are_channels), UNIT(test_mappings),
          UNIT(test_cut_by_memory), UNIT(test_places), UNIT(test_sessions), UNIT(test_this_machine))
