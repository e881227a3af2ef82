// Vectors of LKDN_LANES floats in the compiler's own extension. Everything here is static: each
// instruction set has its own copy.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#ifdef __AVX__
#include <immintrin.h>
#endif
#include "gelu.h"

typedef float V __attribute__((vector_size(LKDN_LANES * 4)));
typedef float Unaligned __attribute__((vector_size(LKDN_LANES * 4), aligned(4), may_alias));
typedef uint32_t Bits __attribute__((vector_size(LKDN_LANES * 4)));
typedef uint16_t Halves __attribute__((vector_size(LKDN_LANES * 2)));
typedef uint16_t UnalignedHalves
    __attribute__((vector_size(LKDN_LANES * 2), aligned(2), may_alias));

static constexpr int L = LKDN_LANES;

#define INLINE static inline __attribute__((always_inline))

// The upper half of a float.
struct bf16 {
    uint16_t bits;
};

// IEEE 754 binary16.
struct fp16 {
    uint16_t bits;
};

INLINE V load(const float *p) { return *reinterpret_cast<const Unaligned *>(p); }
INLINE void store(float *p, V v) { *reinterpret_cast<Unaligned *>(p) = v; }

// Plain conversions become several instructions where these processors have one or two.
INLINE Bits widen(Halves h) {
#if LKDN_LANES == 16 && defined __AVX512F__
    return (Bits)_mm512_cvtepu16_epi32((__m256i)h);
#elif LKDN_LANES == 8 && defined __AVX2__
    return (Bits)_mm256_cvtepu16_epi32((__m128i)h);
#else
    return __builtin_convertvector(h, Bits);
#endif
}
INLINE Halves lower_halves(Bits b) {
#if LKDN_LANES == 16 && defined __AVX512F__
    return (Halves)_mm512_cvtepi32_epi16((__m512i)b);
#elif LKDN_LANES == 8 && defined __AVX2__
    const auto all = (__m256i)b;  // none is over 16 bits
    return (Halves)_mm_packus_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
#else
    return __builtin_convertvector(b, Halves);
#endif
}

INLINE V load(const bf16 *p) {
    return (V)(widen(*reinterpret_cast<const UnalignedHalves *>(p)) << 16);
}

// Rounded to the nearest, of two to the even one; a NaN stays a NaN.
INLINE void store(bf16 *p, V v) {
#ifdef __AVX512BF16__
    const auto rounded = (Halves)_mm512_cvtneps_pbh((__m512)v);
#else
    const Bits bits = (Bits)v, nearest = bits + 0x7fffu + (bits >> 16 & 1u);
    const Halves rounded = lower_halves((nearest | (Bits)(v != v)) >> 16);
#endif
    *reinterpret_cast<UnalignedHalves *>(p) = rounded;
}

// The F16C instructions, which every processor with AVX2 has, or the same by hand.
INLINE V load(const fp16 *p) {
    const Halves h = *reinterpret_cast<const UnalignedHalves *>(p);
#if LKDN_LANES == 16 && defined __AVX512F__
    return (V)_mm512_cvtph_ps((__m256i)h);
#elif LKDN_LANES == 8 && defined __F16C__
    return (V)_mm256_cvtph_ps((__m128i)h);
#else
    const Bits b = widen(h), size = b & 0x7fffu;
    const Bits infinite = (Bits)(size >= 0x7c00u) & 0x7f800000u;
    return (V)((Bits)((V)(size << 13) * 0x1p112f) | infinite | (b & 0x8000u) << 16);
#endif
}

// As that of bf16. Too large a number becomes infinite.
INLINE void store(fp16 *p, V v) {
#if LKDN_LANES == 16 && defined __AVX512F__
    const auto rounded = (Halves)_mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT);
#elif LKDN_LANES == 8 && defined __F16C__
    const auto rounded = (Halves)_mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT);
#else
    const Bits size = (Bits)v & 0x7fffffffu;
    const Bits normal = (size - (112u << 23) + 0xfffu + (size >> 13 & 1u)) >> 13;
    const Bits tiny = (Bits)((V)size + .5f) - 0x3f000000u;  // one half's last bit is 2^-24
    const Bits low = (Bits)(size < 113u << 23), high = (Bits)(size >= 143u << 23);
    const Bits special = 0x7c00u | ((Bits)(v != v) & 0x200u);
    const Bits rounded_size = (low & tiny) | (high & special) | (~(low | high) & normal);
    const Halves rounded = lower_halves(rounded_size | (Bits)v >> 16 & 0x8000u);
#endif
    *reinterpret_cast<UnalignedHalves *>(p) = rounded;
}

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
#if LKDN_LANES == 16 && defined __AVX512F__
INLINE V smaller(V a, V b) { return (V)_mm512_min_ps((__m512)a, (__m512)b); }
INLINE V larger(V a, V b) { return (V)_mm512_max_ps((__m512)a, (__m512)b); }
#elif LKDN_LANES == 8 && defined __AVX__
INLINE V smaller(V a, V b) { return (V)_mm256_min_ps((__m256)a, (__m256)b); }
INLINE V larger(V a, V b) { return (V)_mm256_max_ps((__m256)a, (__m256)b); }
#else
INLINE V smaller(V a, V b) { return a < b ? a : b; }
INLINE V larger(V a, V b) { return a > b ? a : b; }
#endif

INLINE bf16 narrow(float s) {
    bf16 all[L];
    store(all, splat(s));
    return all[0];
}

INLINE float sum(V v) {
    float part[L];
    std::memcpy(part, &v, sizeof part);
    for (int n = L / 2; n; n /= 2)
        for (int i = 0; i < n; i++) part[i] += part[i + n];
    return part[0];
}

// erf(x / sqrt(2)), a quotient of polynomials.
INLINE V error_function(V x) {
    const V limit = splat(4.f);
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
    return t * p / q;
}

#if LKDN_LANES == 16 && defined __AVX512F__
// x * Phi(x), as gelu.h says, off by less than 1e-6, and by 4e-8 of x; a NaN stays.
INLINE V gelu(V x) {
    const V magic = splat(12582912.f);  // added, it leaves the nearest integer in the lowest bits
    const V a = (V)_mm512_abs_ps((__m512)x) * splat(lkdn::kGeluSegmentsPerUnit);
    const V last = magic + splat(float(lkdn::kGeluSegments - 1)), k = smaller(a + magic, last);
    const auto term = [&](int power) {
        const auto table = lkdn::gelu_terms[power];
        return (V)_mm512_permutex2var_ps((__m512)load(table), (__m512i)k, (__m512)load(table + L));
    };
    const V t = a - (k - magic);
    V g = term(lkdn::kGeluTerms - 1);
#pragma GCC unroll 4
    for (int power = lkdn::kGeluTerms - 2; power >= 0; power--) g = g * t + term(power);
    return x * splat(.5f) + g;
}
#else
// x * Phi(x), off by less than 1e-6; a NaN stays.
INLINE V gelu(V x) {
    const V half = x * splat(.5f);
    return half * error_function(x) + half;
}
#endif
