/* tests/c/check.h - the test harness of the C code.
 *
 *   #include "check.h"
 *   TEST(ring_wraps) { CHECK_EQ(wr_ring_push(&r, 7), 0); }
 *   TEST_LIMIT(long_storm, 120) { ... }        (watchdog of 120 s in place of the default)
 *
 * A program is one test_<topic>.c linked with check.c, which has main().  Every test runs in a
 * forked child, so a crash is one failed test, and nothing a test starts outlives it.  A failing
 * CHECK prints file, line and expression and ends the process it is in; the test then fails also
 * when that process was a child the test forgot to look at.  A test that hangs is ended by a
 * watchdog after every thread of every process in its process group has printed its stack.
 *
 * Usable from any thread and from any process forked by a test.  Arguments are evaluated once. */
#ifndef CHECK_H
#define CHECK_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define TEST(name) TEST_LIMIT(name, 0)

#define TEST_LIMIT(name, seconds)                                                     \
  static void test_##name(void);                                                      \
  static check_test check_entry_##name = {#name, test_##name, (seconds), NULL};       \
  __attribute__((constructor)) static void check_register_##name(void) {              \
    check_register(&check_entry_##name);                                              \
  }                                                                                   \
  static void test_##name(void)

#define CHECK(cond)                                     \
  do {                                                  \
    check_here(__FILE__, __LINE__);                     \
    if (!(cond)) check_fail(__FILE__, __LINE__, #cond); \
  } while (0)

/* As CHECK, with a printf-style explanation of the values that matter. */
#define CHECK_MSG(cond, ...)                                          \
  do {                                                                \
    check_here(__FILE__, __LINE__);                                   \
    if (!(cond)) check_fail_msg(__FILE__, __LINE__, #cond, __VA_ARGS__); \
  } while (0)

/* Integers of any width and sign, compared as they are, printed as signed and hexadecimal. */
#define CHECK_EQ(a, b) CHECK_CMP_(a, ==, b, #a " == " #b)
#define CHECK_NE(a, b) CHECK_CMP_(a, !=, b, #a " != " #b)
#define CHECK_LT(a, b) CHECK_CMP_(a, <, b, #a " < " #b)
#define CHECK_LE(a, b) CHECK_CMP_(a, <=, b, #a " <= " #b)
#define CHECK_GT(a, b) CHECK_CMP_(a, >, b, #a " > " #b)
#define CHECK_GE(a, b) CHECK_CMP_(a, >=, b, #a " >= " #b)

#define CHECK_STR(a, b)                                                              \
  do {                                                                               \
    const char *check_a_ = (a), *check_b_ = (b);                                     \
    check_here(__FILE__, __LINE__);                                                  \
    if (!check_a_ || !check_b_ || strcmp(check_a_, check_b_) != 0)                   \
      check_fail_msg(__FILE__, __LINE__, #a " == " #b, "\"%s\" and \"%s\"",          \
                     check_a_ ? check_a_ : "(null)", check_b_ ? check_b_ : "(null)"); \
  } while (0)

#define CHECK_MEM(a, b, size)                                             \
  do {                                                                    \
    check_here(__FILE__, __LINE__);                                       \
    check_mem(__FILE__, __LINE__, #a " == " #b, (a), (b), (size_t)(size)); \
  } while (0)

/* A function to run when the watchdog ends this test: print the state that explains a hang. */
void check_on_hang(void (*dump)(void *arg), void *arg);

/* Waits until cond(arg) is true, yielding between looks; the watchdog is the limit. */
void check_until(int (*cond)(void *arg), void *arg);

/* A child process running fn(arg); it exits 0 when fn returns.  check_join expects exit code 0. */
int check_fork(void (*fn)(void *arg), void *arg);
void check_join(int pid);

/* ---- private part -------------------------------------------------------------------------- */

typedef struct check_test {
  const char *name;
  void (*run)(void);
  unsigned limit; /* seconds; 0: the default */
  struct check_test *next;
} check_test;

#define CHECK_CMP_(a, op, b, text) \
  do { \
    __typeof__((a) + 0) check_a_ = (a); \
    __typeof__((b) + 0) check_b_ = (b); \
    check_here(__FILE__, __LINE__); \
    if (!CHECK_SAME_SIGN_(check_a_, op, check_b_)) \
      check_fail_msg(__FILE__, __LINE__, text,                                    \
                     "%" PRIdMAX " (%#" PRIxMAX ") and %" PRIdMAX " (%#" PRIxMAX ")", \
                     (intmax_t)check_a_, (uintmax_t)check_a_, (intmax_t)check_b_, \
                     (uintmax_t)check_b_); \
  } while (0)

/* Mixed signs: a negative number is below every unsigned one, whatever C's conversions say. */
#define CHECK_SAME_SIGN_(a, op, b) \
  (check_order((intmax_t)(a), (a) < 1 && (a) != 0, (intmax_t)(b), (b) < 1 && (b) != 0) op 0)

int check_order(intmax_t a, int a_negative, intmax_t b, int b_negative);
void check_register(check_test *test);
void check_here(const char *file, int line);
_Noreturn void check_fail(const char *file, int line, const char *expr);
__attribute__((format(printf, 4, 5))) _Noreturn void check_fail_msg(const char *file, int line,
                                                                   const char *expr,
                                                                   const char *format, ...);
void check_mem(const char *file, int line, const char *expr, const void *a, const void *b,
               size_t n);

#endif
