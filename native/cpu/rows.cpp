// The layers of rows.h for one instruction set, compiled like kernels.cpp.
#include "rows.h"
#include "dense.h"
#include "slope.h"
#include "some.h"

namespace lkdn {
namespace {

// `run(vector's first channel, its lanes)` for all vectors of a pixel.
template <class Run>
INLINE void vectors(int channels, Run run) {
    int z = 0;
    for (; z + L <= channels; z += L) run(z, L);
    if (z < channels) run(z, channels - z);
}

// So many pixels lie in L1 with a strip of weights.
constexpr int kChunk = 96;

void layer(int rows, int inputs, int outputs, Floats x, const float *packed, const float *bias,
           bool add, MutableFloats y) {
    for (int row = 0; row < rows; row += kChunk) {
        const int n = rows - row < kChunk ? rows - row : kChunk;
        const float *from[] = {x.at + ptrdiff_t(row) * x.pitch};
        float *to = y.at + ptrdiff_t(row) * y.pitch;
        if (add)
            dense<true>(packed, bias, outputs / L, from, 1, inputs, x.pitch, n, to, y.pitch);
        else
            dense<false>(packed, bias, outputs / L, from, 1, inputs, x.pitch, n, to, y.pitch);
    }
}

// Outputs [o, o + 4) and N vectors of inputs from i on.
template <int N>
INLINE void gradient(int rows, int inputs, Floats x, Floats grad, int i, int o, float *sums) {
    V a[4][N] = {};
    for (ptrdiff_t row = 0; row < rows; row++) {
        V in[N];
#pragma GCC unroll 3
        for (int n = 0; n < N; n++) in[n] = load(x.at + row * x.pitch + i + n * L);
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            const V g = splat(grad.at[row * grad.pitch + o + k]);
#pragma GCC unroll 3
            for (int n = 0; n < N; n++) a[k][n] += g * in[n];
        }
    }
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++)
#pragma GCC unroll 3
        for (int n = 0; n < N; n++) {
            float *to = sums + ptrdiff_t(o + k) * inputs + i + n * L;
            store(to, load(to) + a[k][n]);
        }
}

void layer_gradient(int rows, int inputs, int outputs, Floats x, Floats grad, float *sums) {
    std::memset(sums, 0, size_t(outputs) * (inputs + 1) * sizeof *sums);
    float *biases = sums + size_t(outputs) * inputs;
    for (int row = 0; row < rows; row += kChunk) {
        const int n = rows - row < kChunk ? rows - row : kChunk;
        const Floats in{x.at + ptrdiff_t(row) * x.pitch, x.pitch};
        const Floats g{grad.at + ptrdiff_t(row) * grad.pitch, grad.pitch};
        for (int o = 0; o < outputs; o += 4)
            for (int i = 0; i < inputs;) {
                const int left = (inputs - i) / L;
                if (left > 2) gradient<3>(n, inputs, in, g, i, o, sums);
                if (left == 2) gradient<2>(n, inputs, in, g, i, o, sums);
                if (left == 1) gradient<1>(n, inputs, in, g, i, o, sums);
                i += (left > 2 ? 3 : left) * L;
            }
        for (int o = 0; o < outputs; o += L) {
            V total = load(biases + o);
            for (ptrdiff_t i = 0; i < n; i++) total += load(g.at + i * g.pitch + o);
            store(biases + o, total);
        }
    }
}

void gelus(int rows, int channels, const float *x, const float *bias, float *y, float *slope) {
    for (int i = 0; i < rows; i++, x += channels, y += channels, slope += channels)
        vectors(channels, [=](int z, int n) {
            V steep;
            store_some(y + z, gelu(load_some(x + z, n) + load_some(bias + z, n), &steep), n);
            store_some(slope + z, steep, n);
        });
}

// 1 for the channels that count, 0 for the others.
struct Counted {
    float one[kMostChannels + L] = {};

    explicit Counted(int channels) {
        for (int z = 0; z < channels; z++) one[z] = 1;
    }
    V distance(const float *x, float mean, int z, int n) const {
        return (load_some(x + z, n) - splat(mean)) * load(one + z);
    }
};

void norm(int rows, int channels, int counted, float epsilon, const float *x, const float *gain,
          const float *shift, const float *base, float *y, float *stats) {
    const Counted those(counted);
    for (int i = 0; i < rows; i++, x += channels, base += channels, y += channels, stats += 2) {
        V total = splat(0.f), squares = splat(0.f);
        vectors(channels, [&](int z, int n) { total += load_some(x + z, n); });
        const float mean = sum(total) / float(counted);
        vectors(channels, [&](int z, int n) {
            const V d = those.distance(x, mean, z, n);
            squares += d * d;
        });
        const float scale = 1 / __builtin_sqrtf(sum(squares) / float(counted) + epsilon);
        vectors(channels, [&](int z, int n) {
            const V unit = (load_some(x + z, n) - splat(mean)) * splat(scale);
            const V v = unit * load_some(gain + z, n) + load_some(shift + z, n);
            store_some(y + z, v + load_some(base + z, n), n);
        });
        stats[0] = mean, stats[1] = scale;
    }
}

void norm_gradient(int rows, int channels, int counted, const float *x, const float *gain,
                   const float *stats, const float *grad, float *grad_x, float *sums) {
    const Counted those(counted);
    float gains[kMostChannels + L] = {}, shifts[kMostChannels + L] = {};
    for (int i = 0; i < rows; i++, x += channels, grad += channels, grad_x += channels, stats += 2) {
        const float mean = stats[0], scale = stats[1];
        V total = splat(0.f), along = splat(0.f);
        vectors(channels, [&](int z, int n) {
            const V g = load_some(grad + z, n), unit = those.distance(x, mean, z, n) * splat(scale);
            store(gains + z, load(gains + z) + g * unit);
            store(shifts + z, load(shifts + z) + g);
            const V inner = g * load_some(gain + z, n);
            total += inner, along += inner * unit;
        });
        const V a = splat(sum(total) / float(counted)), b = splat(sum(along) / float(counted));
        vectors(channels, [&](int z, int n) {
            const V unit = those.distance(x, mean, z, n) * splat(scale);
            const V inner = load_some(grad + z, n) * load_some(gain + z, n);
            store_some(grad_x + z, (inner - a - unit * b) * splat(scale), n);
        });
    }
    std::memcpy(sums, gains, channels * sizeof *sums);
    std::memcpy(sums + channels, shifts, channels * sizeof *sums);
}

}  // namespace

extern const RowKernels LKDN_ROWS;
const RowKernels LKDN_ROWS{packed_size<float>, pack<float>, layer, layer_gradient,
                           gelus, norm, norm_gradient};

}  // namespace lkdn
