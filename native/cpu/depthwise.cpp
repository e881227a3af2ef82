// Depth-wise convolutions and their gradients for one instruction set, compiled like kernels.cpp.
// Channels are copied a vector at a time to planes with zeros around them: borders, and a last
// vector that is not full, matter nowhere else, and what 25 taps read lies close together.
#include "depthwise.h"
#include "taps.h"

namespace lkdn {
namespace {

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

// Rows [y0, y1) and one vector of channels.
template <int Dilation>
struct Task {
    static constexpr int kPad = Dilation * (kSize / 2);
    const DepthwiseLayer &layer;
    const int y0, y1, channel, lanes;

    Task(const DepthwiseLayer &l, int from, int to, int z)
        : layer(l), y0(from), y1(to), channel(z), lanes(l.channels - z < L ? l.channels - z : L) {}

    float *row(float *plane, int y) const {
        return plane + (ptrdiff_t(y - y0 + kPad) * layer.plane_row() + kPad) * L;
    }

    void fill(const float *map, float *plane) const {
        const int width = layer.width, depth = layer.channels, n = lanes;
        for (int y = y0 - kPad; y < y1 + kPad; y++) {
            float *to = row(plane, y);
            if (y < 0 || y >= layer.height) {
                std::memset(to, 0, size_t(width) * L * sizeof *to);
                continue;
            }
            const float *from = map + y * layer.row() + channel;
            for (int x = 0; x < width; x++) store(to + x * L, load_some(from + x * depth, n));
        }
    }

    // The input gradient is a convolution with the flipped kernel.
    template <bool Flip>
    void convolve(const float *weight, V bias, float *plane, float *out) const {
        float taps[kTaps * L] = {}, biases[L];
        store(biases, bias);
        for (int z = 0; z < lanes; z++)
            for (int t = 0; t < kTaps; t++)
                taps[t * L + z] = weight[(channel + z) * kTaps + (Flip ? kTaps - 1 - t : t)];
        const int width = layer.width, depth = layer.channels, n = lanes;
        for (int y = y0; y < y1; y++) {
            const float *rows[kSize];
            for (int k = 0; k < kSize; k++) rows[k] = row(plane, y + Dilation * (k - kSize / 2));
            float *to = out + y * layer.row() + channel;
            depthwise<kSize, Dilation>(rows, L, taps, biases, L, 0, layer.covered(),
                                      [=](int x, int, V v) {
                if (x < width) store_some(to + x * depth, v, n);
            });
        }
    }

    // Taps [From, To) of the weight gradient, as many as the registers hold; the last is the bias.
    template <int From, int To>
    void gradient(float *x_plane, float *grad_plane, float *sums) const {
        const int width = layer.width;
        V total[To - From] = {};
        for (int y = y0; y < y1; y++) {
            const float *grad = row(grad_plane, y), *in[kSize];
            for (int k = 0; k < kSize; k++)
                in[k] = row(x_plane, y + Dilation * (k - kSize / 2)) - kPad * L;
            V a[To - From] = {};  // a row is summed by itself: smaller rounding errors
            for (int x = 0; x < width; x++) {
                const V g = load(grad + x * L);
#pragma GCC unroll 26
                for (int t = From; t < To; t++)
                    a[t - From] += t == kTaps
                                       ? g
                                       : g * load(in[t / kSize] + (x + Dilation * (t % kSize)) * L);
            }
#pragma GCC unroll 26
            for (int i = 0; i < To - From; i++) total[i] += a[i];
        }
        for (int t = From; t < To; t++)
            for (int z = 0; z < lanes; z++)
                sums[(channel + z) * (kTaps + 1) + t] = total[t - From][z];
    }
};

// `run` with a task of the layer's kind for every vector of channels.
template <class Run>
INLINE void tasks(const DepthwiseLayer &layer, int y0, int y1, Run run) {
    for (int z = 0; z < layer.channels; z += L) {
        if (layer.dilation == 1) run(Task<1>(layer, y0, y1, z));
        if (layer.dilation == 3) run(Task<3>(layer, y0, y1, z));
    }
}

void forward(const DepthwiseLayer &layer, const float *weight, const float *bias, const float *x,
             float *y, int y0, int y1, float *plane) {
    tasks(layer, y0, y1, [=](auto task) {
        task.fill(x, plane);
        const V b = load_some(bias + task.channel, task.lanes);
        task.template convolve<false>(weight, b, plane, y);
    });
}

void backward(const DepthwiseLayer &layer, const float *weight, const float *x, const float *grad,
              float *grad_x, float *sums, int y0, int y1, float *planes) {
    float *x_plane = planes, *grad_plane = planes + layer.plane_vectors(kBand) * L;
    tasks(layer, y0, y1, [=](auto task) {
        task.fill(x, x_plane);
        task.fill(grad, grad_plane);
        task.template convolve<true>(weight, splat(0.f), grad_plane, grad_x);
        // Thirteen sums and the gradient fit 16 registers; AVX-512 has 32.
        constexpr int all = kTaps + 1, some = L < 16 ? 13 : all;
        task.template gradient<0, some>(x_plane, grad_plane, sums);
        if constexpr (some < all) task.template gradient<some, all>(x_plane, grad_plane, sums);
    });
}

}  // namespace

extern const DepthwiseKernels LKDN_DEPTHWISE;
const DepthwiseKernels LKDN_DEPTHWISE{forward, backward};

}  // namespace lkdn
