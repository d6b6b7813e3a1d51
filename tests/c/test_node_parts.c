/* Parts of the daemon that need no loop: worker counts, lines of output, the table, jobs. */
#include "check.h"

#include "base/status.h"
#include "node/config.h"
#include "node/lines.h"
#include "node/node.h"
#include "node/pool_policy.h"
#include "node/table.h"

TEST(a_pool_is_kept_stocked) {
  node_pool_counts c = {.keep = 4, .cpus = 4};
  CHECK_EQ(node_pool_to_start(&c), 4);
  c.starting = 4;
  CHECK_EQ(node_pool_to_start(&c), 0);
  c = (node_pool_counts){.keep = 4, .cpus = 4, .idle = 2, .busy = 2};
  CHECK_EQ(node_pool_to_start(&c), 0);
  c.busy = 1;
  c.blocked = 1; /* a blocked worker is replaced */
  CHECK_EQ(node_pool_to_start(&c), 1);
}

TEST(tasks_that_could_run_start_workers) {
  node_pool_counts c = {.keep = 2, .cpus = 2, .busy = 2, .runnable = 3};
  CHECK_EQ(node_pool_to_start(&c), 3);
  c.runnable = 100; /* not all at once */
  CHECK_EQ(node_pool_to_start(&c), 4);
  c.starting = 4;
  CHECK_EQ(node_pool_to_start(&c), 0);
  c = (node_pool_counts){.keep = 2, .cpus = 2, .idle = 3, .runnable = 2};
  CHECK_EQ(node_pool_to_start(&c), 0);
  c = (node_pool_counts){.cpus = 2, .busy = NODE_POOL_MAX_BUSY, .runnable = 9};
  CHECK_EQ(node_pool_to_start(&c), 0);
}

TEST(idle_surplus_retires) {
  node_pool_counts c = {.keep = 2, .cpus = 2, .idle = 5, .busy = 1};
  CHECK_EQ(node_pool_to_retire(&c), 4);
  c.runnable = 1;
  CHECK_EQ(node_pool_to_retire(&c), 0);
  c = (node_pool_counts){.keep = 2, .cpus = 2, .idle = 1, .busy = 5};
  CHECK_EQ(node_pool_to_retire(&c), 1);
}

static char seen[4096];

static void note(void *arg, const char *name, const char *text, size_t len) {
  (void)arg;
  size_t n = strlen(seen);
  snprintf(seen + n, sizeof seen - n, "<%s>%.*s", name, (int)len, text);
}

/* The result does not depend on how the bytes are cut. */
TEST(lines_are_cut_anywhere) {
  static const char text[] = "one\ntwo\n\x01wr:name=Actor\nthree\n\n\x01wr:name=\nfour";
  size_t len = sizeof text - 1;
  for (size_t a = 0; a <= len; a++)
    for (size_t b = a; b <= len; b++) {
      node_lines l = {0};
      char flat[4096];
      seen[0] = 0;
      node_lines_feed(&l, text, a, note, NULL);
      node_lines_feed(&l, text + a, b - a, note, NULL);
      node_lines_feed(&l, text + b, len - b, note, NULL);
      node_lines_flush(&l, note, NULL);
      size_t n = 0; /* runs of one name may come in pieces */
      for (const char *p = seen, *last = NULL; *p; p++) {
        if (*p == '<') {
          const char *end = strchr(p, '>');
          size_t tag = (size_t)(end - p) + 1;
          if (!last || strncmp(last, p, tag) != 0) {
            memcpy(flat + n, p, tag);
            n += tag;
          }
          last = p;
          p = end;
        } else {
          flat[n++] = *p;
        }
      }
      flat[n] = 0;
      CHECK_STR(flat, "<>one\ntwo\n<Actor>three\n\n<>four\n");
      node_lines_free(&l);
    }
}

TEST(a_line_without_end_is_not_kept_for_ever) {
  static char block[1000];
  node_lines l = {0};
  memset(block, 'y', sizeof block);
  for (int i = 0; i < 1000; i++) {
    seen[0] = 0;
    node_lines_feed(&l, block, sizeof block, note, NULL);
    CHECK_LE(l.held_len, NODE_LINE_MAX + sizeof block);
  }
  node_lines_free(&l);
}

static int keep_odd(node_entry *e, void *arg) {
  (void)arg;
  return e->value.p[0] % 2 == 0;
}

TEST(the_table_holds_what_was_put) {
  node_table t = {.seed = 5};
  char key[16];
  for (int i = 0; i < 1000; i++) {
    uint8_t value = (uint8_t)i;
    int n = snprintf(key, sizeof key, "k%d", i % 500);
    wr_bytes k = {(uint8_t *)key, (size_t)n}, v = {&value, 1};
    CHECK_EQ(node_table_put(&t, k, v), WR_OK);
  }
  CHECK_EQ(t.n, 500);
  for (int i = 0; i < 500; i++) {
    int n = snprintf(key, sizeof key, "k%d", i);
    node_entry *e = node_table_find(&t, (wr_bytes){(uint8_t *)key, (size_t)n});
    CHECK(e != NULL);
    CHECK_EQ(e->value.p[0], (uint8_t)(i + 500));
  }
  node_table_each(&t, keep_odd, NULL);
  CHECK_EQ(t.n, 250);
  CHECK_EQ(node_table_drop(&t, (wr_bytes){(const uint8_t *)"k1", 2}), 1);
  CHECK_EQ(node_table_drop(&t, (wr_bytes){(const uint8_t *)"k1", 2}), 0);
  node_table_free(&t);
  CHECK_EQ(t.bytes, 0);
}

TEST(a_configuration_is_checked) {
  static const struct {
    const char *bytes;
    size_t len;
    int rc;
  } cases[] = {
      {"\x80", 1, WR_OK},
      {"\x81\xa7unknown\x93\x01\x02\x03", 13, WR_OK},
      {"\x81\xa8num_cpus\xff", 11, WR_PROTO},                            /* -1 */
      {"\x81\xa3"
       "env\x81\xa3"
       "A=B\xa1x", 12, WR_PROTO},
      {"\x81\xa3"
       "env\x81\xa1"
       "A\xa1x", 10, WR_OK},
      {"\x81\xa6python\x05", 9, WR_PROTO},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    node_config cfg;
    const char *wrong;
    wr_cursor c = wr_cursor_of(cases[i].bytes, cases[i].len);
    CHECK_MSG(node_config_parse(&cfg, &c, &wrong) == cases[i].rc, "case %zu: %s", i, wrong);
    node_config_free(&cfg);
  }
}

/* Its last worker may die together with it, and come first in the list of the dead. */
TEST(a_driver_that_has_died_after_its_goodbye_is_left_to_its_sweep) {
  static node n;
  static node_job job = {.n = &n, .ended = 1, .detach_id = 7, .procs = 1};
  static node_proc driver = {.n = &n, .job = &job, .role = WR_ROLE_DRIVER, .slot = 3, .dead = 1};
  job.driver = n.procs[driver.slot] = &driver;
  node_job_worker_gone(&job);
  CHECK(job.driver == &driver);
  CHECK(n.procs[driver.slot] == &driver);
}
