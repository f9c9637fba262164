/* Fault points: lines of the program that have a name, where a test may have the process killed.
 *
 * THEA_FAULT=POINT:N in the environment: the N-th time that this process passes POINT it kills itself with
 * SIGKILL, as a power cut would; with POINT:N! it is SIGABRT, as a bug would. THEA_FAULT=POINT:N:FILE does so
 * once for all processes that share FILE, which is made then: the process that is started in its place lives.
 * Several, by comma. Compiled in always: without THEA_FAULT a point costs one branch. */
#ifndef GRAPH_FAULT_H
#define GRAPH_FAULT_H

#include <stdbool.h>

extern bool fault_armed; /* THEA_FAULT is set; read before main */
void fault_pass(const char *point);

static inline void thea_fault(const char *point)
{
    if (__builtin_expect(fault_armed, 0)) fault_pass(point);
}

#endif
