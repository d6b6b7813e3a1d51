#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void wr_check_failed(const char *what, const char *file, int line) {
  fprintf(stderr, "whipray: check failed: %s (%s:%d)\n", what, file, line);
  abort();
}
