// Vectors that are not full, as at the end of a pixel's channels.
#pragma once
#include "vectors.h"

// The first `count` lanes, in pieces of a power of two; the others are zeros, or left alone.
INLINE V load_some(const float *p, int count) {
    if (count == L) return load(p);
    float part[L] = {}, *to = part;
#pragma GCC unroll 4
    for (int n = L / 2; n; n /= 2)
        if (count & n) {
            std::memcpy(to, p, n * sizeof *p);
            p += n, to += n;
        }
    return load(part);
}

INLINE void store_some(float *p, V v, int count) {
    if (count == L) return store(p, v);
    float part[L], *from = part;
    store(part, v);
#pragma GCC unroll 4
    for (int n = L / 2; n; n /= 2)
        if (count & n) {
            std::memcpy(p, from, n * sizeof *p);
            p += n, from += n;
        }
}
