// Layers for training that work on each pixel by itself: pixels are rows of channels, float32,
// without gaps.
#pragma once
#include <cstddef>

namespace lkdn {

// Pixels that are worked on at once, so that those of all maps stay in L2.
constexpr int kRows = 512;

constexpr int kMostChannels = 512;

// One instruction set, on `rows` pixels.
struct RowKernels {
    // y = gelu(x + bias), and its slopes. `y` may be `x`.
    void (*gelu)(int rows, int channels, const float *x, const float *bias, float *y, float *slope);
    // y = base + gain * (x - mean) / sqrt(variance + epsilon) + shift, with the mean and the variance
    // of the first `counted` channels, kMostChannels at most; the others are zeros, in gain and shift
    // too. Of each pixel, mean and 1 / sqrt are kept in `stats`.
    void (*norm)(int rows, int channels, int counted, float epsilon, const float *x,
                 const float *gain, const float *shift, const float *base, float *y, float *stats);
    // `sums` is the rows' share in the gradients of [gain, shift][channels]. What `grad_x` holds of
    // channels that are not counted has no meaning.
    void (*norm_gradient)(int rows, int channels, int counted, const float *x, const float *gain,
                          const float *stats, const float *grad, float *grad_x, float *sums);
};

extern const RowKernels rows_portable;
#ifdef LKDN_X86
extern const RowKernels rows_avx2;
extern const RowKernels rows_avx512;
#endif

}  // namespace lkdn
