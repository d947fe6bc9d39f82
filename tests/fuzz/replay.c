/* Without libFuzzer: runs every input of the directories or files named, or of this target's own corpus, through the target. */
#include <dirent.h>
#include <libgen.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

/* The target sees a block of exactly its size, so that a sanitizer notices one byte too far. */
static void replay_file(const char *path, size_t size)
{
    AUTO_FREE uint8_t *data = mem_zalloc(MAX(size, (size_t)1), 1);
    FILE *in = fopen(path, "rb");
    FUZZ_CHECK(in && fread(data, 1, size, in) == size);
    fclose(in);
    printf("%s\n", path); /* the last one in the log is the one it died of */
    fflush(stdout);
    LLVMFuzzerTestOneInput(data, size);
}

static unsigned replay(const char *path)
{
    struct dirent **entries;
    struct stat st;
    unsigned inputs = 0;
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
        replay_file(path, (size_t)st.st_size);
        return 1;
    }
    int n = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        AUTO_FREE char *below = mem_printf("%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            inputs += replay(below);
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    return inputs;
}

int main(int argc, char **argv)
{
    const char *program = basename(argv[0]), *name = str_starts(program, "fuzz_") ? program + 5 : program,
               *srcdir = getenv("srcdir");
    unsigned inputs = 0;
    for (int i = 1; i < argc; i++)
        inputs += replay(argv[i]);
    if (argc == 1) {
        AUTO_FREE char *corpus = mem_printf("%s/tests/fuzz/corpus/%s", srcdir ? srcdir : ".", name);
        inputs = replay(corpus);
    }
    printf("totals: fuzz %s: %u inputs\n", name, inputs);
    return inputs == 0;
}
