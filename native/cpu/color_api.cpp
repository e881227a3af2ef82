// What lkdn_core/native_color.py calls: pictures in bands of rows, which threads take in turn.
#include "color.h"
#include "network.h"
#include "pool.h"

#include <algorithm>
#include <new>
#include <vector>

namespace lkdn {
namespace {

// Rows of chroma around a band are made again for each, so few bands; but every thread needs some.
constexpr int kMostRows = 128, kLeastRows = 16, kBandsOfThread = 2;

// Calls `work` for every band, with scratch memory of the thread. Returns 0, or 1 without memory.
int for_bands(const Conversion &c, const ColorKernels &kernels, int threads,
              void (*work)(const Conversion &, const Band &, float *)) {
    if (c.pictures == 0) return 0;
    const int wanted = c.height / std::max(1, threads * kBandsOfThread / c.pictures);
    const int rows = std::clamp(wanted, kLeastRows, kMostRows) / kMostFactor * kMostFactor;
    const int bands = (c.height + rows - 1) / rows, all = bands * c.pictures;
    threads = std::min(threads, all);
    try {
        const size_t each = kernels.scratch_floats(c);
        std::vector<float> scratch(each * threads);
        take_in_turn(threads, all, [&](int thread, int task) {
            const int top = task % bands * rows;
            work(c, {task / bands, top, std::min(c.height, top + rows)},
                 scratch.data() + each * thread);
        });
        return 0;
    } catch (const std::bad_alloc &) {
        return 1;
    }
}

}  // namespace
}  // namespace lkdn

using namespace lkdn;

// Planes to RGB in [0, 1]. Returns 0, 1 for lack of memory, 2 if the instruction set is not here.
LKDN_EXPORT int lkdn_decode(const char *instructions, const Conversion *c, int threads) {
    const Kernels *kernels = find_kernels(instructions);
    return kernels ? for_bands(*c, kernels->color, threads, kernels->color.decode) : 2;
}

// RGB, clipped to [0, 1] first, to planes. Returns what lkdn_decode does.
LKDN_EXPORT int lkdn_encode(const char *instructions, const Conversion *c, int threads) {
    const Kernels *kernels = find_kernels(instructions);
    return kernels ? for_bands(*c, kernels->color, threads, kernels->color.encode) : 2;
}
