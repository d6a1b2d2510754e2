#include "code_pages_probes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "probe_time.h"

#define PAGE 4096u
#define LINE 64u
#define LINES (PAGE / LINE)

#ifdef __x86_64__

struct code {
    uint8_t *start;
    size_t bytes;
};

/* A multiplicative step through the page, so that neighbours do not fall into one set of the cache. */
static uint8_t *place(const struct code *code, uint32_t i, int apart)
{
    size_t line = apart ? i * 29u % LINES : i % LINES;
    size_t page = apart ? i : i / LINES;
    return code->start + page * PAGE + line * LINE;
}

/* sub edi, 1; jz to the ret; jmp to the next place; ret */
static void write_jump(uint8_t *at, const uint8_t *next)
{
    static const uint8_t head[] = {0x83, 0xef, 0x01, 0x74, 0x05, 0xe9};
    memcpy(at, head, sizeof(head));
    int32_t distance = (int32_t)(next - (at + 10));
    memcpy(at + 6, &distance, sizeof(distance));
    at[10] = 0xc3;
}

static int link_jumps(const struct code *code, uint32_t count, int apart)
{
    uint32_t *order = malloc(count * sizeof(*order));
    if (order == NULL) {
        return -ENOMEM;
    }
    uint64_t state = count;
    for (uint32_t i = 0; i < count; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        uint32_t j = (uint32_t)(state >> 33) % (i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    for (uint32_t i = 0; i < count; i++) {
        write_jump(place(code, order[i], apart), place(code, order[(i + 1) % count], apart));
    }
    free(order);
    return 0;
}

static int sample(const struct code *code, uint32_t count, int apart, int samples, uint32_t jumps,
                  double *ns_ret)
{
    int error = mprotect(code->start, code->bytes, PROT_READ | PROT_WRITE) == 0 ? 0 : -errno;
    error = error != 0 ? error : link_jumps(code, count, apart);
    if (error == 0 && mprotect(code->start, code->bytes, PROT_READ | PROT_EXEC) != 0) {
        error = -errno;
    }
    if (error != 0) {
        return error;
    }
    void (*run)(uint32_t) = NULL;
    uint8_t *first = place(code, 0, apart);
    memcpy(&run, &first, sizeof(run)); /* ISO C has no cast from data to code */
    run(4 * count);
    for (int s = 0; s < samples; s++) {
        uint64_t began_ns = mc_now_ns();
        run(jumps);
        ns_ret[s] = (double)(mc_now_ns() - began_ns) / jumps;
    }
    return 0;
}

int mc_probe_code_pages(const uint32_t *counts, int count, int samples, uint32_t jumps, double *apart_ns_ret,
                        double *together_ns_ret)
{
    uint32_t most = 0;
    for (int i = 0; i < count; i++) {
        most = counts[i] > most ? counts[i] : most;
    }
    struct code code = {.bytes = (size_t)most * PAGE};
    code.start = mmap(NULL, code.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code.start == MAP_FAILED) {
        return -errno;
    }
    int error = madvise(code.start, code.bytes, MADV_NOHUGEPAGE) == 0 ? 0 : -errno;
    error = error == -EINVAL ? 0 : error; /* a kernel without THP */
    for (int i = 0; i < count && error == 0; i++) {
        error = sample(&code, counts[i], 1, samples, jumps, apart_ns_ret + (size_t)i * samples);
        if (error == 0) {
            error = sample(&code, counts[i], 0, samples, jumps, together_ns_ret + (size_t)i * samples);
        }
    }
    munmap(code.start, code.bytes);
    return error;
}

#else

int mc_probe_code_pages(const uint32_t *counts, int count, int samples, uint32_t jumps, double *apart_ns_ret,
                        double *together_ns_ret)
{
    (void)counts, (void)count, (void)samples, (void)jumps, (void)apart_ns_ret, (void)together_ns_ret;
    return -ENOSYS;
}

#endif
