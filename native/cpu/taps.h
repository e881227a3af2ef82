// Depth-wise layers: sums over the taps of one channel, in floats, on maps of floats or halves.
#pragma once
#include "vectors.h"

// Q outputs `Dilation` pixels apart share their inputs: each is loaded once a row.
template <int Size, int Dilation, int Q, class In, class Emit>
INLINE void taps(const In *const *rows, int ld, int z, int x, const float *w, int channels,
                 V bias, Emit emit) {
    V a[Q];
#pragma GCC unroll 16
    for (int i = 0; i < Q; i++) a[i] = bias;
#pragma GCC unroll 5
    for (int ky = 0; ky < Size; ky++) {
        const In *in = rows[ky] + ptrdiff_t(x - Dilation * (Size / 2)) * ld + z;
        V b[Size];
#pragma GCC unroll 5
        for (int kx = 0; kx < Size; kx++) b[kx] = load(w + (ky * Size + kx) * channels + z);
#pragma GCC unroll 16
        for (int i = 0; i < Q + Size - 1; i++) {
            const V v = load(in + ptrdiff_t(i) * Dilation * ld);
#pragma GCC unroll 5
            for (int kx = 0; kx < Size; kx++)
                if (i - kx >= 0 && i - kx < Q) a[i - kx] += v * b[kx];
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < Q; i++) emit(x + i * Dilation, z, a[i]);
}

// Q x Dilation pixels from x on. All their channels before the next pixels: a cache line holds
// several vectors of a pixel, and is fetched once.
template <int Size, int Dilation, int Q, class In, class Emit>
INLINE void group(const In *const *rows, int ld, const float *weight, const float *bias,
                  int channels, int x, Emit emit) {
    for (int z = 0; z < channels; z += L)
        for (int phase = 0; phase < (Q > 1 ? Dilation : 1); phase++)
            taps<Size, Dilation, Q>(rows, ld, z, x + phase, weight, channels, load(bias + z), emit);
}

// `emit(pixel, channel, value)` for pixels [from, from + pixels) of a Size x Size layer.
template <int Size, int Dilation, class In, class Emit>
INLINE void depthwise(const In *const *rows, int ld, const float *weight, const float *bias,
                      int channels, int from, int pixels, Emit emit) {
    int x = from;
    const int end = from + pixels;
    for (; x + 8 * Dilation <= end; x += 8 * Dilation)
        group<Size, Dilation, 8>(rows, ld, weight, bias, channels, x, emit);
    for (; x + 4 * Dilation <= end; x += 4 * Dilation)
        group<Size, Dilation, 4>(rows, ld, weight, bias, channels, x, emit);
    for (; x < end; x++) group<Size, Dilation, 1>(rows, ld, weight, bias, channels, x, emit);
}
