/* Values in files: what is written is what is read, and nothing else is taken for it. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/status.h"
#include "node/pieces.h"
#include "node/spill_io.h"
#include "os/files.h"

static char dir[64];
static const uint8_t session[16] = "one session of x";
static uint8_t data[3][20u << 20];

static void open_dir(void) {
  snprintf(dir, sizeof dir, "/tmp/whipray-test-XXXXXX");
  CHECK(mkdtemp(dir));
  for (size_t k = 0; k < 3; k++)
    for (size_t i = 0; i < sizeof data[k]; i++) data[k][i] = (uint8_t)(i * 7 + i / 4096 + k);
}

static int exists(const char *path) { return access(path, F_OK) == 0; }

static void flip_byte(const char *path, uint64_t at) {
  uint8_t b;
  int fd = open(path, O_RDWR);
  CHECK_EQ(pread(fd, &b, 1, (off_t)at), 1);
  b ^= 16;
  CHECK_EQ(pwrite(fd, &b, 1, (off_t)at), 1);
  close(fd);
}

static const uint64_t lengths[3] = {1024, 1000001, 20u << 20};

static void values(node_spilled v[3]) {
  for (uint32_t k = 0; k < 3; k++)
    v[k] = (node_spilled){.idx = 10 + k, .gen = 5, .data = data[k], .len = lengths[k]};
}

TEST(several_values_in_one_file) {
  open_dir();
  char path[96];
  wr_a32 steps = 0;
  node_spill_ctx cx = {session, &steps, NULL};
  node_spilled v[3];
  int error = -1;
  values(v);
  snprintf(path, sizeof path, "%s/1", dir);
  CHECK_EQ(node_spill_write(&cx, path, v, 3, &error), WR_OK);
  CHECK_EQ(error, 0);
  CHECK_GT(wr_load32(&steps), 3);
  uint8_t *back = malloc(20u << 20);
  for (int k = 2; k >= 0; k--) {
    CHECK_EQ(v[k].at % 64, 0);
    memset(back, 0, v[k].len);
    CHECK_EQ(node_spill_read(&cx, path, &v[k], back), WR_OK);
    CHECK_EQ(memcmp(back, data[k], v[k].len), 0);
  }
  node_spilled other = v[1];
  other.gen = 6;
  CHECK_EQ(node_spill_read(&cx, path, &other, back), WR_LOST);
  node_spill_ctx another = {(const uint8_t *)"another session!", NULL, NULL};
  CHECK_EQ(node_spill_read(&another, path, &v[1], back), WR_LOST);
  CHECK_EQ(node_spill_write(&cx, path, v, 3, &error), WR_IO); /* never over what is there */
  CHECK_EQ(error, EEXIST);
  for (int k = 0; k < 3; k++) { /* any byte of a value, the first and the last among them */
    for (int where = 0; where < 3; where++) {
      uint64_t at = v[k].at + 64 + (v[k].len - 1) * (uint64_t)where / 2;
      flip_byte(path, at);
      CHECK_EQ(node_spill_read(&cx, path, &v[k], back), WR_LOST);
      flip_byte(path, at);
      CHECK_EQ(node_spill_read(&cx, path, &v[k], back), WR_OK);
    }
  }
  CHECK_EQ(truncate(path, (off_t)(v[2].at + 64 + v[2].len - 1)), 0);
  CHECK_EQ(node_spill_read(&cx, path, &v[2], back), WR_LOST);
  CHECK_EQ(node_spill_read(&cx, path, &v[1], back), WR_OK);
  unlink(path);
  CHECK_EQ(node_spill_read(&cx, path, &v[1], back), WR_LOST);
  free(back);
  wr_os_remove_tree(dir);
}

TEST(a_write_that_fails_leaves_nothing) {
  open_dir();
  char path[96];
  wr_a32 stop = 1;
  node_spill_ctx cx = {session, NULL, &stop};
  node_spilled v[3];
  int error = 0;
  values(v);
  snprintf(path, sizeof path, "%s/1", dir);
  CHECK_EQ(node_spill_write(&cx, path, v, 3, &error), WR_CLOSED);
  CHECK(!exists(path));
  snprintf(path, sizeof path, "%s/not/there", dir);
  cx.stop = NULL;
  CHECK_EQ(node_spill_write(&cx, path, v, 3, &error), WR_IO);
  CHECK_EQ(error, ENOENT);
  wr_os_remove_tree(dir);
}

static int keep_gen(void *ctx, const node_piece *p) { return p->gen == *(uint32_t *)ctx; }

TEST(a_file_goes_with_its_last_value) {
  open_dir();
  node_pieces p = {.n = 0};
  char path[2][NODE_FILE_PATH];
  node_file *f[2];
  snprintf(p.dir, sizeof p.dir, "%s", dir);
  for (int k = 0; k < 2; k++) {
    f[k] = node_file_new(&p);
    node_file_path(&p, f[k], path[k]);
    close(wr_os_create_file(path[k]));
  }
  CHECK(strcmp(path[0], path[1]) != 0);
  for (uint32_t i = 1; i <= 200; i++) {
    node_piece piece = {i, 1 + i % 2, 0, 10, f[i % 2], NULL};
    CHECK_EQ(node_pieces_add(&p, &piece), WR_OK);
  }
  node_file_release(&p, f[0]);
  node_file_release(&p, f[1]);
  CHECK_EQ(p.bytes, 2000);
  CHECK(node_pieces_find(&p, 7, 2) && !node_pieces_find(&p, 7, 1) && !node_pieces_find(&p, 201, 1));
  node_piece again = {7, 3, 0, 5, f[1], NULL}; /* the record's next object */
  CHECK_EQ(node_pieces_add(&p, &again), WR_OK);
  CHECK(node_pieces_find(&p, 7, 3) && !node_pieces_find(&p, 7, 2));
  CHECK_EQ(p.bytes, 1995);
  uint32_t gen = 2;
  node_pieces_review(&p, keep_gen, &gen);
  CHECK_EQ(p.n, 99);
  CHECK(!exists(path[0]) && exists(path[1]));
  f[1]->users++; /* somebody reads it */
  gen = 9;
  node_pieces_review(&p, keep_gen, &gen);
  CHECK_EQ(p.n, 0);
  CHECK(exists(path[1]));
  node_file_release(&p, f[1]);
  CHECK(!exists(path[1]));
  CHECK_EQ(p.nfiles, 0);
  CHECK_EQ(p.bytes, 0);
  node_pieces_free(&p);
  wr_os_remove_tree(dir);
}
