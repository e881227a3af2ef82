// GELU for processors that look up 32 floats at once: x * Phi(x) = x / 2 + G(|x|), with a polynomial for
// each segment of G. They are in t = |x| * kGeluSegmentsPerUnit - k, from -1/2 to 1/2 in segment k; the
// last one, from 5.5 on, is |x| / 2 and never ends.
#pragma once

namespace lkdn {

constexpr int kGeluSegments = 32, kGeluTerms = 5;
constexpr float kGeluSegmentsPerUnit = (kGeluSegments - 1.5f) / 5.5f;

// Of each power of t, the factor in every segment.
extern const float (&gelu_terms)[kGeluTerms][kGeluSegments];

}  // namespace lkdn
