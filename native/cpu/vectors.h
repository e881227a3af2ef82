// Vectors of LKDN_LANES floats in the compiler's own extension, and the two inner loops of the
// network. Everything here is static: each instruction set has its own copy.
#pragma once
#include <cstddef>
#include <cstring>
#if LKDN_LANES > 4
#include <immintrin.h>
#endif

typedef float V __attribute__((vector_size(LKDN_LANES * 4)));
typedef float Unaligned __attribute__((vector_size(LKDN_LANES * 4), aligned(4), may_alias));

static constexpr int L = LKDN_LANES;

#define INLINE static inline __attribute__((always_inline))

INLINE V load(const float *p) { return *reinterpret_cast<const Unaligned *>(p); }
INLINE void store(float *p, V v) { *reinterpret_cast<Unaligned *>(p) = v; }

INLINE V splat(float s) {
#if LKDN_LANES == 4
    return V{s, s, s, s};
#elif LKDN_LANES == 8
    return V{s, s, s, s, s, s, s, s};
#else
    return V{s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s};
#endif
}

// The smaller, the larger of each lane; of `b` if there is a NaN.
#if LKDN_LANES == 16
INLINE V smaller(V a, V b) { return (V)_mm512_min_ps((__m512)a, (__m512)b); }
INLINE V larger(V a, V b) { return (V)_mm512_max_ps((__m512)a, (__m512)b); }
#elif LKDN_LANES == 8
INLINE V smaller(V a, V b) { return (V)_mm256_min_ps((__m256)a, (__m256)b); }
INLINE V larger(V a, V b) { return (V)_mm256_max_ps((__m256)a, (__m256)b); }
#else
INLINE V smaller(V a, V b) { return a < b ? a : b; }
INLINE V larger(V a, V b) { return a > b ? a : b; }
#endif

INLINE float sum(V v) {
    float part[L];
    std::memcpy(part, &v, sizeof part);
    for (int n = L / 2; n; n /= 2)
        for (int i = 0; i < n; i++) part[i] += part[i + n];
    return part[0];
}

// x * Phi(x). The error function is a quotient of polynomials, off by less than 1e-6; a NaN stays.
INLINE V gelu(V x) {
    const V limit = splat(4.f), half = x * splat(.5f);
    const V t = larger(-limit, smaller(limit, x * splat(0.70710678118654752f)));
    const V s = t * t;
    V p = splat(-2.72614225801306e-10f);
    p = p * s + splat(2.77068142495902e-08f);
    p = p * s + splat(-2.10102402082508e-06f);
    p = p * s + splat(-5.69250639462346e-05f);
    p = p * s + splat(-7.34990630326855e-04f);
    p = p * s + splat(-2.95459980854025e-03f);
    p = p * s + splat(-1.60960333262415e-02f);
    V q = splat(-1.45660718464996e-05f);
    q = q * s + splat(-2.13374055278905e-04f);
    q = q * s + splat(-1.68282697438203e-03f);
    q = q * s + splat(-7.37332916720468e-03f);
    q = q * s + splat(-1.42647390514189e-02f);
    return half * (t * p / q) + half;
}

// ---------------------------------------------------------------- dense layers
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

