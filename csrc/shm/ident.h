/* shm/ident.h - ids as programs see them: in bytes, and as text in errors.
 * Any process, any thread; nothing here touches shared memory.
 *
 * Of an object: session[0:4] under a mask | session[4:8] | node | idx | gen | job | number of the
 * return, words little endian.  Its first 24 bytes are the id of the task.  Of an actor:
 * session[0:4] under the mask | job | idx | gen.  The mask follows from idx and gen, so that ids
 * which somebody has cut to their first digits still differ. */
#ifndef WR_SHM_IDENT_H
#define WR_SHM_IDENT_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static inline uint32_t wr_ident_mask(uint32_t idx, uint32_t gen) {
  uint32_t x = idx * 0x9e3779b1u ^ (gen + 1) * 0x85ebca77u;
  x = (x ^ x >> 15) * 0x2c1b3c6du;
  return x ^ x >> 13;
}

/* The first four bytes as they are printed. */
static inline uint32_t wr_ident_head(const uint8_t *session, uint32_t idx, uint32_t gen) {
  uint32_t head;
  memcpy(&head, session, sizeof head);
  return __builtin_bswap32(head ^ wr_ident_mask(idx, gen));
}

/* The id of a task: how many characters it has, as snprintf. */
static inline int wr_ident_put_task(char *to, size_t cap, const uint8_t *session, uint32_t idx,
                                    uint32_t gen) {
  return snprintf(to, cap, "%08x%02x%02x%02x%02x%08x%08x%08x%08x", wr_ident_head(session, idx, gen),
                  session[4], session[5], session[6], session[7], 0u, __builtin_bswap32(idx),
                  __builtin_bswap32(gen), __builtin_bswap32(1));
}

static inline int wr_ident_put_actor(char *to, size_t cap, const uint8_t *session, uint32_t idx,
                                     uint32_t gen) {
  return snprintf(to, cap, "%08x%08x%08x%08x", wr_ident_head(session, idx, gen),
                  __builtin_bswap32(1), __builtin_bswap32(idx), __builtin_bswap32(gen));
}

#endif
