// What lkdn_core/training/native.py calls, in plain C. Nothing throws. Maps are
// [pictures][height][width][channels] in float32, or `rows` of channels; some have a `pitch`, floats
// from pixel to pixel. The best instructions if null. Functions return 0, 1 for lack of memory, or 2
// if there is no such kernel.
#include "depthwise.h"
#include "pool.h"

#include <algorithm>
#include <memory>
#include <new>
#include <vector>

namespace lkdn {
namespace {

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

int parts(int rows) { return (rows + kRows - 1) / kRows; }

// work(task, first row, rows) for kRows of them at a time; threads take them in turn.
template <class Work>
void for_some_rows(int rows, int threads, Work work) {
    const int tasks = parts(rows);
    take_in_turn(std::min(threads, tasks), tasks, [&](int, int task) {
        const int first = task * kRows;
        work(task, size_t(first), std::min(kRows, rows - first));
    });
}

// Added up in their order, so that the result does not depend on the number of threads.
void add_up(const std::vector<float> &sums, float *total, size_t count) {
    std::fill_n(total, count, 0.f);
    for (size_t at = 0; at < sums.size(); at += count)
        for (size_t i = 0; i < count; i++) total[i] += sums[at + i];
}

// 0, or 1 if there was not enough memory for the work.
template <class Work>
int finished(Work work) {
    try {
        work();
        return 0;
    } catch (const std::bad_alloc &) {
        return 1;
    }
}

}  // namespace
}  // namespace lkdn

using namespace lkdn;

// y = the layer of x; weights are [channels][size][size]. Where `slope` is not null y goes through
// GELU, whose slopes are put there, with the pitch of y.
LKDN_EXPORT int lkdn_depthwise(const char *instructions, int threads, int size, int dilation,
                               int pictures, int height, int width, int channels, const float *x,
                               int x_pitch, const float *weight, const float *bias, float *y,
                               float *slope, int y_pitch) {
    const Kernels *kernels = find_kernels(instructions);
    const DepthwiseLayer layer{size, dilation, height, width, channels};
    if (!kernels || !layer.exists()) return 2;
    const size_t picture = size_t(height) * width;
    return finished([&] {
        for_each_band(layer, kernels->lanes, 1, pictures, threads,
                      [&](int, int n, int y0, int y1, float *plane) {
            const size_t to = n * picture * y_pitch;
            kernels->depthwise.forward(layer, weight, bias, {x + n * picture * x_pitch, x_pitch},
                                       {y + to, y_pitch}, slope ? slope + to : nullptr, y0, y1,
                                       plane);
        });
    });
}

// The gradients of the layer: of x, and [channels][taps and bias]. `slope`, if any, is multiplied
// with `grad`, and lies alike.
LKDN_EXPORT int lkdn_depthwise_gradient(const char *instructions, int threads, int size,
                                        int dilation, int pictures, int height, int width,
                                        int channels, const float *x, int x_pitch,
                                        const float *weight, const float *grad, const float *slope,
                                        int grad_pitch, float *grad_x, int grad_x_pitch,
                                        float *grad_layer) {
    const Kernels *kernels = find_kernels(instructions);
    const DepthwiseLayer layer{size, dilation, height, width, channels};
    if (!kernels || !layer.exists()) return 2;
    const size_t picture = size_t(height) * width, sums = size_t(channels) * (layer.taps() + 1);
    return finished([&] {
        std::vector<float> all(size_t(pictures) * bands(layer) * sums);
        for_each_band(layer, kernels->lanes, 2, pictures, threads,
                      [&](int task, int n, int y0, int y1, float *planes) {
            const size_t from = n * picture * grad_pitch;
            kernels->depthwise.backward(
                layer, weight, {x + n * picture * x_pitch, x_pitch}, {grad + from, grad_pitch},
                slope ? slope + from : nullptr, {grad_x + n * picture * grad_x_pitch, grad_x_pitch},
                &all[task * sums], y0, y1, planes);
        });
        add_up(all, grad_layer, sums);
    });
}

// Channels of the maps for dense layers are a multiple of this; 0 if there are no such kernels.
LKDN_EXPORT int lkdn_lanes(const char *instructions) {
    const Kernels *kernels = find_kernels(instructions);
    return kernels ? kernels->lanes : 0;
}

