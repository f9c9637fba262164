/* Workers: see workers.h. A round is a number: the caller raises it, each helper runs its slice and counts
 * down. Waiters spin for some microseconds, then sleep on a futex, so that an idle stage uses no CPU. */
#include "nn/workers.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SPINS = 2000, WORKERS_MAX = 1024 };

struct workers {
    int count;
    pthread_t *threads; /* [count - 1] */
    int started;
    _Atomic uint32_t round; /* futex: raised for each run */
    _Atomic uint32_t left;  /* futex: helpers that have not finished this round */
    atomic_bool quit;
    float *scratch; /* [count, WORKERS_SCRATCH] reserved; pages come with use */
    void (*task)(void *context, int i, int n);
    void *context;
};

struct helper {
    struct workers *w;
    int index;
};

static void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Wait until *word differs from `old`. */
static uint32_t wait_change(_Atomic uint32_t *word, uint32_t old)
{
    for (int i = 0; i < SPINS; i++) {
        uint32_t now = atomic_load_explicit(word, memory_order_acquire);
        if (now != old) return now;
        pause_cpu();
    }
    for (;;) {
        uint32_t now = atomic_load_explicit(word, memory_order_acquire);
        if (now != old) return now;
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
    }
}

static void wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, WORKERS_MAX, NULL, NULL, 0);
}

static void *helper_main(void *argument)
{
    struct helper h = *(struct helper *)argument;
    free(argument);
    for (uint32_t seen = 0;;) {
        seen = wait_change(&h.w->round, seen);
        if (atomic_load(&h.w->quit)) return NULL;
        h.w->task(h.w->context, h.index, h.w->count);
        if (atomic_fetch_sub_explicit(&h.w->left, 1, memory_order_acq_rel) == 1) wake(&h.w->left);
    }
}

static int start_helper(struct workers *w, int index)
{
    struct helper *h = malloc(sizeof *h);
    if (h == NULL) return ENOMEM;
    *h = (struct helper){w, index};
    int failed = pthread_create(&w->threads[index - 1], NULL, helper_main, h);
    if (failed != 0) free(h);
    return failed;
}

static size_t scratch_bytes(const struct workers *w)
{
    return (size_t)w->count * WORKERS_SCRATCH * sizeof(float);
}

static bool reserve_scratch(struct workers *w)
{
    void *memory = mmap(NULL, scratch_bytes(w), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory != MAP_FAILED) w->scratch = memory;
    return memory != MAP_FAILED;
}

float *workers_scratch(const struct workers *w, int i)
{
    return w->scratch + (size_t)i * WORKERS_SCRATCH;
}

thea_rc workers_new(struct workers **out, int threads, struct thea_err *err)
{
    *out = NULL;
    if (threads < 1 || threads > WORKERS_MAX)
        return thea_fail(err, THEA_EUSAGE, "threads: %d; accepted: 1 to %d", threads, WORKERS_MAX);
    struct workers *w = calloc(1, sizeof *w);
    if (w != NULL) w->threads = calloc((size_t)threads, sizeof *w->threads);
    if (w == NULL || w->threads == NULL) {
        free(w);
        return thea_fail(err, THEA_EOS, "out of memory for %d threads", threads);
    }
    w->count = threads;
    if (!reserve_scratch(w)) {
        workers_free(w);
        return thea_fail(err, THEA_EOS, "no address space for %d threads: %s", threads, strerror(errno));
    }
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all,
                    &before); /* signals are the main thread's: helpers inherit a full mask */
    int failed = 0;
    for (int i = 1; i < threads && failed == 0; i++) {
        failed = start_helper(w, i);
        w->started += failed == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0) {
        workers_free(w);
        return thea_fail(err, THEA_EOS, "cannot start %d threads: %s", threads, strerror(failed));
    }
    *out = w;
    return THEA_OK;
}

void workers_free(struct workers *w)
{
    if (w == NULL) return;
    atomic_store(&w->quit, true);
    atomic_fetch_add(&w->round, 1);
    wake(&w->round);
    for (int i = 0; i < w->started; i++) pthread_join(w->threads[i], NULL);
    if (w->scratch != NULL) munmap(w->scratch, scratch_bytes(w));
    free(w->threads);
    free(w);
}

int workers_count(const struct workers *w)
{
    return w->count;
}

void workers_run(struct workers *w, void (*task)(void *context, int i, int n), void *context)
{
    if (w->count == 1) {
        task(context, 0, 1);
        return;
    }
    w->task = task;
    w->context = context;
    atomic_store_explicit(&w->left, (uint32_t)w->count - 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->round, 1, memory_order_release);
    wake(&w->round);
    task(context, 0, w->count);
    for (uint32_t left; (left = atomic_load_explicit(&w->left, memory_order_acquire)) != 0;)
        wait_change(&w->left, left);
}

void workers_slice(size_t total, size_t grain, int i, int n, size_t *begin, size_t *end)
{
    size_t units = total / grain + (total % grain != 0), count = (size_t)n, at = (size_t)i;
    size_t share = units / count, extra = units % count;
    size_t first = at * share + (at < extra ? at : extra);
    size_t last = first + share + (at < extra);
    *begin = first * grain < total ? first * grain : total;
    *end = last * grain < total ? last * grain : total;
}
