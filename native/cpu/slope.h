// GELU with its slope, for training.
#pragma once
#include "vectors.h"

// e to the power of x, for x from -87 to 0, within 2e-6 of its size.
INLINE V exponential(V x) {
    const V magic = splat(12582912.f);  // added, it leaves the nearest integer in the lowest bits
    const V turns = x * splat(1.44269504088896341f), whole = turns + magic, t = turns - (whole - magic);
    V p = splat(1.5403530e-4f);  // 2 to the power of t, from -1/2 to 1/2
    p = p * t + splat(1.3333558e-3f);
    p = p * t + splat(9.6181291e-3f);
    p = p * t + splat(5.5504109e-2f);
    p = p * t + splat(2.4022651e-1f);
    p = p * t + splat(6.9314718e-1f);
    p = p * t + splat(1.f);
    return p * (V)(((Bits)whole << 23) + 0x3f800000u);
}

// x * Phi(x) and its slope, Phi(x) + x * phi(x), both off by less than 1e-6.
INLINE V gelu(V x, V *slope) {
    const V half = splat(.5f), cumulative = half * error_function(x) + half;
    const V least = splat(-80.f);
    const V density = exponential(larger(least, x * x * splat(-.5f))) * splat(.39894228040143268f);
    *slope = cumulative + x * density;
    return x * cumulative;
}
