/* Keys of the WAN leg: vectors that were computed by other programs (Python's hmac). */
#include "ctrl/auth.h"
#include "tests/lib/unit.h"

#define UID "7f4df9b0-9a0e-11ee-8c90-0242ac120002"

static void expect_key(const struct secret *s, const char *uid, const char *hex)
{
    uint8_t got[TLS_KEY_SIZE], want[TLS_KEY_SIZE];
    CU_ASSERT_TRUE_FATAL(secret_unhex(want, sizeof(want), hex));
    auth_wan_key(s, uid, got);
    CU_ASSERT_EQUAL(memcmp(got, want, sizeof(got)), 0);
}

static void test_wan_key(void)
{
    uint8_t data[32];
    for (unsigned i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)i;
    const struct secret s = { data, sizeof(data) }, none = { NULL, 0 };
    expect_key(&s, UID, "3504145d205d38c10e499f8e3eb86c9056f3fc4ba6762e301bcb5e84ce121275");
    expect_key(&s, "other", "edc51017b1778e6ecdb49a1ce4ac11fdb9ec6410795cad2c4bc2cae2a4d47188");
    expect_key(NULL, UID, "415f979c1e49a1657f4c1ce1d472933928ef6df54297f867d85eb845c42442fd");
    expect_key(&none, UID, "415f979c1e49a1657f4c1ce1d472933928ef6df54297f867d85eb845c42442fd");
}

static void test_uid_key(void)
{
    static const uint8_t want[] = { 0x7f, 0x4d, 0xf9, 0xb0, 0x9a, 0x0e, 0x11, 0xee, 0x8c, 0x90, 0x02, 0x42, 0xac, 0x12, 0x00, 0x02 };
    static const char *const bad[] = { "", "-", "7f4df9b0-9a0e-11ee-8c90-0242ac12000", UID "0", "7f4df9b0-9a0e-11ee-8c90-0242ac12000g",
                                       " 7f4df9b09a0e11ee8c900242ac120002", "7f4df9b0 9a0e 11ee 8c90 0242ac120002", "run 12" };
    uint8_t got[AUTH_UID_KEY] = { 0 };
    CU_ASSERT(auth_uid_key(UID, got) && memcmp(got, want, sizeof(got)) == 0);
    memset(got, 0, sizeof(got));
    CU_ASSERT(auth_uid_key("7F4DF9B09A0E11EE8C900242AC120002", got) && memcmp(got, want, sizeof(got)) == 0);
    CU_ASSERT(auth_uid_key("--7f4df9b09a0e11ee8c900242ac12000-2-", got) && memcmp(got, want, sizeof(got)) == 0); /* SciStream takes out all of them */
    memset(got, 7, sizeof(got));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CU_ASSERT_FALSE(auth_uid_key(bad[i], got));
    CU_ASSERT_EQUAL(got[0], 7); /* set on success only */
}

UNIT_MAIN("auth", UNIT(test_wan_key), UNIT(test_uid_key))
