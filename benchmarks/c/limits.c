/* benchmarks/c/limits.c - what the machine itself allows, for comparison with an engine on it:
 * round trips between two processes (spinning, parked in a futex) and memcpy into warm pages
 * that another process maps as well.
 * flags: -pthread
 */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __SSE2__
#include <immintrin.h>
#endif

enum { ROUNDS_SPIN = 200000, ROUNDS_PARKED = 4000, ROUNDS_IDLE = 25, MAX_COPIERS = 16 };
enum { IDLE_US = 200000, COLD_REPEATS = 3 };
static const size_t MIB = 1024 * 1024;

typedef struct {
  _Alignas(64) _Atomic uint32_t ping;
  _Alignas(64) _Atomic uint32_t pong;
} mailbox;

typedef void (*waiter)(_Atomic uint32_t *word, uint32_t wanted);

static void *map_shared(size_t length) {
  void *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) bench_fail("mmap");
  return at;
}

static void pin(int cpu) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET((size_t)cpu, &one);
  if (sched_setaffinity(0, sizeof one, &one) != 0) bench_fail("sched_setaffinity");
}

/* The first `wanted` CPUs that this process may use; returns how many there are. */
static int allowed_cpus(const cpu_set_t *allowed, int *cpus, int wanted) {
  int found = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE && found < wanted; cpu++)
    if (CPU_ISSET((size_t)cpu, allowed)) cpus[found++] = cpu;
  return found;
}

static void wait_spinning(_Atomic uint32_t *word, uint32_t wanted) {
  while (atomic_load_explicit(word, memory_order_acquire) != wanted) {
#ifdef __SSE2__
    _mm_pause();
#endif
  }
}

static void wait_parked(_Atomic uint32_t *word, uint32_t wanted) {
  uint32_t seen;
  while ((seen = atomic_load_explicit(word, memory_order_acquire)) != wanted)
    syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0);
}

static void post(_Atomic uint32_t *word, uint32_t value, int wake) {
  atomic_store_explicit(word, value, memory_order_release);
  if (wake) syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* How the asked process and the asking one wait, and how long the latter sleeps before it asks. */
typedef struct {
  int rounds;
  waiter asked, asking;
  useconds_t idle_us;
} exchange;

static _Noreturn void answer_all(mailbox *box, const exchange *x, int cpu) {
  pin(cpu);
  for (int i = 1; i <= x->rounds; i++) {
    x->asked(&box->ping, (uint32_t)i);
    post(&box->pong, (uint32_t)i, x->asking == wait_parked);
  }
  _exit(0);
}

/* One line of output: the median round trip between a process on each of the two CPUs. */
static void round_trips(const char *name, const exchange *x, int here, int there) {
  int rounds = x->rounds;
  mailbox *box = map_shared(sizeof *box);
  int64_t *taken = malloc((size_t)rounds * sizeof *taken);
  if (!taken) bench_fail("malloc");
  pid_t child = fork();
  if (child < 0) bench_fail("fork");
  if (child == 0) answer_all(box, x, there);
  pin(here);
  for (int i = 1; i <= rounds; i++) {
    if (x->idle_us) usleep(x->idle_us);
    int64_t start = bench_now_ns();
    post(&box->ping, (uint32_t)i, x->asked == wait_parked);
    x->asking(&box->pong, (uint32_t)i);
    taken[i - 1] = bench_now_ns() - start;
  }
  waitpid(child, NULL, 0);
  bench_print(name, bench_percentile(taken, (size_t)rounds, 0.5), "ns");
  free(taken);
  munmap(box, sizeof *box);
}

static void copy_plain(char *to, const char *from, size_t length) { memcpy(to, from, length); }

/* Stores that bypass the caches: faster than memcpy for more than they hold. */
static void copy_streaming(char *to, const char *from, size_t length) {
#ifdef __AVX2__
  for (size_t at = 0; at + 128 <= length; at += 128) {
    const __m256i *source = (const __m256i *)(const void *)(from + at);
    __m256i *target = (__m256i *)(void *)(to + at);
    for (int i = 0; i < 4; i++) _mm256_stream_si256(target + i, _mm256_loadu_si256(source + i));
  }
  _mm_sfence();
#elif defined(__SSE2__)
  for (size_t at = 0; at + 64 <= length; at += 64) {
    const __m128i *source = (const __m128i *)(const void *)(from + at);
    __m128i *target = (__m128i *)(void *)(to + at);
    for (int i = 0; i < 4; i++) _mm_stream_si128(target + i, _mm_loadu_si128(source + i));
  }
  _mm_sfence();
#else
  memcpy(to, from, length);
#endif
}

static void copy_by_string(char *to, const char *from, size_t length) {
#ifdef __x86_64__
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(length) : : "memory");
#else
  memcpy(to, from, length);
#endif
}

