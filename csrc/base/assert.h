/* base/assert.h - checks in two tiers.
 * WR_CHECK stays in every build: it guards memory safety and ends the process with the place.
 * WR_ASSERT is for debug and hostile builds. */
#ifndef WR_BASE_ASSERT_H
#define WR_BASE_ASSERT_H

#define WR_LIKELY(x) __builtin_expect(!!(x), 1)
#define WR_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define WR_SHORT inline __attribute__((always_inline)) /* part of the short way, whoever calls it */
#define WR_RARE __attribute__((noinline, cold)) /* keep it out of the short way beside it */

_Noreturn void wr_check_failed(const char *what, const char *file, int line);

#define WR_CHECK(x) (WR_LIKELY(x) ? (void)0 : wr_check_failed(#x, __FILE__, __LINE__))
#if defined(WR_DEBUG) || defined(WR_HOSTILE)
#define WR_ASSERT(x) WR_CHECK(x)
#else
#define WR_ASSERT(x) ((void)sizeof(x))
#endif

#endif
