// The stages of the network for one instruction set. Compiled once for each, with LKDN_LANES floats
// in a vector and LKDN_KERNELS as the name of the table; nothing in it may be shared between them.
#include "dense.h"
#include "network.h"
#include "taps.h"

#include <algorithm>
#include <chrono>
#include <type_traits>

namespace lkdn {
namespace {

// `n` values as To: where they are, or converted in `room`.
template <class To, class From>
INLINE To *as(From *from, int n, float *room) {
    if constexpr (std::is_same_v<To, From>) {
        return from;
    } else {
        auto *to = reinterpret_cast<std::remove_const_t<To> *>(room);
        for (int i = 0; i < n; i += L) store(to + i, load(from + i));
        return to;
    }
}

// T is what lies between stages. The sum over the blocks and what is added to it stay floats.
template <class T>
struct Worker {
    // What dense layers read: T where its products can be taken, else floats.
    using In = std::conditional_t<kAtOnce<T> == 2, T, float>;

    const Net &net;
    const Lines &lines;
    const Picture &picture;
    char *own;  // the thread's memory: `scratch`, then rows that pass
    float *scratch = reinterpret_cast<float *>(own);

    int channels() const { return net.padded(net.channels); }
    int half() const { return net.padded(net.half()); }

    // The scratch memory: first what a dense layer reads, then what it makes.
    In *inputs() const { return reinterpret_cast<In *>(scratch); }
    float *outputs() const { return scratch + (kSegment + 2) * 3 * channels(); }

    const T *row(const Ring &ring, int y) const {
        const bool outside = y < 0 || y >= picture.height;
        return outside ? static_cast<const T *>(lines.zeros) : ring.row<T>(y, own);
    }

    // From row y of a map to the next, in values. What will be written is fetched a row before, a cache
    // line at a time between other work: it is out of the caches nearly everywhere.
    template <class To>
    ptrdiff_t next_row(const Ring &ring, int y) const {
        return ring.row<To>(y + 1, own) - ring.row<To>(y, own);
    }
    template <class To>
    static void put(To *p, V v, ptrdiff_t next) {
        store(p, v);
        __builtin_prefetch(p + next, 1);
    }

    template <class Out>
    void apply(const Dense &layer, const In *x, int ldx, int pixels, Out *y, int ldy,
               const Soon &soon = {}) const {
        dense(layer.weight, layer.bias, layer.vectors, &x, 1, layer.inputs, ldx, pixels, y, ldy, soon);
    }

    // Row y of a map from pixel `from` on; nothing if it lies outside the picture.
    template <class Value>
    Soon soon(const Ring &ring, int y, int from) const {
        if (y < 0 || y >= picture.height) return {};
        const Value *start = ring.row<Value>(y, own) + ptrdiff_t(from) * ring.depth;
        return {reinterpret_cast<const char *>(start), ring.depth * sizeof(Value)};
    }

    // What `attend` will read for the first time in its part of this tile, when `here` is at row y and
    // pixel `from`, of a map of which it sees `reach` pixels around: most of it is another tile's.
    Soon far(const Ring &ring, int reach, const BlockRings &rings, const Ring &here, int y,
             int from) const {
        return soon<T>(ring, y + here.delay - rings.x.delay - reach,
                       from + here.shift - rings.x.shift + reach);
    }

    // [c_r.pw | c_d] of what is in `x`: one half to the next refinement, one to the parts of c5.
    void merge(int block, int index, const In *x, int y, int from, int pixels,
               Soon soon = {}) const {
        const Dense &layer = net.block[block].merged[index];
        const BlockRings &rings = lines.block[block];
        const int ld = layer.vectors * L, c = channels(), together = turn(layer.vectors);
        float *both = outputs();
        const Ring &next = rings.t[index], &parts = rings.parts;
        T *t = next.row<T>(y, own) + size_t(from) * next.depth;
        T *part = parts.row<T>(y, own) + size_t(from) * parts.depth + index * net.half();
        const ptrdiff_t next_t = next_row<T>(next, y), next_part = next_row<T>(parts, y);
        for (int left = pixels; left > 0; left -= together) {
            const int n = left < together ? left : together;
            apply(layer, x, c, n, both, ld, soon);
            for (int p = 0; p < n; p++) {
                for (int z = 0; z < c; z += L)
                    put(t + p * next.depth + z, load(both + p * ld + z), next_t);
                // Lanes past the half are the next part's place, which is filled later.
                for (int z = 0; z < half(); z += L)
                    put(part + p * parts.depth + z, gelu(load(both + p * ld + net.channels + z)),
                        next_part);
            }
            x += n * c, t += n * next.depth, part += n * parts.depth;
            if (soon.row) soon.row += n * soon.pixel;
        }
    }

    template <int Size, int Dilation, class Emit>
    void refine(const Depthwise &layer, const Ring &ring, int y, int from, int pixels,
                Emit emit) const {
        const T *rows[Size];
        for (int k = 0; k < Size; k++) rows[k] = row(ring, y + Dilation * (k - Size / 2));
        depthwise<Size, Dilation>(rows, ring.depth, layer.weight, layer.bias, ring.depth, from,
                                  pixels, emit);
    }

