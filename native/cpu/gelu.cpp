// The cubics of gelu.h, computed when the library is loaded. Each goes through four Chebyshev points of
// its segment, which keeps it within 5e-7 of the function.
#include "gelu.h"

#include <cmath>

namespace lkdn {
namespace {

constexpr int kTerms = 4;
constexpr double kPi = 3.14159265358979323846;

struct alignas(64) Terms {
    float values[kTerms][kGeluSegments];

    Terms() {
        for (int k = 0; k < kGeluSegments; k++) {
            double t[kTerms], g[kTerms];
            for (int i = 0; i < kTerms; i++) {
                t[i] = .5 * std::cos((i + .5) * kPi / kTerms);
                const double x = (k + t[i]) / double(kGeluSegmentsPerUnit);
                g[i] = k + 1 < kGeluSegments ? .5 * x * std::erf(x * std::sqrt(.5)) : .5 * x;
            }
            set(k, t, g);
        }
    }

    // Newton's divided differences, then the powers of t.
    void set(int segment, const double *t, double *g) {
        for (int order = 1; order < kTerms; order++)
            for (int i = kTerms - 1; i >= order; i--) g[i] = (g[i] - g[i - 1]) / (t[i] - t[i - order]);
        double sum[kTerms] = {};
        for (int i = kTerms - 1; i >= 0; i--) {  // sum = g[i] + (t - t[i]) * sum
            for (int power = kTerms - 1; power > 0; power--)
                sum[power] = sum[power - 1] - t[i] * sum[power];
            sum[0] = g[i] - t[i] * sum[0];
        }
        for (int power = 0; power < kTerms; power++) values[power][segment] = float(sum[power]);
    }
};

const Terms terms;

}  // namespace

extern const float (&gelu_terms)[4][kGeluSegments];
const float (&gelu_terms)[4][kGeluSegments] = terms.values;

}  // namespace lkdn
