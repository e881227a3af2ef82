// Depth-wise 5x5 layers for training: "same" ones on maps (height, width, channels), float32.
#pragma once
#include "network.h"

namespace lkdn {

constexpr int kSize = 5, kTaps = kSize * kSize;

struct DepthwiseLayer {
    int dilation, height, width, channels;

    LKDN_INLINE int pad() const { return dilation * (kSize / 2); }
    LKDN_INLINE size_t row() const { return size_t(width) * channels; }
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
    void (*forward)(const DepthwiseLayer &, const float *weight, const float *bias, const float *x,
                    float *y, int y0, int y1, float *plane);
    // `sums` is the band's share in the gradient of [channels][taps and bias]. Two planes.
    void (*backward)(const DepthwiseLayer &, const float *weight, const float *x, const float *grad,
                     float *grad_x, float *sums, int y0, int y1, float *planes);
};

extern const DepthwiseKernels depthwise_portable;
#ifdef LKDN_X86
extern const DepthwiseKernels depthwise_avx2;
extern const DepthwiseKernels depthwise_avx512;
#endif

}  // namespace lkdn