    // The head, a dense 3x3 on RGB, and the first block's first layer.
    void head(int y, int from, int pixels) const {
        const int c = channels(), wide = pixels + 2;
        float *rgb = scratch;  // three rows of pixels from - 1 on
        const float *rows[3] = {rgb, rgb + 3 * wide, rgb + 6 * wide};
        for (int k = 0; k < 3; k++)
            for (int i = 0; i < wide; i++) {
                const int yy = y + k - 1, xx = from + i - 1;
                const bool inside =
                    yy >= 0 && yy < picture.height && xx >= 0 && xx < picture.width;
                const float *in = picture.x + yy * picture.x_row + xx;
                for (int z = 0; z < 3; z++)
                    rgb[3 * (k * wide + i) + z] = inside ? in[z * picture.x_plane] : 0.f;
            }
        float *x = lines.first.row<float>(y, own) + size_t(from) * c;
        dense(net.head.weight, net.head.bias, net.head.vectors, rows, 3, 9, 3, pixels, x, c);
        merge(0, 0, as<In>(x, pixels * c, scratch), y, from, pixels);
    }

    void distill(int block, int index, int y, int from, int pixels) const {
        const Block &w = net.block[block];
        const BlockRings &rings = lines.block[block];
        const int c = channels();
        refine<3, 1>(w.refine[index], rings.t[index], y, from, pixels, [&](int x, int z, V v) {
            store(inputs() + (x - from) * c + z, gelu(v));
        });
        if (index < 2) {
            const Ring &made = rings.t[index + 1];
            const Soon later = index ? far(rings.u, 0, rings, made, y, from)
                                     : far(rings.b, 6, rings, made, y, from);
            return merge(block, index + 1, inputs(), y, from, pixels, later);
        }
        const Ring &t = rings.t[3];
        apply(w.c4, inputs(), c, pixels, t.row<T>(y, own) + size_t(from) * t.depth, t.depth);
    }

    // The fourth part, c5 over all four, and the attention's 1x1.
    void join(int block, int y, int from, int pixels) const {
        const Block &w = net.block[block];
        const BlockRings &rings = lines.block[block];
        const int ld = rings.parts.depth, c = channels();
        T *three = rings.parts.row<T>(y, own) + size_t(from) * ld;
        In *parts = as<In>(three, pixels * ld, scratch);
        refine<3, 1>(w.refine[3], rings.t[3], y, from, pixels, [&](int x, int z, V v) {
            store(parts + size_t(x - from) * ld + 3 * net.half() + z, gelu(v));
        });
        T *u = rings.u.row<T>(y, own) + size_t(from) * c;
        T *a = rings.a.row<T>(y, own) + size_t(from) * c;
        apply(w.c5, parts, ld, pixels, u, c, soon<T>(rings.u, y + 1, from));
        apply(w.pointwise, as<In>(u, pixels * c, scratch), c, pixels, a, c,
              soon<T>(rings.a, y + 1, from));
    }

    void small(int block, int y, int from, int pixels) const {
        const BlockRings &rings = lines.block[block];
        T *b = rings.b.row<T>(y, own);
        const ptrdiff_t next = next_row<T>(rings.b, y);
        refine<5, 1>(net.block[block].small, rings.a, y, from, pixels, [&](int x, int z, V v) {
            put(b + size_t(x) * rings.b.depth + z, v, next);
        });
    }

    // The rest of a block, its share in c1, and the first layer of what follows.
    void attend(int block, int y, int from, int pixels) const {
        const Block &w = net.block[block];
        const BlockRings &rings = lines.block[block];
        const int c = channels();
        const T *u = rings.u.row<T>(y, own);
        refine<5, 3>(w.large, rings.b, y, from, pixels, [&](int x, int z, V v) {
            store(inputs() + (x - from) * c + z, v * load(u + size_t(x) * c + z));
        });
        const Ring &before = block ? lines.block[block - 1].x : lines.first;
        float *norm = outputs();
        apply(w.c6, inputs(), c, pixels, norm, c, soon<float>(before, y + 1, from));
        const float *x = before.row<float>(y, own) + size_t(from) * c;
        float *out = rings.x.row<float>(y, own) + size_t(from) * c;
        const ptrdiff_t next_out = next_row<float>(rings.x, y);
        for (int p = 0; p < pixels; p++) {
            V squares = splat(0.f);
            for (int z = 0; z < c; z += L) {
                const V v = load(norm + p * c + z);
                squares += v * v;
            }
            const V r = splat(1.f / __builtin_sqrtf(sum(squares) / float(net.channels) + w.epsilon));
            for (int z = 0; z < c; z += L)
                put(out + p * c + z, load(norm + p * c + z) * r * load(w.gain + z) +
                                         load(w.shift + z) + load(x + p * c + z), next_out);
        }
        const In *made = as<In>(out, pixels * c, scratch);
        float *sums = lines.sum.row<float>(y, own) + size_t(from) * c;
        const Soon next_sums = soon<float>(lines.sum, y + 1, from);
        if (block == 0)
            apply(w.c1, made, c, pixels, sums, c, next_sums);
        else
            dense<true>(w.c1.weight, w.c1.bias, w.c1.vectors, &made, 1, w.c1.inputs, c, pixels,
                        sums, c, next_sums);
        if (block + 1 < net.blocks) return merge(block + 1, 0, made, y, from, pixels);
        for (int i = 0; i < pixels * c; i += L) store(inputs() + i, gelu(load(sums + i)));
        apply(net.c2, inputs(), c, pixels, lines.mixed.row<T>(y, own) + size_t(from) * c, c);
    }

