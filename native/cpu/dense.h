// Dense layers: sums over all inputs, for some pixels at once. Maps are floats or halves, sums and
// biases floats.
#pragma once
#include <type_traits>

#include "vectors.h"

// How many inputs a lane of the weights is for: with LKDN_PAIRS two bfloat16 of an input and two of the
// weights are multiplied and added at once.
template <class In>
static constexpr int kAtOnce =
#ifdef LKDN_PAIRS
    std::is_same_v<In, bf16> ? 2 :
#endif
    1;

INLINE V spread(const float *in) { return splat(*in); }
INLINE V add_product(V sum, V in, V weight, const float *) { return sum + in * weight; }

#ifdef LKDN_PAIRS
INLINE V spread(const bf16 *in) {
    float pair;
    std::memcpy(&pair, in, sizeof pair);
    return splat(pair);
}

INLINE V add_product(V sum, V in, V weight, const bf16 *) {
#ifdef __AVX512BF16__
    return (V)_mm512_dpbf16_ps((__m512)sum, (__m512bh)in, (__m512bh)weight);
#else
    const Bits x = (Bits)in, w = (Bits)weight;
    return sum + (V)(x << 16) * (V)(w << 16) + (V)(x & 0xffff0000u) * (V)(w & 0xffff0000u);
#endif
}
#endif

// How many vectors of outputs the next strip has when `left` are left, and how many pixels go with
// them: as many accumulators as the registers hold, at least eight to hide a multiply-add's latency.
#if LKDN_LANES == 16
INLINE int strip_width(int left) { return left <= 4 ? left : left <= 6 ? 3 : 4; }
static constexpr int kPixels[] = {0, 12, 12, 8, 6};
#else
INLINE int strip_width(int left) { return left == 4 ? 2 : left < 3 ? left : 3; }
static constexpr int kPixels[] = {0, 12, 6, 4};
#endif
static constexpr int kWidest = sizeof kPixels / sizeof *kPixels - 1;

// How many pixels to make before their results go on, so that storing them and the next products
// overlap: those of one tile; of several strips more, as each turn reads all weights again.
INLINE int turn(int vectors) { return strip_width(vectors) == vectors ? kPixels[vectors] : 24; }

// A row that will be read soon. Dense layers leave memory idle, and fetch it to the second cache. It
// may begin or end outside its map: fetching what is not there does nothing.
struct Soon {
    const char *row = nullptr;
    size_t pixel = 0;  // in bytes
};

INLINE void fetch(const Soon &soon, int from, int pixels) {
    if (!soon.row) return;
    for (size_t at = from * soon.pixel; at < (from + pixels) * soon.pixel; at += 64)
        __builtin_prefetch(soon.row + at, 0, 2);
}

// A tile of P pixels and N vectors: y = (Add ? y : bias) + sum over the segments of x.
template <int N, int P, bool Add, class In, class Out>
INLINE void tile(const In *const *x, int segments, int inputs, int ldx, int p, const float *w,
                 const float *bias, Out *y, int ldy) {
    V a[P][N];
#pragma GCC unroll 16
    for (int i = 0; i < P; i++)
#pragma GCC unroll 4
        for (int n = 0; n < N; n++)
            a[i][n] = Add ? load(y + size_t(p + i) * ldy + n * L) : load(bias + n * L);
    for (int s = 0; s < segments; s++) {
        const In *in = x[s] + size_t(p) * ldx;
        for (int k = 0; k < inputs; k += kAtOnce<In>, w += N * L) {
            V b[N];
#pragma GCC unroll 4
            for (int n = 0; n < N; n++) b[n] = load(w + n * L);
#pragma GCC unroll 16
            for (int i = 0; i < P; i++) {
                const V v = spread(in + i * ldx + k);
#pragma GCC unroll 4
                for (int n = 0; n < N; n++) a[i][n] = add_product(a[i][n], v, b[n], in);
            }
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < P; i++)
#pragma GCC unroll 4
        for (int n = 0; n < N; n++) store(y + size_t(p + i) * ldy + n * L, a[i][n]);
}

template <int N, bool Add, class In, class Out>
static void strip(const In *const *x, int segments, int inputs, int ldx, const float *w,
                  const float *bias, int pixels, Out *y, int ldy, const Soon &soon) {
    constexpr int P = kPixels[N];
    int p = 0;
    for (; p + P <= pixels; p += P) {
        fetch(soon, p, P);
        tile<N, P, Add>(x, segments, inputs, ldx, p, w, bias, y, ldy);
    }
    for (; p < pixels; p++) tile<N, 1, Add>(x, segments, inputs, ldx, p, w, bias, y, ldy);
}

// `pixels` of a dense layer whose inputs lie in `segments` places, `inputs` values in each.
template <bool Add = false, class In, class Out>
static void dense(const float *weight, const float *bias, int vectors, const In *const *x,
                  int segments, int inputs, int ldx, int pixels, Out *y, int ldy, Soon soon = {}) {
    for (int v = 0; v < vectors; soon.row = nullptr) {
        const int n = strip_width(vectors - v);
        const float *b = bias + v * L;
        Out *to = y + v * L;
        if (n == 1) strip<1, Add>(x, segments, inputs, ldx, weight, b, pixels, to, ldy, soon);
        if (n == 2) strip<2, Add>(x, segments, inputs, ldx, weight, b, pixels, to, ldy, soon);
        if (n == 3) strip<3, Add>(x, segments, inputs, ldx, weight, b, pixels, to, ldy, soon);
        if constexpr (kWidest == 4)
            if (n == 4) strip<4, Add>(x, segments, inputs, ldx, weight, b, pixels, to, ldy, soon);
        weight += size_t(segments) * inputs / kAtOnce<In> * n * L;
        v += n;
    }
}

// Room for the strips of a layer, in floats.
template <class In>
static size_t packed_size(int inputs, int outputs) {
    return size_t(inputs / kAtOnce<In>) * ((outputs + L - 1) / L * L);
}

// The strips of a layer from its weights, [inputs][outputs]; pairs want even inputs in each segment.
template <class In>
static void pack(const float *weight, int inputs, int outputs, float *packed) {
    const int vectors = (outputs + L - 1) / L;
    for (int v = 0; v < vectors;) {
        const int n = strip_width(vectors - v);
        for (int k = 0; k < inputs; k += kAtOnce<In>)
            for (int i = 0; i < n * L; i++, packed++) {
                const int o = v * L + i;
                const float *w = weight + size_t(k) * outputs + o;
                if (o >= outputs) {
                    *packed = 0;
                } else if constexpr (kAtOnce<In> == 2) {
                    const bf16 pair[] = {narrow(w[0]), narrow(w[outputs])};
                    std::memcpy(packed, pair, sizeof pair);
                } else {
                    *packed = *w;
                }
            }
        v += n;
    }
}
