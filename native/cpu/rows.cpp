// The layers of rows.h for one instruction set, compiled like kernels.cpp.
#include "rows.h"
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
const RowKernels LKDN_ROWS{gelus, norm, norm_gradient};

}  // namespace lkdn