    void mix(int y, int from, int pixels) const {
        const int c = channels();
        const float *first = lines.first.row<float>(y, own);
        T *last = lines.last.row<T>(y, own);
        refine<3, 1>(net.c2_refine, lines.mixed, y, from, pixels, [&](int x, int z, V v) {
            store(last + size_t(x) * c + z, v + load(first + size_t(x) * c + z));
        });
    }

    // The upsampler, a dense 3x3, and the pixel shuffle; its outputs come as [row][RGB][column].
    void up(int y, int from, int pixels) const {
        const int c = channels(), ld = net.up.vectors * L, s = net.scale;
        const int wide = (pixels + 2) * c;
        const In *x[9];
        for (int k = 0; k < 9; k++) {
            if (k % 3 == 0)
                x[k] = as<const In>(row(lines.last, y + k / 3 - 1) + ptrdiff_t(from - 1) * c, wide,
                                    scratch + k / 3 * wide);
            else
                x[k] = x[k - 1] + c;
        }
        float *all = outputs();
        dense(net.up.weight, net.up.bias, net.up.vectors, x, 9, net.channels, c, pixels, all, ld);
        for (int i = 0; i < s; i++)
            for (int z = 0; z < 3; z++) {
                float *out = picture.out + z * picture.out_plane +
                             (ptrdiff_t(y) * s + i) * picture.out_row + ptrdiff_t(from) * s;
                const float *in = all + (i * 3 + z) * s;
                for (int p = 0; p < pixels; p++)
                    for (int j = 0; j < s; j++) out[p * s + j] = in[p * ld + j];
            }
    }
};

template <class T>
void run(const Net &net, const Lines &lines, const Picture &picture, const Stage &stage,
         const Part &part, char *own) {
    const Worker<T> w{net, lines, picture, own};
    for (int from = part.x0; from < part.x1; from += kSegment) {
        const int left = part.x1 - from, pixels = left < kSegment ? left : kSegment;
        for (int y = part.y0; y < part.y1; y++) switch (stage.kind) {
                case Kind::head: w.head(y, from, pixels); break;
                case Kind::distill: w.distill(stage.block, stage.index, y, from, pixels); break;
                case Kind::join: w.join(stage.block, y, from, pixels); break;
                case Kind::small: w.small(stage.block, y, from, pixels); break;
                case Kind::attend: w.attend(stage.block, y, from, pixels); break;
                case Kind::mix: w.mix(y, from, pixels); break;
                case Kind::up: w.up(y, from, pixels); break;
            }
    }
}

template <class T>
constexpr Stages stages{packed_size<typename Worker<T>::In>, pack<typename Worker<T>::In>, run<T>};

bool usable() {
#ifdef __AVX512F__
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
#ifdef __AVX512BF16__
           __builtin_cpu_supports("avx512bf16") &&
#endif
           __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2");
#elif defined __AVX2__
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return true;
#endif
}

#ifdef __AVX512BF16__
// Seconds for some thousand products.
template <class T>
double products() {
    V sums[8] = {}, x = splat(1.f);
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < 1000; i++) {
#pragma GCC unroll 8
        for (V &s : sums) s = add_product(s, x, x, static_cast<const T *>(nullptr));
        asm volatile("" : "+v"(x));
    }
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    for (V &s : sums) asm volatile("" : : "v"(s));
    return taken.count();
}

// A pair's two products take one, one and a half or four times as long as a multiply-add, which
// depends on the processor. Both are tried in turn, many times: no other process must decide it.
bool pays() {
    double pairs = 1, single = 1;
    for (int round = 0; round < 100; round++) {
        pairs = std::min(pairs, products<bf16>());
        single = std::min(single, products<float>());
    }
    return pairs < 1.75 * single;
}
#else
bool pays() { return true; }
#endif

}  // namespace

extern const ColorKernels LKDN_COLOR;
extern const DepthwiseKernels LKDN_DEPTHWISE;
extern const RowKernels LKDN_ROWS;
extern const Kernels LKDN_KERNELS;
const Kernels LKDN_KERNELS{
    LKDN_NAME, L, usable, pays, stages<float>, stages<bf16>, stages<fp16>,
    LKDN_COLOR, LKDN_DEPTHWISE, LKDN_ROWS};

}  // namespace lkdn
