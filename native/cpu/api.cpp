// What lkdn_core/backends/native.py calls, in plain C. Nothing throws.
#include "network.h"
#include "plan.h"
#include "run.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

namespace lkdn {
namespace {

const Kernels *const kAll[] = {
#ifdef LKDN_AVX512_BF16
    &kernels_avx512_bf16,
#endif
#ifdef LKDN_X86
    &kernels_avx512, &kernels_avx2,
#endif
    &kernels_portable};

// Those that this processor has, the best first.
class Usable {
public:
    Usable() {
        for (const Kernels *k : kAll)
            if (k->usable()) found_[count_++] = k;
        if (count_ > 1 && !found_[0]->pays()) std::swap(found_[0], found_[1]);
    }
    const Kernels *const *begin() const { return found_; }
    const Kernels *const *end() const { return found_ + count_; }

private:
    const Kernels *found_[sizeof kAll / sizeof *kAll];
    int count_ = 0;
};

const Usable &usable() {
    static const Usable found;
    return found;
}

// Reads the flat list of weights that native.py writes, in its order.
class Loader {
public:
    Loader(int lanes, const float *from, int64_t count, std::vector<float> &into)
        : lanes_(lanes), next_(from), left_(count), into_(into) {}

    Dense dense(const Stages &stages, int inputs, int outputs, int segments = 1) {
        Dense d;
        const int rows = inputs * segments;
        const float *from = take(size_t(rows) * outputs);
        float *packed = reserve(stages.packed_size(rows, outputs));
        if (from) stages.pack(from, rows, outputs, packed);
        d.inputs = inputs;
        d.vectors = (outputs + lanes_ - 1) / lanes_;
        d.weight = packed;
        d.bias = vector(outputs);
        return d;
    }

    Depthwise depthwise(int taps, int channels) {
        const float *from = take(size_t(taps) * channels);
        const int wide = padded(channels);
        float *to = reserve(size_t(taps) * wide);
        for (int t = 0; from && t < taps; t++)
            std::copy_n(from + size_t(t) * channels, channels, to + size_t(t) * wide);
        return {to, vector(channels)};
    }

    const float *vector(int n) {
        const float *from = take(n);
        float *to = reserve(padded(n));
        if (from) std::copy_n(from, n, to);
        return to;
    }

    float number() {
        const float *from = take(1);
        return from ? *from : 0;
    }

    bool complete() const { return left_ == 0; }

private:
    int padded(int n) const { return (n + lanes_ - 1) / lanes_ * lanes_; }

    const float *take(size_t n) {
        left_ -= static_cast<int64_t>(n);
        const float *from = left_ < 0 ? nullptr : next_;
        next_ += n;
        return from;
    }

    float *reserve(size_t n) {  // at a cache line; `into_` has room enough never to move
        const size_t off = reinterpret_cast<uintptr_t>(into_.data() + into_.size()) / 4 % 16;
        into_.resize(into_.size() + (16 - off) % 16 + n);
        return into_.data() + into_.size() - n;
    }

    const int lanes_;
    const float *next_;
    int64_t left_;
    std::vector<float> &into_;
};

}  // namespace

const Kernels *find_kernels(const char *name) {
    for (const Kernels *k : usable())
        if (!name || !std::strcmp(k->name, name)) return k;
    return nullptr;
}

}  // namespace lkdn

using namespace lkdn;

// A network and the memory its runs have left.
struct lkdn_network {
    const Kernels &kernels;
    const Stages &stages;
    Net net{};
    std::vector<Block> blocks;
    std::vector<float> weights;
    std::mutex mutex;
    std::vector<std::unique_ptr<Workspace>> idle;

    lkdn_network(const Kernels &k, const Stages &s) : kernels(k), stages(s) {
        net.sample = &s == &k.fp32 ? 4 : 2;
    }

