// Colour conversion for one instruction set. The loops are plain and left to the compiler, which
// turns them into vectors; all are over whole rows.
#include "color.h"

#include <cstddef>

namespace lkdn {
namespace {

#define INLINE static inline __attribute__((always_inline))

constexpr int kMostTaps = 8;               // that are summed in one go
constexpr int kMostSum = 8 * kMostFactor;  // taps of the longest filter

INLINE int least(int a, int b) { return a < b ? a : b; }
INLINE int most(int a, int b) { return a > b ? a : b; }
// To [0, 1]; what is not a number to 0.
INLINE float clipped(float v) { return v > 0.f ? v > 1.f ? 1.f : v : 0.f; }

// The sample that stands for number i outside [0, n): ... 1 0 | 0 1 ... n-1 | n-1 n-2 ...
INLINE int mirrored(int i, int n) {
    i %= 2 * n;
    if (i < 0) i += 2 * n;
    return i < n ? i : 2 * n - 1 - i;
}

template <class S> INLINE const S *row_of(const Plane &p, int picture, int y) {
    return reinterpret_cast<const S *>(static_cast<const char *>(p.data) + picture * p.picture +
                                       y * p.row);
}

// ---------------------------------------------------------------- sums of rows
template <int T, class S>
static void sum(const S *const *rows, const float *weight, int n, bool add, float *__restrict out) {
    const S *row[T];
    float w[T];
    for (int t = 0; t < T; t++) row[t] = rows[t], w[t] = weight[t];
    if (add)
        for (int x = 0; x < n; x++)
#pragma GCC unroll 8
            for (int t = 0; t < T; t++) out[x] += w[t] * static_cast<float>(row[t][x]);
    else
        for (int x = 0; x < n; x++) {
            float v = 0;
#pragma GCC unroll 8
            for (int t = 0; t < T; t++) v += w[t] * static_cast<float>(row[t][x]);
            out[x] = v;
        }
}

template <class S>
static void weighted(const S *const *rows, const float *weight, int taps, int n, float *out) {
    for (int t = 0; t < taps; t += kMostTaps) {
        const bool add = t > 0;
        switch (least(kMostTaps, taps - t)) {
            case 1: sum<1>(rows + t, weight + t, n, add, out); break;
            case 2: sum<2>(rows + t, weight + t, n, add, out); break;
            case 3: sum<3>(rows + t, weight + t, n, add, out); break;
            case 4: sum<4>(rows + t, weight + t, n, add, out); break;
            case 5: sum<5>(rows + t, weight + t, n, add, out); break;
            case 6: sum<6>(rows + t, weight + t, n, add, out); break;
            case 7: sum<7>(rows + t, weight + t, n, add, out); break;
            default: sum<8>(rows + t, weight + t, n, add, out);
        }
    }
}

// Repeats `n` samples at `row` in mirror image before and behind.
INLINE void pad(float *row, int n, int before, int behind) {
    for (int i = 1; i <= before; i++) row[-i] = row[mirrored(-i, n)];
    for (int i = 0; i < behind; i++) row[n + i] = row[mirrored(n + i, n)];
}

template <int F> static void interleave(const float *const *parts, int n, float *__restrict out) {
    const float *part[F];
    for (int p = 0; p < F; p++) part[p] = parts[p];
    for (int i = 0; i < n; i++)
#pragma GCC unroll 4
        for (int p = 0; p < F; p++) out[i * F + p] = part[p][i];
}

template <int F> static void split(const float *__restrict in, int n, float *const *parts) {
    float *part[F];
    for (int p = 0; p < F; p++) part[p] = parts[p];
    for (int i = 0; i < n; i++)
#pragma GCC unroll 4
        for (int p = 0; p < F; p++) part[p][i] = in[i * F + p];
}

// ---------------------------------------------------------------- planes to RGB
// The chroma of one luma row: summed over rows, then along the row, into `full`.
template <class S>
static void enlarge(const Conversion &c, const Plane &plane, int picture, int y, float *scratch,
                    float *full) {
    const Axis &v = c.vertical, &h = c.horizontal;
    const int height = (c.height + v.factor - 1) / v.factor;
    const int width = (c.width + h.factor - 1) / h.factor;
    const int phase = y % v.factor;
    int first = 0;
    for (int p = 0; p < phase; p++) first += v.counts[p];
    const S *rows[kMostSum];
    for (int t = 0; t < v.counts[phase]; t++)
        rows[t] = row_of<S>(plane, picture, mirrored(y / v.factor + v.index[first + t], height));
    float *line = h.factor == 1 ? full : scratch + h.before;
    weighted(rows, v.weight + first, v.counts[phase], width, line);
    if (h.factor == 1) return;
    pad(line, width, h.before, h.behind);
    const float *parts[kMostFactor], *taps[kMostSum];
    float *next = line + width + h.behind;
    for (int p = 0, t = 0; p < h.factor; p++) {
        const int count = h.counts[p];
        for (int i = 0; i < count; i++) taps[i] = line + h.index[t + i];
        if (count == 1 && h.weight[t] == 1.f) {
            parts[p] = taps[0];
        } else {
            weighted(taps, h.weight + t, count, width, next);
            parts[p] = next;
            next += width;
        }
        t += count;
    }
    if (h.factor == 2) interleave<2>(parts, width, full);
    else interleave<4>(parts, width, full);
}

template <class S>
static void rescale(const S *__restrict in, int n, float scale, float offset,
                    float *__restrict out) {
    for (int x = 0; x < n; x++) out[x] = clipped((static_cast<float>(in[x]) - offset) / scale);
}

// Grey is exactly grey, and white 1: offsets go first, and luma, which counts once, is divided. Red has
// nothing of Cb and blue nothing of Cr, also where those are no numbers.
template <class S>
static void mix(const Conversion &c, int channel, const S *__restrict luma,
                const float *__restrict cb, const float *__restrict cr, float *__restrict out) {
    const float scale = c.scale[0], offset = c.offset[0], cb_offset = c.offset[1],
                cr_offset = c.offset[2];
    const float from_cb = c.matrix[channel][1] / c.scale[1],
                from_cr = c.matrix[channel][2] / c.scale[2];
    const auto with_cb = [&](float y, int x) { return y + (cb[x] - cb_offset) * from_cb; };
    const auto with_cr = [&](float y, int x) { return y + (cr[x] - cr_offset) * from_cr; };
    const auto fill = [&](auto with_chroma) {
        for (int x = 0; x < c.width; x++)
            out[x] = clipped(with_chroma((static_cast<float>(luma[x]) - offset) / scale, x));
    };
    if (from_cb == 0)
        fill(with_cr);
    else if (from_cr == 0)
        fill(with_cb);
    else
        fill([&](float y, int x) { return with_cr(with_cb(y, x), x); });
}

template <class S> static void decode_band(const Conversion &c, const Band &band, float *scratch) {
    const int room = c.width + kMostFactor;
    float *cb = scratch, *cr = scratch + room, *rest = scratch + 2 * room;
    for (int y = band.top; y < band.bottom; y++) {
        float *rgb = c.rgb + band.picture * c.rgb_picture + y * c.rgb_row;
        const S *first = row_of<S>(c.plane[0], band.picture, y);
        if (c.mixed) {
            enlarge<S>(c, c.plane[1], band.picture, y, rest, cb);
            enlarge<S>(c, c.plane[2], band.picture, y, rest, cr);
        }
        for (int i = 0; i < 3; i++) {
            float *out = rgb + i * c.rgb_plane;
            if (c.mixed) {
                mix(c, i, first, cb, cr, out);
            } else {
                const int p = i < c.planes ? i : 0;
                const S *in = row_of<S>(c.plane[p], band.picture, y);
                rescale(in, c.width, c.scale[p], c.offset[p], out);
            }
        }
    }
}

// ---------------------------------------------------------------- RGB to planes
// Rounds halves to the even code: between 2^23 and 2^24 floats are whole numbers.
INLINE float rounded(float v, float limit) {
    constexpr float whole = 12582912.f;
    v = v < 0.f ? 0.f : v > limit ? limit : v;
    return (v + whole) - whole;
}
INLINE void put(float v, float limit, uint8_t *out) {
    *out = static_cast<uint8_t>(static_cast<int>(rounded(v, limit)));
}
INLINE void put(float v, float limit, uint16_t *out) {
    *out = static_cast<uint16_t>(static_cast<int>(rounded(v, limit)));
}
INLINE void put(float v, float, float *out) { *out = v; }

// Values to the samples of plane p.
template <class S>
static void store(const Conversion &c, int p, const float *__restrict in, int n, S *__restrict out) {
    const float scale = c.scale[p], offset = c.offset[p], limit = c.limit;
    for (int x = 0; x < n; x++) put(in[x] * scale + offset, limit, out + x);
}

template <class S>
static void store_clipped(const Conversion &c, int p, const float *__restrict in,
                          S *__restrict out) {
    const float scale = c.scale[p], offset = c.offset[p], limit = c.limit;
    for (int x = 0; x < c.width; x++) put(clipped(in[x]) * scale + offset, limit, out + x);
}

static void weigh(const float *__restrict r, const float *__restrict g, const float *__restrict b,
                  int n, const float *k, float *__restrict out) {
    const float kr = k[0], kg = k[1], kb = k[2];
    for (int x = 0; x < n; x++)
        out[x] = clipped(r[x]) * kr + clipped(g[x]) * kg + clipped(b[x]) * kb;
}

// One row of chroma of plane p, summed over rows before, to `out`.
template <class S>
static void shrink(const Conversion &c, int p, float *line, float *scratch, S *out) {
    const Axis &h = c.horizontal;
    const int width = (c.width + h.factor - 1) / h.factor;
    if (h.factor == 1) return store(c, p, line, width, out);
    // Every `factor`-th sample in a row of its own, so that sums run along rows here too.
    const int before = (h.before + h.factor - 1) / h.factor * h.factor;
    const int behind = h.factor * (width - 1) + h.behind + 1 - c.width;
    pad(line, c.width, before, most(behind, 0));
    const int each = (before + h.factor * (width - 1) + h.behind) / h.factor + 1;
    float *parts[kMostFactor];
    for (int i = 0; i < h.factor; i++) parts[i] = scratch + i * each;
    if (h.factor == 2) split<2>(line - before, each, parts);
    else split<4>(line - before, each, parts);
    const float *taps[kMostSum];
    for (int t = 0; t < h.counts[0]; t++) {
        const int at = before + h.index[t];
        taps[t] = parts[at % h.factor] + at / h.factor;
    }
    float *summed = scratch + h.factor * each;
    weighted(taps, h.weight, h.counts[0], width, summed);
    store(c, p, summed, width, out);
}

template <class S> static void encode_band(const Conversion &c, const Band &band, float *scratch) {
    const float *rgb = c.rgb + band.picture * c.rgb_picture;
    const auto target = [&](int p, int y) {
        return const_cast<S *>(row_of<S>(c.plane[p], band.picture, y));
    };
    if (!c.mixed) {
        for (int p = 0; p < c.planes; p++)
            for (int y = band.top; y < band.bottom; y++)
                store_clipped(c, p, rgb + p * c.rgb_plane + y * c.rgb_row, target(p, y));
        return;
    }
    const Axis &v = c.vertical;
    const int reach = most(v.before, v.behind);
    // Full rows of both chromas, the newest of them, with room beside each for its mirror image.
    const int margin = c.horizontal.before + kMostFactor;
    const int room = c.width + 2 * margin + c.horizontal.behind;
    const int kept = v.before + v.behind + 1 + reach + v.factor;
    float *ring = scratch + margin, *sums = ring + size_t(2) * kept * room;
    float *line = sums, *rest = sums + room;
    const auto chroma_row = [&](int k, int y) { return ring + size_t(2 * (y % kept) + k) * room; };
    int next = most(0, band.top - reach);
    const auto make_row = [&](int y) {
        const float *r = rgb + y * c.rgb_row, *g = r + c.rgb_plane, *b = g + c.rgb_plane;
        if (y >= band.top && y < band.bottom) {
            weigh(r, g, b, c.width, c.matrix[0], line);
            store(c, 0, line, c.width, target(0, y));
        }
        for (int k = 0; k < 2 && c.planes > 1; k++)
            weigh(r, g, b, c.width, c.matrix[k + 1], chroma_row(k, y));
    };
    if (c.planes > 1) {
        const int count = v.counts[0], end = (band.bottom + v.factor - 1) / v.factor;
        for (int i = band.top / v.factor; i < end; i++) {
            const float *rows[kMostSum];
            int last = 0;
            for (int t = 0; t < count; t++)
                last = most(last, mirrored(v.factor * i + v.index[t], c.height));
            for (; next <= last; next++) make_row(next);
            for (int k = 0; k < 2; k++) {
                for (int t = 0; t < count; t++)
                    rows[t] = chroma_row(k, mirrored(v.factor * i + v.index[t], c.height));
                weighted(rows, v.weight, count, c.width, line);
                shrink(c, k + 1, line, rest, target(k + 1, i));
            }
        }
    }
    for (next = most(next, band.top); next < band.bottom; next++) make_row(next);
}

// ---------------------------------------------------------------- the table
size_t scratch_floats(const Conversion &c) {
    const Axis &v = c.vertical, &h = c.horizontal;
    const size_t row = c.width + 4 * kMostFactor + 3 * (h.before + h.behind);
    const size_t kept = v.before + v.behind + 1 + most(v.before, v.behind) + v.factor;
    return row * (2 * kept + 2 + kMostFactor);
}

void decode(const Conversion &c, const Band &band, float *scratch) {
    switch (c.sample) {
        case Sample::u8: return decode_band<uint8_t>(c, band, scratch);
        case Sample::u16: return decode_band<uint16_t>(c, band, scratch);
        case Sample::f32: return decode_band<float>(c, band, scratch);
    }
}

void encode(const Conversion &c, const Band &band, float *scratch) {
    switch (c.sample) {
        case Sample::u8: return encode_band<uint8_t>(c, band, scratch);
        case Sample::u16: return encode_band<uint16_t>(c, band, scratch);
        case Sample::f32: return encode_band<float>(c, band, scratch);
    }
}

}  // namespace

extern const ColorKernels LKDN_COLOR;
const ColorKernels LKDN_COLOR{scratch_floats, decode, encode};

}  // namespace lkdn