// y = the layer of x, or is added to it. Of the weights, `next_input` and `next_output` say how many
// floats it is to the next; `bias` may be null.
LKDN_EXPORT int lkdn_dense(const char *instructions, int threads, int rows, int inputs, int outputs,
                           const float *x, int x_pitch, const float *weight, int next_input,
                           int next_output, const float *bias, int add, float *y, int y_pitch) {
    const Kernels *kernels = find_kernels(instructions);
    if (!kernels || outputs % kernels->lanes) return 2;
    return finished([&] {
        const RowKernels &run = kernels->rows;
        std::vector<float> plain(size_t(inputs) * outputs), zeros(outputs);
        for (int i = 0; i < inputs; i++)
            for (int o = 0; o < outputs; o++)
                plain[size_t(i) * outputs + o] =
                    weight[ptrdiff_t(i) * next_input + ptrdiff_t(o) * next_output];
        const size_t lines = (run.packed_size(inputs, outputs) + 15) / 16;
        const std::unique_ptr<CacheLine[]> packed(new CacheLine[lines]);
        run.pack(plain.data(), inputs, outputs, packed[0].floats);
        for_some_rows(rows, threads, [&](int, size_t first, int count) {
            run.dense(count, inputs, outputs, {x + first * x_pitch, x_pitch}, packed[0].floats,
                      bias ? bias : zeros.data(), add, {y + first * y_pitch, y_pitch});
        });
    });
}

// The gradients of the weights, [outputs][inputs], then of the bias, [outputs].
LKDN_EXPORT int lkdn_dense_gradient(const char *instructions, int threads, int rows, int inputs,
                                    int outputs, const float *x, int x_pitch, const float *grad,
                                    int grad_pitch, float *sums) {
    const Kernels *kernels = find_kernels(instructions);
    if (!kernels || inputs % kernels->lanes || outputs % kernels->lanes) return 2;
    return finished([&] {
        const size_t each = size_t(outputs) * (inputs + 1);
        std::vector<float> all(parts(rows) * each);
        for_some_rows(rows, threads, [&](int task, size_t first, int count) {
            kernels->rows.dense_gradient(count, inputs, outputs, {x + first * x_pitch, x_pitch},
                                         {grad + first * grad_pitch, grad_pitch},
                                         &all[task * each]);
        });
        add_up(all, sums, each);
    });
}

// RowKernels::gelu.
LKDN_EXPORT int lkdn_gelu(const char *instructions, int threads, int rows, int channels,
                          const float *x, const float *bias, float *y, float *slope) {
    const Kernels *kernels = find_kernels(instructions);
    if (!kernels) return 2;
    return finished([&] {
        for_some_rows(rows, threads, [&](int, size_t first, int count) {
            const size_t at = first * channels;
            kernels->rows.gelu(count, channels, x + at, bias, y + at, slope + at);
        });
    });
}

// RowKernels::norm; `stats` is [rows][2].
LKDN_EXPORT int lkdn_norm(const char *instructions, int threads, int rows, int channels,
                          int counted, float epsilon, const float *x, const float *gain,
                          const float *shift, const float *base, float *y, float *stats) {
    const Kernels *kernels = find_kernels(instructions);
    if (!kernels || channels > kMostChannels) return 2;
    return finished([&] {
        for_some_rows(rows, threads, [&](int, size_t first, int count) {
            const size_t at = first * channels;
            kernels->rows.norm(count, channels, counted, epsilon, x + at, gain, shift, base + at,
                               y + at, stats + 2 * first);
        });
    });
}

// RowKernels::norm_gradient; `sums` is [gain, shift][channels].
LKDN_EXPORT int lkdn_norm_gradient(const char *instructions, int threads, int rows, int channels,
                                   int counted, const float *x, const float *gain,
                                   const float *stats, const float *grad, float *grad_x,
                                   float *sums) {
    const Kernels *kernels = find_kernels(instructions);
    if (!kernels || channels > kMostChannels) return 2;
    return finished([&] {
        const size_t each = size_t(channels) * 2;
        std::vector<float> all(parts(rows) * each);
        for_some_rows(rows, threads, [&](int task, size_t first, int count) {
            const size_t at = first * channels;
            kernels->rows.norm_gradient(count, channels, counted, x + at, gain, stats + 2 * first,
                                        grad + at, grad_x + at, &all[task * each]);
        });
        add_up(all, sums, each);
    });
}