typedef void (*copier)(char *to, const char *from, size_t length);

/* GB/s of copying `length` bytes `repeats` times, best of the ways: median of the repeats.
 * Lengths that take no longer than a look at the clock are copied several times between two. */
static double copy_rate(char *to, const char *from, size_t length, int repeats) {
  const copier ways[] = {copy_plain, copy_streaming, copy_by_string};
  double best = 0;
  size_t times = length < 64 * 1024 ? 64 * 1024 / length : 1;
  int64_t *taken = malloc((size_t)repeats * sizeof *taken);
  if (!taken) bench_fail("malloc");
  for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
    for (int i = 0; i < repeats; i++) {
      int64_t start = bench_now_ns();
      for (size_t copy = 0; copy < times; copy++) {
        ways[way](to, from, length);
        BENCH_KEEP(to);
      }
      taken[i] = bench_now_ns() - start;
    }
    double rate = (double)(length * times) / bench_percentile(taken, (size_t)repeats, 0.5);
    if (rate > best) best = rate;
  }
  free(taken);
  return best;
}

/* Unwritten memory reads as the shared zero page, which stays in the caches. */
static char *map_source(size_t length, int written) {
  char *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) bench_fail("mmap");
  madvise(at, length, written ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  if (written) memset(at, 7, length);
  return at;
}

static void copies_by_size(void) {
  const struct {
    const char *name;
    size_t length;
    int repeats;
  } sizes[] = {{"copy_1kib", 1024, 2000},
               {"copy_64kib", 64 * 1024, 2000},
               {"copy_100kib", 100 * 1024, 2000},
               {"copy_1mib", MIB, 300},
               {"copy_16mib", 16 * MIB, 25},
               {"copy_100mib", 100 * MIB, 9}};
  size_t most = 100 * MIB;
  char *to = map_shared(most), *from = map_source(most, 1);
  memset(to, 1, most);
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    bench_print(sizes[i].name, copy_rate(to, from, sizes[i].length, sizes[i].repeats), "GB/s");
  munmap(from, most);
  from = map_source(most, 0);
  bench_print("copy_zero", copy_rate(to, from, most, 9), "GB/s");
  munmap(from, most);
  munmap(to, most);
}

typedef struct {
  _Atomic uint32_t ready, go;
} gate;

static _Noreturn void copy_as_child(gate *g, char *to, size_t length, int repeats, int cpu) {
  pin(cpu);
  const char *from = map_source(length, 0);
  copy_streaming(to, from, length);
  atomic_fetch_add(&g->ready, 1);
  wait_spinning(&g->go, 1);
  for (int i = 0; i < repeats; i++) copy_streaming(to, from, length);
  _exit(0);
}

