#include "node/spill_io.h"

#include <errno.h>
#include <string.h>

#include "base/status.h"
#include "os/files.h"
#include "os/os.h"

#define PIECE (UINT64_C(8) << 20) /* as much is written or read at once */
#define HEAD_MAGIC UINT64_C(0x6c6c697073727777)

typedef struct {
  uint64_t magic, len, sum;
  uint32_t idx, gen;
  uint8_t session[16];
  uint8_t pad[16];
} head;
_Static_assert(sizeof(head) == 64, "values in a file are aligned to 64 bytes");

/* Not against malice, which the directory's mode keeps out: against disks, and truncation. */
static uint64_t add_to_sum(uint64_t sum, const uint8_t *p, uint64_t n) {
  uint64_t lane[4] = {sum, ~sum, sum << 1, sum >> 1}, w[4];
  for (; n >= sizeof w; n -= sizeof w, p += sizeof w) {
    memcpy(w, p, sizeof w);
    for (int i = 0; i < 4; i++) {
      lane[i] = (lane[i] ^ w[i]) * UINT64_C(0x9E3779B97F4A7C15);
      lane[i] ^= lane[i] >> 29;
    }
  }
  for (; n; n--, p++) lane[0] = (lane[0] ^ *p) * UINT64_C(0x100000001B3);
  uint64_t all = lane[0];
  for (int i = 1; i < 4; i++) all = (all ^ lane[i]) * UINT64_C(0x9E3779B97F4A7C15) + (all >> 31);
  return all;
}

static head head_of(const node_spill_ctx *cx, const node_spilled *v) {
  head h = {.magic = HEAD_MAGIC, .len = v->len, .idx = v->idx, .gen = v->gen};
  memcpy(h.session, cx->session, sizeof h.session);
  return h;
}

static int stopped(const node_spill_ctx *cx) {
  if (cx->steps) atomic_fetch_add(cx->steps, 1);
  return cx->stop && wr_load32(cx->stop);
}

static int write_one(const node_spill_ctx *cx, int fd, const node_spilled *v) {
  head h = head_of(cx, v);
  int rc = WR_OK;
  for (uint64_t done = 0; done < v->len && rc == WR_OK; done += PIECE) {
    uint64_t n = v->len - done < PIECE ? v->len - done : PIECE;
    h.sum = add_to_sum(h.sum, v->data + done, n);
    rc = wr_os_write_at(fd, v->data + done, n, v->at + sizeof h + done);
    if (stopped(cx)) rc = WR_CLOSED;
  }
  return rc == WR_OK ? wr_os_write_at(fd, &h, sizeof h, v->at) : rc;
}

int node_spill_write(const node_spill_ctx *cx, const char *path, node_spilled *v, size_t n,
                     int *error) {
  int fd = wr_os_create_file(path), rc = fd < 0 ? fd : WR_OK;
  uint64_t at = 0;
  for (size_t i = 0; i < n && rc == WR_OK; i++) {
    v[i].at = at;
    rc = write_one(cx, fd, &v[i]);
    at += sizeof(head) + (v[i].len + 63) / 64 * 64;
  }
  *error = rc == WR_OK ? 0 : errno;
  wr_os_close(fd);
  if (rc != WR_OK && fd >= 0) wr_os_remove_file(path);
  return rc;
}

/* What a status of os/files.h says about the value. */
static int verdict(int rc) {
  if (rc >= 0) return WR_OK;
  return rc == WR_IO && wr_os_error_passes(errno) ? WR_IO : WR_LOST;
}

int node_spill_read(const node_spill_ctx *cx, const char *path, const node_spilled *v,
                    uint8_t *dst) {
  head want = head_of(cx, v), h;
  int fd = wr_os_open_file(path), rc = verdict(fd);
  if (rc == WR_OK) rc = verdict(wr_os_read_at(fd, &h, sizeof h, v->at));
  if (rc == WR_OK) {
    want.sum = h.sum;
    if (memcmp(&want, &h, sizeof h) != 0) rc = WR_LOST;
  }
  uint64_t sum = 0;
  for (uint64_t done = 0; done < v->len && rc == WR_OK; done += PIECE) {
    uint64_t n = v->len - done < PIECE ? v->len - done : PIECE;
    rc = verdict(wr_os_read_at(fd, dst + done, n, v->at + sizeof h + done));
    if (rc == WR_OK) sum = add_to_sum(sum, dst + done, n);
    if (stopped(cx)) rc = WR_CLOSED;
  }
  if (rc == WR_OK && sum != h.sum) rc = WR_LOST;
  wr_os_close(fd);
  return rc;
}
