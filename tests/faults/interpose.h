/* tests/faults/interpose.h - makes the n-th system call, or the n-th allocation, of Whipray's own
 * code fail.  Nothing of it is in the product: interpose.c stands in front of the C library, linked
 * into a C test or preloaded into the processes of a session, and what is tested is the build that
 * users run.
 *
 * Only calls from _core.so and whiprayd count (in a C test: all), and of the fork server its forks.
 * Calls that can not fail for want of something, such as close, do not count. */
#ifndef INTERPOSE_H
#define INTERPOSE_H

/* FAULT_PYTHON: memory of the interpreter that _core.so asks for, be it through functions of the
 * interpreter; fault_watch_python comes first. */
enum fault_kind { FAULT_CALLS = 1, FAULT_MEMORY = 2, FAULT_PYTHON = 3 };
void fault_watch_python(void);

/* Fails the n-th call from now (1 is the next).  A call has several ways to fail; `way` chooses one
 * of them, modulo their number.  `for_good`: what the failure says is true from then on: after
 * EMFILE every call that needs a descriptor fails.  What is over by its nature (EINTR, EAGAIN, a
 * short read) then happens at every second call. */
void fault_arm(int kind, long n, int way, int for_good);
/* Ends it; how many calls failed. */
long fault_disarm(void);
long fault_calls(void); /* counted since fault_arm */
/* The last call that failed: "recv EINTR"; "" when none did. */
const char *fault_last(void);
/* The signal, other than SIGKILL, that ended a child for which this process has waited since the
 * last call of this function; 0: none. */
int fault_crash(void);

#endif
