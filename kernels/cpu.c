/* cpu: features by cpuid (with the operating system's consent, which __builtin_cpu_supports asks for). */
#include "kernels/cpu.h"
#include "kernels/kernels.h"
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#if defined(__x86_64__)
#include <cpuid.h>

/* clang's __builtin_cpu_supports does not know it; the system's consent is that for AVX. */
static bool has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) && __builtin_cpu_supports("avx");
}

bool cpu_has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

bool cpu_has_avx512(void)
{
    return cpu_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

/* The brand string: 48 bytes in three leaves, padded with blanks. */
static bool brand_string(char brand[49])
{
    unsigned words[12];
    for (unsigned leaf = 0; leaf < 3; leaf++) {
        unsigned *w = words + 4 * leaf;
        if (!__get_cpuid(0x80000002u + leaf, &w[0], &w[1], &w[2], &w[3])) return false;
    }
    memcpy(brand, words, sizeof words);
    brand[48] = '\0';
    return true;
}

static void list_features(char *out, size_t size)
{
#define FEATURE(name)                                                                                        \
    {                                                                                                        \
        name, __builtin_cpu_supports(name) != 0                                                              \
    }
    const struct {
        const char *name;
        bool present;
    } features[] = {FEATURE("avx"),        FEATURE("avx2"),      FEATURE("fma"),      {"f16c", has_f16c()},
                    FEATURE("avx512f"),    FEATURE("avx512bw"),  FEATURE("avx512dq"), FEATURE("avx512vl"),
                    FEATURE("avx512bf16"), FEATURE("avx512vnni")};
#undef FEATURE
    size_t used = 0;
    for (size_t i = 0; i < sizeof features / sizeof *features; i++) {
        if (!features[i].present) continue;
        int n = snprintf(out + used, size - used, "%s%s", used ? " " : "", features[i].name);
        if (n < 0 || (size_t)n >= size - used) return;
        used += (size_t)n;
    }
}
#else
bool cpu_has_avx2(void)
{
    return false;
}
bool cpu_has_avx512(void)
{
    return false;
}
static bool brand_string(char brand[49])
{
    (void)brand;
    return false;
}
static void list_features(char *out, size_t size)
{
    (void)out;
    (void)size;
}
#endif

const char *kernels_cpu_name(char *out, size_t size)
{
    char brand[49];
    struct utsname machine;
    if (brand_string(brand)) {
        const char *start = brand + strspn(brand, " ");
        size_t length = strlen(start);
        while (length && start[length - 1] == ' ') length--;
        snprintf(out, size, "%.*s", (int)length, start);
    } else {
        snprintf(out, size, "%s", uname(&machine) == 0 ? machine.machine : "unknown CPU");
    }
    return out;
}

const char *kernels_cpu_features(char *out, size_t size)
{
    if (size) out[0] = '\0';
    if (size) list_features(out, size);
    return out;
}
