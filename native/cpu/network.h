// The network as the kernels see it: weights in the lanes of one instruction set, line buffers, and
// the chain of stages that rows go through. Every pixel is a row of channels (NHWC).
#pragma once
#include "color.h"

#include <cstddef>
#include <cstdint>

namespace lkdn {

struct DepthwiseKernels;  // depthwise.h
struct RowKernels;        // rows.h

// The kernels are compiled for several instruction sets, so that no function they share may be left
// to the linker: it would keep one copy for all.
#define LKDN_INLINE inline __attribute__((always_inline))
// What Python calls.
#ifdef _WIN32
#define LKDN_EXPORT extern "C" __declspec(dllexport)
#else
#define LKDN_EXPORT extern "C" __attribute__((visibility("default")))
#endif

// A dense layer. `weight` is cut into strips of a few vectors of outputs, each [inputs][strip]; or,
// of pairs of bfloat16, [inputs / 2][strip].
struct Dense {
    int inputs = 0, vectors = 0;
    const float *weight = nullptr, *bias = nullptr;
};

// A depth-wise layer: [taps][padded channels].
struct Depthwise {
    const float *weight = nullptr, *bias = nullptr;
};

// One LKDB. `merged` gives [c_r.pw | c_d]; `c1` is its part of the layer over all blocks.
struct Block {
    Dense merged[3], c4, c5, pointwise, c6, c1;
    Depthwise refine[4], small, large;
    const float *gain = nullptr, *shift = nullptr;
    float epsilon = 0;
};

struct Net {
    int channels, blocks, scale, lanes;
    Dense head, c2, up;
    Depthwise c2_refine;
    const Block *block;
    size_t sample;  // bytes of a value between two stages: 4, or 2 for the halves

    LKDN_INLINE int half() const { return channels / 2; }
    LKDN_INLINE int padded(int n) const { return (n + lanes - 1) / lanes * lanes; }
};

// Zeros beside each row, in pixels: as far as any layer reaches.
constexpr int kPad = 6;

// Rows of a map. Tiles make `tall` of them at a time, the first for row -delay and column -shift. The
// next tile down reads the last `lasting` ones: these have a place of their own, `count` in all before
// it comes again. The others pass: they lie in a thread's own memory, from `passing` on, where it makes
// other maps, and the next tiles, as soon as they are read.
struct Ring {
    int tall = 1, delay = 0, shift = 0, lasting = 0, count = 0, depth = 0;
    size_t stride = 0, passing = 0;  // in bytes
    char *kept = nullptr;
    template <class T>
    LKDN_INLINE T *row(int y, char *own) const {
        const int tile = (y + delay) / tall, in = (y + delay) % tall, last = in - tall + lasting;
        char *start = last < 0 ? own + passing + size_t(in) * stride
                               : kept + size_t(tile * lasting + last) % count * stride;
        return reinterpret_cast<T *>(start) + size_t(kPad) * depth;
    }
};

// A stage makes rows of its maps from rows of those before it.
enum class Kind { head, distill, join, small, attend, mix, up };

struct Stage {
    Kind kind;
    int block, index;  // of `distill`: which of the three refinements, from 0
    int delay;         // rows it is behind the input
    int shift;         // columns it is behind the input
};

// What one run works on. `rows` of `height` x `width` RGB come from planes and go to planes.
struct Picture {
    const float *x;
    ptrdiff_t x_row, x_plane;
    float *out;
    ptrdiff_t out_row, out_plane;
    int height, width;
};

// Rows [y0, y1), columns [x0, x1).
struct Part {
    int y0, y1, x0, x1;
};

// `x` is the block's result, of floats in any precision.
struct BlockRings {
    Ring t[4], parts, u, a, b, x;
};

// `first` and `sum` are of floats in any precision.
struct Lines {
    const BlockRings *block;
    Ring first, sum, mixed, last;
    const void *zeros;  // a row outside the picture, from its first pixel on
};

// Pixels of a row that are worked on at once, so that what lies between two layers stays in L1.
constexpr int kSegment = 48;

// The network in one precision.
struct Stages {
    // Floats of a dense layer's strips, and the strips themselves from [inputs][outputs].
    size_t (*packed_size)(int inputs, int outputs);
    void (*pack)(const float *weight, int inputs, int outputs, float *packed);
    // The rows and columns of `part` of a stage, in a thread's own memory, which starts with what
    // one call needs.
    void (*run)(const Net &, const Lines &, const Picture &, const Stage &, const Part &part,
                char *own);
};

// One instruction set.
struct Kernels {
    const char *name;
    int lanes;
    bool (*usable)();
    bool (*pays)();  // where usable: whether it is better than the next one, as measured
    Stages fp32, bf16, fp16;
    const ColorKernels &color;
    const DepthwiseKernels &depthwise;
    const RowKernels &rows;
};

// The one called `name`, the best for null; null if there is none, or this processor can't run it.
const Kernels *find_kernels(const char *name);

extern const Kernels kernels_portable;
#ifdef LKDN_X86
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx512;
#endif
#ifdef LKDN_AVX512_BF16
extern const Kernels kernels_avx512_bf16;
#endif

}  // namespace lkdn