// A tile of P pixels and N vectors: y = (Add ? y : bias) + sum over the segments of x.
template <int N, int P, bool Add>
INLINE void tile(const float *const *x, int segments, int inputs, int ldx, int p, const float *w,
                 const float *bias, float *y, int ldy) {
    V a[P][N];
#pragma GCC unroll 16
    for (int i = 0; i < P; i++)
#pragma GCC unroll 4
        for (int n = 0; n < N; n++)
            a[i][n] = Add ? load(y + size_t(p + i) * ldy + n * L) : load(bias + n * L);
    for (int s = 0; s < segments; s++) {
        const float *in = x[s] + size_t(p) * ldx;
        for (int k = 0; k < inputs; k++, w += N * L) {
            V b[N];
#pragma GCC unroll 4
            for (int n = 0; n < N; n++) b[n] = load(w + n * L);
#pragma GCC unroll 16
            for (int i = 0; i < P; i++) {
                const V v = splat(in[i * ldx + k]);
#pragma GCC unroll 4
                for (int n = 0; n < N; n++) a[i][n] += v * b[n];
            }
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < P; i++)
#pragma GCC unroll 4
        for (int n = 0; n < N; n++) store(y + size_t(p + i) * ldy + n * L, a[i][n]);
}

template <int N, bool Add>
static void strip(const float *const *x, int segments, int inputs, int ldx, const float *w,
                  const float *bias, int pixels, float *y, int ldy) {
    constexpr int P = kPixels[N];
    int p = 0;
    for (; p + P <= pixels; p += P)
        tile<N, P, Add>(x, segments, inputs, ldx, p, w, bias, y, ldy);
    for (; p < pixels; p++) tile<N, 1, Add>(x, segments, inputs, ldx, p, w, bias, y, ldy);
}

// `pixels` of a dense layer whose inputs lie in `segments` places, `inputs` floats in each.
template <bool Add = false>
static void dense(const float *weight, const float *bias, int vectors, const float *const *x,
                  int segments, int inputs, int ldx, int pixels, float *y, int ldy) {
    for (int v = 0; v < vectors;) {
        const int n = strip_width(vectors - v);
        const float *b = bias + v * L;
        float *to = y + v * L;
        if (n == 1) strip<1, Add>(x, segments, inputs, ldx, weight, b, pixels, to, ldy);
        if (n == 2) strip<2, Add>(x, segments, inputs, ldx, weight, b, pixels, to, ldy);
        if (n == 3) strip<3, Add>(x, segments, inputs, ldx, weight, b, pixels, to, ldy);
        if constexpr (kWidest == 4)
            if (n == 4) strip<4, Add>(x, segments, inputs, ldx, weight, b, pixels, to, ldy);
        weight += size_t(segments) * inputs * n * L;
        v += n;
    }
}

// ---------------------------------------------------------------- depth-wise layers
// Q outputs `Dilation` pixels apart share their inputs: each is loaded once a row.
template <int Size, int Dilation, int Q, class Emit>
INLINE void taps(const float *const *rows, int ld, int z, int x, const float *w, int channels,
                 V bias, Emit emit) {
    V a[Q];
#pragma GCC unroll 16
    for (int i = 0; i < Q; i++) a[i] = bias;
#pragma GCC unroll 5
    for (int ky = 0; ky < Size; ky++) {
        const float *in = rows[ky] + ptrdiff_t(x - Dilation * (Size / 2)) * ld + z;
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
template <int Size, int Dilation, int Q, class Emit>
INLINE void group(const float *const *rows, int ld, const float *weight, const float *bias,
                  int channels, int x, Emit emit) {
    for (int z = 0; z < channels; z += L)
        for (int phase = 0; phase < (Q > 1 ? Dilation : 1); phase++)
            taps<Size, Dilation, Q>(rows, ld, z, x + phase, weight, channels, load(bias + z), emit);
}

// `emit(pixel, channel, value)` for pixels [from, from + pixels) of a Size x Size layer.
template <int Size, int Dilation, class Emit>
INLINE void depthwise(const float *const *rows, int ld, const float *weight, const float *bias,
                      int channels, int from, int pixels, Emit emit) {
    int x = from;
    const int end = from + pixels;
    for (; x + 8 * Dilation <= end; x += 8 * Dilation)
        group<Size, Dilation, 8>(rows, ld, weight, bias, channels, x, emit);
    for (; x + 4 * Dilation <= end; x += 4 * Dilation)
        group<Size, Dilation, 4>(rows, ld, weight, bias, channels, x, emit);
    for (; x < end; x++) group<Size, Dilation, 1>(rows, ld, weight, bias, channels, x, emit);
}
