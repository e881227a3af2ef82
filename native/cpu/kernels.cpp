// The stages of the network for one instruction set. Compiled once for each, with LKDN_LANES floats
// in a vector and LKDN_KERNELS as the name of the table; nothing in it may be shared between them.
#include "network.h"
#include "vectors.h"

namespace lkdn {
namespace {

struct Worker {
    const Net &net;
    const Lines &lines;
    const Picture &picture;
    float *scratch;

    int channels() const { return net.padded(net.channels); }
    int half() const { return net.padded(net.half()); }

    const float *row(const Ring &ring, int y) const {
        return y < 0 || y >= picture.height ? lines.zeros : ring.row(y);
    }

    void apply(const Dense &layer, const float *x, int ldx, int pixels, float *y, int ldy) const {
        dense(layer.weight, layer.bias, layer.vectors, &x, 1, layer.inputs, ldx, pixels, y, ldy);
    }

    // [c_r.pw | c_d] of what is in `x`: one half to the next refinement, one to the parts of c5.
    void merge(int block, int index, const float *x, int ldx, int y, int from, int pixels) const {
        const Dense &layer = net.block[block].merged[index];
        const BlockRings &rings = lines.block[block];
        const int ld = layer.vectors * L, c = channels();
        float *both = scratch + kSegment * c;
        apply(layer, x, ldx, pixels, both, ld);
        const Ring &next = rings.t[index];
        float *t = next.row(y) + size_t(from) * next.depth;
        float *part = rings.parts.row(y) + size_t(from) * rings.parts.depth + index * net.half();
        for (int p = 0; p < pixels; p++) {
            for (int z = 0; z < c; z += L) store(t + p * next.depth + z, load(both + p * ld + z));
            // Lanes past the half are the next part's place, which is filled later.
            for (int z = 0; z < half(); z += L)
                store(part + p * rings.parts.depth + z,
                      gelu(load(both + p * ld + net.channels + z)));
        }
    }

    template <int Size, int Dilation, class Emit>
    void refine(const Depthwise &layer, const Ring &ring, int y, int from, int pixels,
                Emit emit) const {
        const float *rows[Size];
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
        float *x = lines.first.row(y) + size_t(from) * c;
        dense(net.head.weight, net.head.bias, net.head.vectors, rows, 3, 9, 3, pixels, x, c);
        merge(0, 0, x, c, y, from, pixels);
    }

    void distill(int block, int index, int y, int from, int pixels) const {
        const Block &w = net.block[block];
        const BlockRings &rings = lines.block[block];
        const int c = channels();
        refine<3, 1>(w.refine[index], rings.t[index], y, from, pixels, [&](int x, int z, V v) {
            store(scratch + (x - from) * c + z, gelu(v));
        });
        if (index < 2) return merge(block, index + 1, scratch, c, y, from, pixels);
        const Ring &t = rings.t[3];
        apply(w.c4, scratch, c, pixels, t.row(y) + size_t(from) * t.depth, t.depth);
    }

    // The fourth part, and [c5 | pointwise] over all four.
    void join(int block, int y, int from, int pixels) const {
        const Block &w = net.block[block];
        const BlockRings &rings = lines.block[block];
        const int ld = rings.parts.depth, c = channels();
        float *parts = rings.parts.row(y) + size_t(from) * ld;
        refine<3, 1>(w.refine[3], rings.t[3], y, from, pixels, [&](int x, int z, V v) {
            store(parts + size_t(x - from) * ld + 3 * net.half() + z, gelu(v));
        });
        const int wide = w.c5.vectors * L;
        apply(w.c5, parts, ld, pixels, scratch, wide);
        float *u = rings.u.row(y) + size_t(from) * c, *a = rings.a.row(y) + size_t(from) * c;
        for (int p = 0; p < pixels; p++)
            for (int z = 0; z < c; z += L) {
                store(u + p * c + z, load(scratch + p * wide + z));
                store(a + p * c + z, load(scratch + p * wide + net.channels + z));
            }
    }

    void small(int block, int y, int from, int pixels) const {
        const BlockRings &rings = lines.block[block];
        float *b = rings.b.row(y);
        refine<5, 1>(net.block[block].small, rings.a, y, from, pixels, [&](int x, int z, V v) {
            store(b + size_t(x) * rings.b.depth + z, v);
        });
    }

