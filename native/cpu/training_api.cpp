// What lkdn_core/training/depthwise.py calls, in plain C. Nothing throws.
#include "depthwise.h"
#include "pool.h"

#include <algorithm>
#include <memory>
#include <new>

namespace lkdn {
namespace {

bool has_kernel(int dilation) { return dilation == 1 || dilation == 3; }

struct alignas(64) CacheLine {
    float floats[16];
};

int bands(const DepthwiseLayer &layer) { return (layer.height + kBand - 1) / kBand; }

// work(task, picture, y0, y1, planes) for each band of each picture; threads take them in turn.
template <class Work>
void for_each_band(const DepthwiseLayer &layer, int lanes, int planes, int pictures, int threads,
                   Work work) {
    const int each = bands(layer), tasks = pictures * each;
    const size_t lines = (planes * layer.plane_vectors(kBand) * lanes + 15) / 16;
    threads = std::min(threads, tasks);
    const std::unique_ptr<CacheLine[]> memory(new CacheLine[lines * threads]());
    take_in_turn(threads, tasks, [&](int thread, int task) {
        const int y0 = task % each * kBand, y1 = std::min(y0 + kBand, layer.height);
        work(task, task / each, y0, y1, memory[lines * thread].floats);
    });
}

}  // namespace
}  // namespace lkdn

using namespace lkdn;

// y = the layer of x, both [pictures][height][width][channels]; weights are [channels][5][5].
// The best instructions if null. Returns 0, 1 for lack of memory, or 2 if there is no such kernel.
LKDN_EXPORT int lkdn_depthwise(const char *instructions, int dilation, int pictures, int height,
                               int width, int channels, int threads, const float *x,
                               const float *weight, const float *bias, float *y) {
    const Kernels *kernels = find_kernels(instructions);
    if (!kernels || !has_kernel(dilation)) return 2;
    const DepthwiseLayer layer{dilation, height, width, channels};
    const size_t picture = layer.row() * height;
    try {
        for_each_band(layer, kernels->lanes, 1, pictures, threads,
                      [&](int, int n, int y0, int y1, float *plane) {
            kernels->depthwise.forward(layer, weight, bias, x + n * picture, y + n * picture, y0, y1,
                                       plane);
        });
        return 0;
    } catch (const std::bad_alloc &) {
        return 1;
    }
}

// The gradients of the layer: of x, and [channels][25 + 1] of weights and bias. Bands are summed in
// their order, so that the result does not depend on the number of threads.
LKDN_EXPORT int lkdn_depthwise_gradient(const char *instructions, int dilation, int pictures,
                                        int height, int width, int channels, int threads,
                                        const float *x, const float *weight, const float *grad,
                                        float *grad_x, float *grad_layer) {
    const Kernels *kernels = find_kernels(instructions);
    if (!kernels || !has_kernel(dilation)) return 2;
    const DepthwiseLayer layer{dilation, height, width, channels};
    const size_t picture = layer.row() * height, sums = size_t(channels) * (kTaps + 1);
    try {
        const size_t tasks = size_t(pictures) * bands(layer);
        const std::unique_ptr<float[]> parts(new float[tasks * sums]);
        for_each_band(layer, kernels->lanes, 2, pictures, threads,
                      [&](int task, int n, int y0, int y1, float *planes) {
            kernels->depthwise.backward(layer, weight, x + n * picture, grad + n * picture,
                                        grad_x + n * picture, &parts[task * sums], y0, y1, planes);
        });
        std::fill_n(grad_layer, sums, 0.f);
        for (size_t task = 0; task < tasks; task++)
            for (size_t i = 0; i < sums; i++) grad_layer[i] += parts[task * sums + i];
        return 0;
    } catch (const std::bad_alloc &) {
        return 1;
    }
}
