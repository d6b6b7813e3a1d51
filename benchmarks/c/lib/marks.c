/* benchmarks/c/lib/marks.c - marks in the life of a process that runs under callgrind, for Python
 * (ctypes).  What was counted since the last mark goes to a file of its own that bears the label.
 * Outside valgrind both functions do nothing.
 * flags: -shared -fPIC
 */
#include <valgrind/callgrind.h>

void bench_begin(void);
void bench_mark(const char *label);

/* Counting starts here; until then the process runs several times faster. */
void bench_begin(void) { CALLGRIND_START_INSTRUMENTATION; }

void bench_mark(const char *label) { CALLGRIND_DUMP_STATS_AT(label); }