/* GB/s of all processes together, one on each CPU, each from zero pages to pages of its own. */
static double copy_on_all(const int *cpus, int count) {
  const size_t length = 80 * MIB;
  const int repeats = 10;
  gate *g = map_shared(sizeof *g);
  char *to = map_shared(length * (size_t)count);
  memset(to, 1, length * (size_t)count);
  for (int i = 0; i < count; i++) {
    pid_t child = fork();
    if (child < 0) bench_fail("fork");
    if (child == 0) copy_as_child(g, to + length * (size_t)i, length, repeats, cpus[i]);
  }
  while (atomic_load(&g->ready) < (uint32_t)count) usleep(1000);
  int64_t start = bench_now_ns();
  atomic_store(&g->go, 1);
  while (wait(NULL) > 0 || errno == EINTR) continue;
  double taken = (double)(bench_now_ns() - start);
  munmap(to, length * (size_t)count);
  munmap(g, sizeof *g);
  return (double)length * repeats * count / taken;
}

enum { BY_FAULTS, AFTER_POPULATE, BY_WRITE, COLD_WAYS };

static void copy_cold(int way, int file, char *to, const char *from, size_t length) {
  size_t done = 0;
  ssize_t n;
  if (way == BY_WRITE)
    while (done < length && (n = pwrite(file, from + done, length - done, (off_t)done)) > 0)
      done += (size_t)n;
#ifdef MADV_POPULATE_WRITE
  if (way == AFTER_POPULATE) madvise(to, length, MADV_POPULATE_WRITE);
#endif
  if (done < length) (way == BY_FAULTS ? copy_plain : copy_streaming)(to, from, length);
  BENCH_KEEP(to);
}

/* One line of output: GB/s into shared pages that were never used, best of the ways and of the
 * repeats.  A large length has a rate of its own: the kernel, and the host of a virtual machine,
 * have fewer pages at hand.  Nothing where memory is short. */
static void cold_copy(const char *name, size_t length, int repeats, int written) {
  if ((size_t)sysconf(_SC_AVPHYS_PAGES) < 3 * length / (size_t)sysconf(_SC_PAGESIZE)) return;
  char *from = map_source(length, written);
  int64_t best = INT64_MAX;
  for (int i = 0; i < COLD_WAYS * repeats; i++) {
    int file = memfd_create("cold", 0);
    if (file < 0 || ftruncate(file, (off_t)length) != 0) bench_fail("memfd_create");
    char *to = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (to == MAP_FAILED) bench_fail("mmap");
    int64_t start = bench_now_ns();
    copy_cold(i % COLD_WAYS, file, to, from, length);
    int64_t taken = bench_now_ns() - start;
    if (taken < best) best = taken;
    munmap(to, length);
    close(file);
  }
  bench_print(name, (double)length / (double)best, "GB/s");
  munmap(from, length);
}

int main(void) {
  int cpus[MAX_COPIERS];
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) bench_fail("sched_getaffinity");
  int count = allowed_cpus(&allowed, cpus, MAX_COPIERS);
  exchange spinning = {ROUNDS_SPIN, wait_spinning, wait_spinning, 0};
  exchange parked = {ROUNDS_PARKED, wait_parked, wait_parked, 0};
  exchange idle = {ROUNDS_IDLE, wait_parked, wait_spinning, IDLE_US};
  if (count >= 2) {
    round_trips("round_trip_spinning", &spinning, cpus[0], cpus[1]);
    round_trips("round_trip_parked", &parked, cpus[0], cpus[1]);
    round_trips("round_trip_idle", &idle, cpus[0], cpus[1]);
  }
  round_trips("round_trip_one_core", &parked, cpus[0], cpus[0]);
  sched_setaffinity(0, sizeof allowed, &allowed);
  copies_by_size();
  cold_copy("copy_cold", 100 * MIB, COLD_REPEATS, 1);
  cold_copy("copy_cold_1gib", 1024 * MIB, 1, 1);
  cold_copy("copy_zero_cold", 100 * MIB, COLD_REPEATS, 0);
  cold_copy("copy_zero_cold_1gib", 1024 * MIB, 1, 0);
  bench_print("copy_zero_all_cores", copy_on_all(cpus, count), "GB/s");
  return 0;
}
