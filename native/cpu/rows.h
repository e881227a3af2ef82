// Layers for training that work on each pixel by itself: pixels are rows of channels, float32.
#pragma once
#include <cstddef>

namespace lkdn {

// A map, or some of a map's channels. `pitch`: floats from pixel to pixel.
struct Floats {
    const float *at;
    int pitch;
};

struct MutableFloats {
    float *at;
    int pitch;
};

// Pixels that are worked on at once, so that those of all maps stay in L2.
constexpr int kRows = 512;

constexpr int kMostChannels = 512;

// One instruction set, on `rows` pixels. Maps without a pitch have no gaps.
struct RowKernels {
    // Floats of a dense layer's packed weights, and these from [inputs][outputs]. Outputs are whole
    // vectors.
    size_t (*packed_size)(int inputs, int outputs);
    void (*pack)(const float *weight, int inputs, int outputs, float *packed);
    // y = the layer of x, or is added to y.
    void (*dense)(int rows, int inputs, int outputs, Floats x, const float *packed,
                  const float *bias, bool add, MutableFloats y);
    // `sums` gets the rows' share in the gradients of [outputs][inputs], then [outputs] for the bias.
    void (*dense_gradient)(int rows, int inputs, int outputs, Floats x, Floats grad, float *sums);
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
