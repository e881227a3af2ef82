// Depth-wise layers for training: "same" ones on maps (height, width, channels), float32.
#pragma once
#include "network.h"
#include "rows.h"

namespace lkdn {

// `size`: 3, or 5 with a dilation of 1 or 3.
struct DepthwiseLayer {
    int size, dilation, height, width, channels;

    LKDN_INLINE bool exists() const {
        return (size == 3 && dilation == 1) || (size == 5 && (dilation == 1 || dilation == 3));
    }
    LKDN_INLINE int taps() const { return size * size; }
    LKDN_INLINE int pad() const { return dilation * (size / 2); }
    // Pixels that a row's tiles cover: the last tile may reach beyond the map.
    LKDN_INLINE int covered() const {
        const int tile = 4 * dilation;
        return (width + tile - 1) / tile * tile;
    }
    LKDN_INLINE int plane_row() const { return covered() + 2 * pad(); }
    LKDN_INLINE size_t plane_vectors(int rows) const {
        return size_t(plane_row()) * (rows + 2 * pad());
    }
};

// Rows of a map that are worked on at once, so that those of all maps stay in L2.
constexpr int kBand = 16;

// One instruction set, on rows [y0, y1) of a picture, kBand of them or less. Weights are torch's,
// [channels][taps]. A plane is one vector of channels of the band and of the rows around it; it
// comes with zeros, aligned to its vectors.
struct DepthwiseKernels {
    // With a map for slopes `y` goes through GELU, whose slopes are put there.
    void (*forward)(const DepthwiseLayer &, const float *weight, const float *bias, Floats x,
                    MutableFloats y, float *slope, int y0, int y1, float *plane);
    // `sums` is the band's share in the gradient of [channels][taps and bias]. Two planes. `slope`,
    // if any, is multiplied with `grad`.
    void (*backward)(const DepthwiseLayer &, const float *weight, Floats x, Floats grad,
                     const float *slope, MutableFloats grad_x, float *sums, int y0, int y1,
                     float *planes);
};

extern const DepthwiseKernels depthwise_portable;
#ifdef LKDN_X86
extern const DepthwiseKernels depthwise_avx2;
extern const DepthwiseKernels depthwise_avx512;
#endif

}  // namespace lkdn
