/* SPDX-License-Identifier: Apache-2.0 */
/* compiler.h -- the GNU extensions that vq uses, by name. */
#ifndef VQ_BASE_COMPILER_H
#define VQ_BASE_COMPILER_H

#define VQ_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define VQ_LIKELY(x)         __builtin_expect(!!(x), 1)
#define VQ_UNLIKELY(x)       __builtin_expect(!!(x), 0)
#define VQ_UNUSED            __attribute__((unused))
#define VQ_PREFETCH(p)       __builtin_prefetch(p)
/* One pointer that threads share: whoever sees it sees what it points to. */
#define VQ_ATOMIC_LOAD(p)     __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define VQ_ATOMIC_STORE(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define VQ_ALIGNED(n)         __attribute__((aligned(n)))
#define VQ_COUNT(array)       (sizeof(array) / sizeof((array)[0]))
#define VQ_MIN(a, b)          ((a) < (b) ? (a) : (b))
#define VQ_MAX(a, b)          ((a) > (b) ? (a) : (b))

#endif
