/* Claims: all or nothing, exact, and shared by many processes. */
#include <stdlib.h>

#include "base/status.h"
#include "sched/ledger.h"
#include "session.h"

static session x;

static int32_t cpus(void) { return session_free_amount(&x, WR_RES_CPU); }
static int32_t gpus(void) { return session_free_amount(&x, 1); }

TEST(a_claim_takes_all_that_the_shape_needs) {
  session_open(&x, 4u << 20);
  wr_client *w = session_client(&x, WR_ROLE_WORKER);
  CHECK_EQ(wr_ledger_claim(&w->self, SHAPE_GPU), WR_OK);
  CHECK_EQ(cpus(), 7);
  CHECK_EQ(gpus(), 2);
  CHECK(wr_ledger_holds(&w->self, SHAPE_GPU));
  CHECK(!wr_ledger_holds(&w->self, SHAPE_CPU));
  wr_ledger_release(&w->self);
  wr_ledger_release(&w->self);
  session_check_empty(&x);
  session_close(&x);
}

TEST(a_claim_that_cannot_be_had_leaves_nothing) {
  session_open(&x, 4u << 20);
  wr_client *w[3];
  for (int i = 0; i < 3; i++) w[i] = session_client(&x, WR_ROLE_WORKER);
  CHECK_EQ(wr_ledger_claim(&w[0]->self, SHAPE_GPU), WR_OK);
  CHECK_EQ(wr_ledger_claim(&w[1]->self, SHAPE_GPU), WR_OK);
  CHECK(!wr_ledger_fits(&x.seg, SHAPE_GPU));
  CHECK_EQ(wr_ledger_claim(&w[2]->self, SHAPE_GPU), WR_AGAIN);
  CHECK_EQ(cpus(), 6);
  CHECK_EQ(wr_load(&w[2]->self.p->claim), 0);
  wr_ledger_release(&w[0]->self);
  wr_ledger_release(&w[1]->self);
  session_check_empty(&x);
  session_close(&x);
}

TEST(a_blocked_process_lends_its_cpu_and_takes_it_back) {
  session_open(&x, 4u << 20);
  wr_client *w = session_client(&x, WR_ROLE_WORKER), *other[SESSION_CPUS];
  CHECK_EQ(wr_ledger_claim(&w->self, SHAPE_GPU), WR_OK);
  wr_ledger_release_cpu(&w->self);
  CHECK_EQ(cpus(), 8);
  CHECK_EQ(gpus(), 2);
  for (uint32_t i = 0; i < SESSION_CPUS; i++) {
    other[i] = session_client(&x, WR_ROLE_WORKER);
    CHECK_EQ(wr_ledger_claim(&other[i]->self, SHAPE_CPU), WR_OK);
  }
  wr_ledger_retake_cpu(&w->self);
  CHECK_EQ(cpus(), -1); /* for a while */
  CHECK(wr_ledger_holds(&w->self, SHAPE_GPU));
  for (uint32_t i = 0; i < SESSION_CPUS; i++) wr_ledger_release(&other[i]->self);
  wr_ledger_release(&w->self);
  session_check_empty(&x);
  session_close(&x);
}

TEST(a_claim_of_a_cpu_alone_survives_lending_it) {
  session_open(&x, 4u << 20);
  wr_client *w = session_client(&x, WR_ROLE_WORKER);
  CHECK_EQ(wr_ledger_claim(&w->self, SHAPE_CPU), WR_OK);
  wr_ledger_release_cpu(&w->self);
  CHECK_EQ(cpus(), 8);
  wr_ledger_retake_cpu(&w->self);
  CHECK_EQ(cpus(), 7);
  wr_ledger_release(&w->self);
  session_check_empty(&x);
  session_close(&x);
}

static void claim_and_release(session *s, wr_client *c, void *arg) {
  uint32_t held = 0, n = *(const uint32_t *)arg;
  (void)s;
  for (uint32_t i = 0; held < n; i++) {
    if (wr_ledger_claim(&c->self, i % 2 ? SHAPE_GPU : SHAPE_CPU) != WR_OK) continue;
    CHECK_LE(session_free_amount(s, 1), (int32_t)SESSION_GPUS);
    held++;
    if (held < n || c->slot % 2) wr_ledger_release(&c->self);
  }
  exit(0); /* half of them with a claim in hand */
}

TEST(many_processes_claim_and_half_of_them_die_with_a_claim) {
  session_open(&x, 4u << 20);
  uint32_t slots[6], n = 2000;
  for (int i = 0; i < 6; i++) slots[i] = session_fork(&x, WR_ROLE_WORKER, claim_and_release, &n);
  for (int i = 0; i < 6; i++) CHECK_EQ(session_reap(&x, slots[i]), 0);
  CHECK_LT(cpus(), (int32_t)SESSION_CPUS);
  for (int i = 0; i < 6; i++) session_sweep(&x, slots[i]);
  session_check_empty(&x);
  session_close(&x);
}
