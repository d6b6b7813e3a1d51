/* wire/copy_shared.h - large copies that other cores take a part in. */
#ifndef WR_WIRE_COPY_SHARED_H
#define WR_WIRE_COPY_SHARED_H

#include <stddef.h>
#include <stdint.h>

#define WR_COPY_PIECE ((size_t)512 << 10)

typedef void wr_copy_way(uint8_t *dst, const uint8_t *src, size_t n);

/* Copies n bytes by `way`, piece after piece, in this thread and, from a size on, in some that are
 * started for it.  All is copied on return, and seen, with what this thread has stored before, by
 * whoever sees what it does next. */
void wr_copy_shared(wr_copy_way *way, uint8_t *dst, const uint8_t *src, size_t n);

#endif
