// The polynomials of gelu.h, computed when the library is loaded. Each goes through the Chebyshev points
// of its segment, which keeps it within 1e-8 of the function; the last one is off by 1e-7 at its start.
#include "gelu.h"

#include <cmath>

namespace lkdn {
namespace {

constexpr double kPi = 3.14159265358979323846;

struct alignas(64) Terms {
    float values[kGeluTerms][kGeluSegments];

    Terms() : values{} {
        const double unit = 1 / double(kGeluSegmentsPerUnit);
        const int last = kGeluSegments - 1;
        for (int k = 0; k < last; k++) {
            double t[kGeluTerms], g[kGeluTerms];
            for (int i = 0; i < kGeluTerms; i++) {
                t[i] = .5 * std::cos((i + .5) * kPi / kGeluTerms);
                const double x = (k + t[i]) * unit;
                g[i] = .5 * x * std::erf(x * std::sqrt(.5));
            }
            set(k, t, g);
        }
        values[0][last] = float(.5 * last * unit);
        values[1][last] = float(.5 * unit);
    }

    // Newton's divided differences, then the powers of t.
    void set(int segment, const double *t, double *g) {
        for (int order = 1; order < kGeluTerms; order++)
            for (int i = kGeluTerms - 1; i >= order; i--)
                g[i] = (g[i] - g[i - 1]) / (t[i] - t[i - order]);
        double sum[kGeluTerms] = {};
        for (int i = kGeluTerms - 1; i >= 0; i--) {  // sum = g[i] + (t - t[i]) * sum
            for (int power = kGeluTerms - 1; power > 0; power--)
                sum[power] = sum[power - 1] - t[i] * sum[power];
            sum[0] = g[i] - t[i] * sum[0];
        }
        for (int power = 0; power < kGeluTerms; power++) values[power][segment] = float(sum[power]);
    }
};

const Terms terms;

}  // namespace

extern const float (&gelu_terms)[kGeluTerms][kGeluSegments];
const float (&gelu_terms)[kGeluTerms][kGeluSegments] = terms.values;

}  // namespace lkdn
