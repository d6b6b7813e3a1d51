/* Growable arrays and the map from 32-bit keys. */
#include "check.h"

#include "base/mem.h"
#include "base/status.h"
#include "base/vec.h"

TEST(arrays_keep_what_was_pushed) {
  wr_vec32 a = {0};
  wr_vec64 b = {0};
  for (uint32_t i = 0; i < 5000; i++) {
    CHECK_EQ(wr_vec32_push(&a, i * 7), WR_OK);
    CHECK_EQ(wr_vec64_push(&b, (uint64_t)i << 33), WR_OK);
  }
  CHECK(a.n == 5000 && b.n == 5000);
  for (uint32_t i = 0; i < 5000; i++) CHECK(a.v[i] == i * 7 && b.v[i] == (uint64_t)i << 33);
  wr_vec32_free(&a);
  wr_vec64_free(&b);
  CHECK(!a.v && !a.n && !a.cap && !b.v && !b.n && !b.cap);
}

TEST(arrays_grow_to_what_is_wanted) {
  wr_vec32 a = {0};
  CHECK_EQ(wr_vec32_grow(&a, 1000), WR_OK);
  CHECK_GE(a.cap, 1000);
  uint32_t cap = a.cap;
  CHECK_EQ(wr_vec32_grow(&a, 10), WR_OK);
  CHECK_EQ(a.cap, cap);
  CHECK_EQ(a.n, 0);
  wr_vec32_free(&a);
}

TEST(a_refused_array_stays_as_it_was) {
  wr_vec32 a = {0};
  wr_vec64 b = {0};
  do {
    CHECK_EQ(wr_vec32_push(&a, a.n), WR_OK);
    CHECK_EQ(wr_vec64_push(&b, b.n), WR_OK);
  } while (a.n < a.cap);
  uint32_t n = a.n;
  wr_mem_fail_at(1, 1);
  CHECK_EQ(wr_vec32_push(&a, 1), WR_NOMEM);
  CHECK_EQ(wr_vec64_push(&b, 1), WR_NOMEM);
  wr_mem_fail_at(0, 0);
  CHECK(a.n == n && b.n == n);
  for (uint32_t i = 0; i < n; i++) CHECK(a.v[i] == i && b.v[i] == i);
  CHECK_EQ(wr_vec32_push(&a, n), WR_OK);
  wr_vec32_free(&a);
  wr_vec64_free(&b);
}

typedef struct {
  uint64_t a;
  uint32_t b;
} pair;

TEST(arrays_of_structures_have_room_for_one_more) {
  pair *all = NULL;
  uint32_t cap = 0, n = 0;
  do {
    pair *v = wr_vec_room(all, n, &cap, sizeof *v);
    CHECK(v != NULL && n < cap);
    all = v;
    all[n] = (pair){n, n};
  } while (++n < 1000 || n < cap);
  wr_mem_fail_at(1, 1);
  CHECK(wr_vec_room(all, n, &cap, sizeof *all) == NULL);
  CHECK(wr_vec_room(all, n - 1, &cap, sizeof *all) == all);
  wr_mem_fail_at(0, 0);
  CHECK_EQ(cap, n);
  for (uint32_t i = 0; i < n; i++) CHECK(all[i].a == i && all[i].b == i);
  wr_free(all);
}

enum { KEYS = 600 };

/* Keys that crowd: neighbours, and many that share a home in every small table. */
static uint32_t key_of(uint32_t i) { return i < KEYS / 2 ? i + 1 : (i + 1) << 12; }

static void compare(const wr_map32 *m, const uint32_t *model) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < KEYS; i++) {
    const uint32_t *v = wr_map32_get(m, key_of(i));
    CHECK_EQ(v ? *v : 0, model[i]);
    n += model[i] != 0;
  }
  CHECK_EQ(m->n, n);
}

TEST(map_agrees_with_a_plain_table) {
  uint32_t model[KEYS] = {0}, seed = 12345;
  wr_map32 m = {0};
  CHECK(wr_map32_get(&m, 1) == NULL);
  wr_map32_del(&m, 1);
  for (uint32_t round = 0; round < 200000; round++) {
    seed = seed * 1664525 + 1013904223;
    uint32_t i = (seed >> 8) % KEYS;
    if (seed >> 31) {
      CHECK_EQ(wr_map32_put(&m, key_of(i), round + 1), WR_OK);
      model[i] = round + 1;
    } else {
      wr_map32_del(&m, key_of(i));
      model[i] = 0;
    }
    if (round % 1000 == 0) compare(&m, model);
  }
  compare(&m, model);
  for (uint32_t i = 0; i < KEYS; i++) wr_map32_del(&m, key_of(i));
  CHECK_EQ(m.n, 0);
  wr_map32_free(&m);
  CHECK(!m.key && !m.val && !m.cap);
}

TEST(a_refused_map_stays_as_it_was) {
  for (int persistent = 0; persistent < 2; persistent++)
    for (long n = 1;; n++) {
      uint32_t model[KEYS] = {0};
      wr_map32 m = {0};
      wr_mem_fail_at(n, persistent);
      for (uint32_t i = 0; i < KEYS; i++) {
        int rc = wr_map32_put(&m, key_of(i), i + 1);
        CHECK(rc == WR_OK || rc == WR_NOMEM);
        if (rc == WR_OK) model[i] = i + 1;
      }
      long refused = wr_mem_failures();
      wr_mem_fail_at(0, 0);
      CHECK(refused == 0 || m.n < KEYS);
      compare(&m, model);
      wr_map32_free(&m);
      if (!refused) break;
    }
}
