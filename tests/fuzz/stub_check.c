/* The checks of tests/c/check.h for programs that are not run by check.c: a failure aborts. */
#include <stdarg.h>
#include <stdlib.h>

#include "../c/check.h"

void check_here(const char *file, int line) { (void)file, (void)line; }

void check_fail(const char *file, int line, const char *expr) {
  fprintf(stderr, "%s:%d: failed: %s\n", file, line, expr);
  abort();
}

void check_fail_msg(const char *file, int line, const char *expr, const char *format, ...) {
  va_list ap;
  va_start(ap, format);
  fprintf(stderr, "%s:%d: failed: %s: ", file, line, expr);
  vfprintf(stderr, format, ap);
  fputc('\n', stderr);
  va_end(ap);
  abort();
}

int check_order(intmax_t a, int a_negative, intmax_t b, int b_negative) {
  if (a_negative != b_negative) return a_negative ? -1 : 1;
  if (a_negative) return (a > b) - (a < b);
  return ((uintmax_t)a > (uintmax_t)b) - ((uintmax_t)a < (uintmax_t)b);
}
