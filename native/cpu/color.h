// Planes to RGB and back, as lkdn_core/color.py describes it: that file has the formulas.
#pragma once
#include <cstddef>
#include <cstdint>

namespace lkdn {

// Samples of one kind in a batch of pictures: bytes from row to row and from picture to picture.
struct Plane {
    void *data;
    int64_t row, picture;
};

constexpr int kMostFactor = 4;

// How chroma is resampled along one axis: `factor` luma samples (1, 2 or 4) share a chroma sample.
// There is a sum of `counts[p]` taps for each phase p; `index` and `weight` hold one phase after the
// other, and `index` lies in [-before, behind].
struct Axis {
    int32_t factor, before, behind;
    const int32_t *counts, *index;
    const float *weight;
};

enum class Sample : int32_t { u8, u16, f32 };

// One conversion. A sample of plane k is offset[k] + scale[k] * value. `matrix` makes values of RGB,
// or RGB of values; where it is not `mixed`, a channel is the plane of its number. Integers are
// rounded and clipped to `limit`.
struct Conversion {
    int32_t pictures, height, width, planes;
    Sample sample;
    int32_t mixed;
    float limit;
    float matrix[3][3], scale[3], offset[3];
    Plane plane[3];
    float *rgb;
    int64_t rgb_row, rgb_plane, rgb_picture;  // in floats
    Axis vertical, horizontal;
};

// Luma rows [top, bottom) of one picture. `top` is a multiple of the vertical factor.
struct Band {
    int picture, top, bottom;
};

// One instruction set. `scratch` has room for `scratch_floats`.
struct ColorKernels {
    size_t (*scratch_floats)(const Conversion &);
    void (*decode)(const Conversion &, const Band &, float *scratch);
    void (*encode)(const Conversion &, const Band &, float *scratch);
};

}  // namespace lkdn