    bool load(int channels, int count, int scale, const float *from, int64_t floats) {
        // Every tensor grows by less than 32 lanes a row; this is generous.
        weights.reserve(size_t(floats) * (channels < 32 ? 40 : 2) + 65536);
        Loader l(kernels.lanes, from, floats, weights);
        const int half = channels / 2;
        net.channels = channels;
        net.blocks = count;
        net.scale = scale;
        net.lanes = kernels.lanes;
        net.head = l.dense(kernels.fp32, 9, channels, 3);  // the picture stays in floats
        for (int i = 0; i < count; i++) {
            Block b;
            for (Dense &m : b.merged) m = l.dense(stages, channels, channels + half);
            b.c4 = l.dense(stages, channels, half);
            for (int k = 0; k < 4; k++) b.refine[k] = l.depthwise(9, k < 3 ? channels : half);
            b.c5 = l.dense(stages, 4 * half, channels);
            b.pointwise = l.dense(stages, channels, channels);
            b.small = l.depthwise(25, channels);
            b.large = l.depthwise(25, channels);
            b.c6 = l.dense(stages, channels, channels);
            b.gain = l.vector(channels);
            b.shift = l.vector(channels);
            b.epsilon = l.number();
            b.c1 = l.dense(stages, channels, channels);
            blocks.push_back(b);
        }
        net.c2 = l.dense(stages, channels, channels);
        net.c2_refine = l.depthwise(9, channels);
        net.up = l.dense(stages, channels, 3 * scale * scale, 9);
        net.block = blocks.data();
        return l.complete();
    }

    std::unique_ptr<Workspace> borrow(const Schedule &schedule, int height, int width,
                                      int threads) {
        {
            const std::lock_guard<std::mutex> lock(mutex);
            if (!idle.empty() && idle.back()->fits(height, width, threads)) {
                auto found = std::move(idle.back());
                idle.pop_back();
                return found;
            }
            idle.clear();  // of another size: gone before the new one comes
        }
        return std::make_unique<Workspace>(net, schedule, height, width, threads);
    }

    void give_back(std::unique_ptr<Workspace> used) {
        const std::lock_guard<std::mutex> lock(mutex);
        idle.push_back(std::move(used));
    }
};

// Changes whenever something that Python relies on does, here or in another file with an LKDN_EXPORT.
LKDN_EXPORT int lkdn_abi() { return 10; }

// The instruction sets this processor has, the best first; null past the last.
LKDN_EXPORT const char *lkdn_instructions(int index) {
    for (const Kernels *k : usable())
        if (index-- == 0) return k->name;
    return nullptr;
}

// `precision`: 0 for float32, 1 for bfloat16, 2 for float16; sums are of float32 in all of them. Null if
// the weights are not `floats` numbers, the instruction set is not here, or for memory.
LKDN_EXPORT lkdn_network *lkdn_create(const char *instructions, int channels, int blocks, int scale,
                                      int precision, const float *weights, int64_t floats) {
    const Kernels *kernels = find_kernels(instructions);
    if (!kernels) return nullptr;
    const Stages *const all[] = {&kernels->fp32, &kernels->bf16, &kernels->fp16};
    try {
        auto made = std::make_unique<lkdn_network>(*kernels, *all[precision]);
        return made->load(channels, blocks, scale, weights, floats) ? made.release() : nullptr;
    } catch (const std::bad_alloc &) {
        return nullptr;
    }
}

LKDN_EXPORT void lkdn_destroy(lkdn_network *network) { delete network; }

// Gives back the memory that is kept for the next run.
LKDN_EXPORT void lkdn_release(lkdn_network *network) {
    const std::lock_guard<std::mutex> lock(network->mutex);
    network->idle.clear();
}

// Bytes a run takes; -1 for lack of memory to find out.
LKDN_EXPORT int64_t lkdn_bytes(const lkdn_network *n, int height, int width, int threads) {
    try {
        const Schedule schedule = make_schedule(n->net, width, threads);
        return static_cast<int64_t>(Workspace::bytes(n->net, schedule, height, width, threads));
    } catch (const std::bad_alloc &) {
        return -1;
    }
}

// One picture, planes of RGB to planes of RGB, rows and planes so many floats apart. Returns 0, or 1
// for lack of memory, or 2 where `work` told it to end. `work` is two numbers or null: the first is
// not 0 once it shall end, to the second are added the pixels of the input that are done.
LKDN_EXPORT int lkdn_run(lkdn_network *n, const float *x, int64_t x_row, int64_t x_plane, float *out,
                    int64_t out_row, int64_t out_plane, int height, int width, int threads,
                    volatile int64_t *work) {
    try {
        const Schedule schedule = make_schedule(n->net, width, threads);
        auto workspace = n->borrow(schedule, height, width, threads);
        const Picture picture{x, x_row, x_plane, out, out_row, out_plane, height, width};
        const bool whole = run_picture(n->stages, n->net, schedule, *workspace, picture, threads, work);
        n->give_back(std::move(workspace));
        return whole ? 0 : 2;
    } catch (const std::bad_alloc &) {
        return 1;
    }
}
