// Depth-wise convolutions and their gradients for one instruction set, compiled like kernels.cpp.
// Channels are copied a vector at a time to planes with zeros around them: borders, and a last
// vector that is not full, matter nowhere else, and what 25 taps read lies close together.
#include "depthwise.h"
#include "slope.h"
#include "some.h"
#include "taps.h"

namespace lkdn {
namespace {

// Rows [y0, y1) and one vector of channels.
template <int Size, int Dilation>
struct Task {
    static constexpr int kPad = Dilation * (Size / 2), kTaps = Size * Size;
    const DepthwiseLayer &layer;
    const int y0, y1, channel, lanes;

    Task(const DepthwiseLayer &l, int from, int to, int z)
        : layer(l), y0(from), y1(to), channel(z), lanes(l.channels - z < L ? l.channels - z : L) {}

    float *row(float *plane, int y) const {
        return plane + (ptrdiff_t(y - y0 + kPad) * layer.plane_row() + kPad) * L;
    }

    // `factor`, if any, lies as the map.
    void fill(Floats map, const float *factor, float *plane) const {
        const int width = layer.width, pitch = map.pitch, n = lanes;
        for (int y = y0 - kPad; y < y1 + kPad; y++) {
            float *to = row(plane, y);
            if (y < 0 || y >= layer.height) {
                std::memset(to, 0, size_t(width) * L * sizeof *to);
                continue;
            }
            const ptrdiff_t at = ptrdiff_t(y) * width * pitch + channel;
            const float *from = map.at + at, *by = factor + at;
            if (factor)
                for (int x = 0; x < width; x++)
                    store(to + x * L, load_some(from + x * pitch, n) * load_some(by + x * pitch, n));
            else
                for (int x = 0; x < width; x++) store(to + x * L, load_some(from + x * pitch, n));
        }
    }

    // The input gradient is a convolution with the flipped kernel. `emit(float of the map, value)`.
    template <bool Flip, class Emit>
    void convolve(const float *weight, V bias, float *plane, int pitch, Emit emit) const {
        float taps[kTaps * L] = {}, biases[L];
        store(biases, bias);
        for (int z = 0; z < lanes; z++)
            for (int t = 0; t < kTaps; t++)
                taps[t * L + z] = weight[(channel + z) * kTaps + (Flip ? kTaps - 1 - t : t)];
        const int width = layer.width;
        for (int y = y0; y < y1; y++) {
            const float *rows[Size];
            for (int k = 0; k < Size; k++) rows[k] = row(plane, y + Dilation * (k - Size / 2));
            const ptrdiff_t at = ptrdiff_t(y) * width * pitch + channel;
            depthwise<Size, Dilation>(rows, L, taps, biases, L, 0, layer.covered(),
                                      [=](int x, int, V v) {
                if (x < width) emit(at + ptrdiff_t(x) * pitch, v);
            });
        }
    }

    // Taps [From, To) of the weight gradient, as many as the registers hold; the last is the bias.
    template <int From, int To>
    void gradient(float *x_plane, float *grad_plane, float *sums) const {
        const int width = layer.width;
        V total[To - From] = {};
        for (int y = y0; y < y1; y++) {
            const float *grad = row(grad_plane, y), *in[Size];
            for (int k = 0; k < Size; k++)
                in[k] = row(x_plane, y + Dilation * (k - Size / 2)) - kPad * L;
            V a[To - From] = {};  // a row is summed by itself: smaller rounding errors
            for (int x = 0; x < width; x++) {
                const V g = load(grad + x * L);
#pragma GCC unroll 26
                for (int t = From; t < To; t++)
                    a[t - From] += t == kTaps
                                       ? g
                                       : g * load(in[t / Size] + (x + Dilation * (t % Size)) * L);
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
        if (layer.size == 3) run(Task<3, 1>(layer, y0, y1, z));
        else if (layer.dilation == 1) run(Task<5, 1>(layer, y0, y1, z));
        else run(Task<5, 3>(layer, y0, y1, z));
    }
}

void forward(const DepthwiseLayer &layer, const float *weight, const float *bias, Floats x,
             MutableFloats y, float *slope, int y0, int y1, float *plane) {
    tasks(layer, y0, y1, [=](auto task) {
        task.fill(x, nullptr, plane);
        const int n = task.lanes;
        const V b = load_some(bias + task.channel, n);
        if (slope)
            task.template convolve<false>(weight, b, plane, y.pitch, [=](ptrdiff_t at, V v) {
                V steep;
                store_some(y.at + at, gelu(v, &steep), n);
                store_some(slope + at, steep, n);
            });
        else
            task.template convolve<false>(weight, b, plane, y.pitch, [=](ptrdiff_t at, V v) {
                store_some(y.at + at, v, n);
            });
    });
}

void backward(const DepthwiseLayer &layer, const float *weight, Floats x, Floats grad,
              const float *slope, MutableFloats grad_x, float *sums, int y0, int y1,
              float *planes) {
    float *x_plane = planes, *grad_plane = planes + layer.plane_vectors(kBand) * L;
    tasks(layer, y0, y1, [=](auto task) {
        task.fill(x, nullptr, x_plane);
        task.fill(grad, slope, grad_plane);
        const int n = task.lanes;
        task.template convolve<true>(weight, splat(0.f), grad_plane, grad_x.pitch,
                                     [=](ptrdiff_t at, V v) { store_some(grad_x.at + at, v, n); });
        // Thirteen sums and the gradient fit 16 registers; AVX-512 has 32.
        constexpr int all = task.kTaps + 1, some = L < 16 && all > 13 ? 13 : all;
        task.template gradient<0, some>(x_plane, grad_plane, sums);
        if constexpr (some < all) task.template gradient<some, all>(x_plane, grad_plane, sums);
    });
}

}  // namespace

extern const DepthwiseKernels LKDN_DEPTHWISE;
const DepthwiseKernels LKDN_DEPTHWISE{forward, backward};

}  // namespace lkdn
