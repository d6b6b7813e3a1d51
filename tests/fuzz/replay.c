/* Runs a fuzz target without a fuzzing engine.
 * usage: fuzz_<topic> [--random N] [--seed S] file-or-directory...
 * Every file once; then N inputs, each made from one of them by a few random changes.  The input
 * that crashed or hung is left in /tmp/fuzz_<topic>-<pid>.last. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

enum { INPUT_SIZE = 4096, MAX_FILES = 4096, LIMIT_S = 60 };

static struct {
  uint8_t *data;
  size_t len;
} files[MAX_FILES];
static size_t nfiles;
static uint64_t state = 1;
static int last; /* file with the input that runs */

static uint64_t next(void) { /* xorshift64* */
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * UINT64_C(0x2545F4914F6CDD1D);
}

static void load(const char *path) {
  FILE *f = fopen(path, "rb");
  if (!f || nfiles == MAX_FILES) {
    perror(path);
    exit(2);
  }
  files[nfiles].data = malloc(INPUT_SIZE);
  files[nfiles].len = fread(files[nfiles].data, 1, INPUT_SIZE, f);
  fclose(f);
  nfiles++;
}

static void load_all(const char *path) {
  struct stat st;
  if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode)) {
    load(path);
    return;
  }
  struct dirent **names;
  int n = scandir(path, &names, NULL, alphasort);
  if (n < 0) {
    perror(path);
    exit(2);
  }
  for (int i = 0; i < n; i++) {
    char name[1024];
    snprintf(name, sizeof name, "%s/%s", path, names[i]->d_name);
    if (names[i]->d_name[0] != '.') load(name);
    free(names[i]);
  }
  free(names);
}

static size_t make(uint8_t *to) {
  size_t n = 0;
  if (nfiles && next() % 8) {
    size_t k = next() % nfiles;
    n = files[k].len;
    memcpy(to, files[k].data, n);
  }
  for (uint64_t changes = 1 + next() % 12; changes; changes--) {
    size_t at = n ? next() % n : 0, len = 1 + next() % 16;
    switch (next() % 4) {
      case 0:
        if (n) to[at] = (uint8_t)next();
        break;
      case 1:
        if (n) to[at] ^= (uint8_t)(1u << next() % 8);
        break;
      case 2: /* cut */
        if (len > n - at) len = n - at;
        memmove(to + at, to + at + len, n - at - len);
        n -= len;
        break;
      default: /* insert */
        if (n + len > INPUT_SIZE) break;
        memmove(to + at + len, to + at, n - at);
        for (size_t i = 0; i < len; i++) to[at + i] = (uint8_t)next();
        n += len;
    }
  }
  return n;
}

/* So that a crash leaves what caused it. */
static void run(const uint8_t *data, size_t n) {
  if (pwrite(last, data, n, 0) != (ssize_t)n || ftruncate(last, (off_t)n) != 0) exit(2);
  alarm(LIMIT_S);
  (void)LLVMFuzzerTestOneInput(data, n);
  alarm(0);
}

int main(int argc, char **argv) {
  unsigned long random = 0;
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--random") == 0 && i + 1 < argc)
      random = strtoul(argv[++i], NULL, 10);
    else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
      state = strtoull(argv[++i], NULL, 10) | 1;
    else
      load_all(argv[i]);
  }
  const char *name = strrchr(argv[0], '/');
  char path[256];
  snprintf(path, sizeof path, "/tmp/%s-%d.last", name ? name + 1 : argv[0], (int)getpid());
  last = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  for (size_t i = 0; i < nfiles; i++) run(files[i].data, files[i].len);
  for (unsigned long i = 0; i < random; i++) {
    uint8_t input[INPUT_SIZE];
    size_t n = make(input);
    run(input, n);
  }
  remove(path);
  for (size_t i = 0; i < nfiles; i++) free(files[i].data);
  printf("%s: %zu files, %lu inputs made from them\n", name ? name + 1 : argv[0], nfiles, random);
  return 0;
}