    // The rest of a block, its share in c1, and the first layer of what follows.
    void attend(int block, int y, int from, int pixels) const {
        const Block &w = net.block[block];
        const BlockRings &rings = lines.block[block];
        const int c = channels();
        const float *u = rings.u.row(y);
        refine<5, 3>(w.large, rings.b, y, from, pixels, [&](int x, int z, V v) {
            store(scratch + (x - from) * c + z, v * load(u + size_t(x) * c + z));
        });
        float *norm = scratch + kSegment * c;
        apply(w.c6, scratch, c, pixels, norm, c);
        const Ring &before = block ? lines.block[block - 1].x : lines.first;
        const float *x = before.row(y) + size_t(from) * c;
        float *out = rings.x.row(y) + size_t(from) * c;
        for (int p = 0; p < pixels; p++) {
            V squares = splat(0.f);
            for (int z = 0; z < c; z += L) {
                const V v = load(norm + p * c + z);
                squares += v * v;
            }
            const V r = splat(1.f / __builtin_sqrtf(sum(squares) / float(net.channels) + w.epsilon));
            for (int z = 0; z < c; z += L)
                store(out + p * c + z, load(norm + p * c + z) * r * load(w.gain + z) +
                                           load(w.shift + z) + load(x + p * c + z));
        }
        float *sums = lines.sum.row(y) + size_t(from) * c;
        if (block == 0)
            apply(w.c1, out, c, pixels, sums, c);
        else
            dense<true>(w.c1.weight, w.c1.bias, w.c1.vectors, &out, 1, w.c1.inputs, c, pixels,
                        sums, c);
        if (block + 1 < net.blocks) return merge(block + 1, 0, out, c, y, from, pixels);
        for (int i = 0; i < pixels * c; i += L) store(scratch + i, gelu(load(sums + i)));
        apply(net.c2, scratch, c, pixels, lines.mixed.row(y) + size_t(from) * c, c);
    }

    void mix(int y, int from, int pixels) const {
        const int c = channels();
        const float *first = lines.first.row(y);
        float *last = lines.last.row(y);
        refine<3, 1>(net.c2_refine, lines.mixed, y, from, pixels, [&](int x, int z, V v) {
            store(last + size_t(x) * c + z, v + load(first + size_t(x) * c + z));
        });
    }

    // The upsampler, a dense 3x3, and the pixel shuffle; its outputs come as [row][RGB][column].
    void up(int y, int from, int pixels) const {
        const int c = channels(), ld = net.up.vectors * L, s = net.scale;
        const float *x[9];
        for (int k = 0; k < 9; k++)
            x[k] = row(lines.last, y + k / 3 - 1) + ptrdiff_t(from + k % 3 - 1) * c;
        dense(net.up.weight, net.up.bias, net.up.vectors, x, 9, net.channels, c, pixels, scratch,
              ld);
        for (int i = 0; i < s; i++)
            for (int z = 0; z < 3; z++) {
                float *out = picture.out + z * picture.out_plane +
                             (ptrdiff_t(y) * s + i) * picture.out_row + ptrdiff_t(from) * s;
                const float *in = scratch + (i * 3 + z) * s;
                for (int p = 0; p < pixels; p++)
                    for (int j = 0; j < s; j++) out[p * s + j] = in[p * ld + j];
            }
    }
};

void run(const Net &net, const Lines &lines, const Picture &picture, const Stage &stage,
         const Part &part, float *scratch) {
    const Worker w{net, lines, picture, scratch};
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

size_t packed_size(int inputs, int outputs) {
    return size_t(inputs) * ((outputs + L - 1) / L * L);
}

void pack(const float *weight, int inputs, int outputs, float *packed) {
    const int vectors = (outputs + L - 1) / L;
    for (int v = 0; v < vectors;) {
        const int n = strip_width(vectors - v);
        for (int k = 0; k < inputs; k++)
            for (int i = 0; i < n * L; i++) {
                const int o = v * L + i;
                *packed++ = o < outputs ? weight[size_t(k) * outputs + o] : 0.f;
            }
        v += n;
    }
}

bool usable() {
#if LKDN_LANES == 16
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2");
#elif LKDN_LANES == 8
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return true;
#endif
}

}  // namespace

extern const DepthwiseKernels LKDN_DEPTHWISE;
extern const Kernels LKDN_KERNELS;
const Kernels LKDN_KERNELS{
    LKDN_NAME, L, usable, packed_size, pack, run, LKDN_COLOR, LKDN_DEPTHWISE};

}  // namespace lkdn
