// Digits 64-64-10 learned from the sum of a list of images, with the derivative and Adam by hand. The first layer's
// weights lie transposed, so that all loops run along rows of hidden units. Compiled with -ffast-math.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

constexpr int IN = 64, WIDTH = 64, OUT = 10, MOST = 16;
constexpr float RATE = 1e-3f, FIRST = 0.9f, SECOND = 0.999f, TINY = 1e-8f;

struct Weights {
    alignas(64) float w1[IN][WIDTH], b1[WIDTH], w2[OUT][WIDTH], b2[OUT];
};
constexpr int COUNT = sizeof(Weights) / sizeof(float);

// The expected digit of an image; `h` and `p` are kept for the derivative.
float expected(const Weights& w, const float* x, float* h, float* p) {
    std::memcpy(h, w.b1, sizeof w.b1);
    for (int i = 0; i < IN; ++i)
        for (int o = 0; o < WIDTH; ++o) h[o] += x[i] * w.w1[i][o];
    for (int o = 0; o < WIDTH; ++o) h[o] = std::max(h[o], 0.0f);
    float top = -1e30f, total = 0, value = 0;
    for (int k = 0; k < OUT; ++k) {
        float sum = w.b2[k];
        for (int o = 0; o < WIDTH; ++o) sum += h[o] * w.w2[k][o];
        p[k] = sum;
        top = std::max(top, sum);
    }
    for (int k = 0; k < OUT; ++k) total += p[k] = std::exp(p[k] - top);
    for (int k = 0; k < OUT; ++k) value += float(k) * (p[k] /= total);
    return value;
}

// Adds `d` times the derivative of the expected digit.
void backward(const Weights& w, const float* x, const float* h, const float* p, float value, float d, Weights& g) {
    alignas(64) float dh[WIDTH] = {};
    for (int k = 0; k < OUT; ++k) {
        const float dy = d * p[k] * (float(k) - value);
        g.b2[k] += dy;
        for (int o = 0; o < WIDTH; ++o) g.w2[k][o] += dy * h[o], dh[o] += dy * w.w2[k][o];
    }
    for (int o = 0; o < WIDTH; ++o) dh[o] = h[o] > 0 ? dh[o] : 0;
    for (int o = 0; o < WIDTH; ++o) g.b1[o] += dh[o];
    for (int i = 0; i < IN; ++i)
        for (int o = 0; o < WIDTH; ++o) g.w1[i][o] += x[i] * dh[o];
}

}  // namespace

extern "C" {

// A step for each of `lists` lists of `length` images; the sum of losses.
float digits_epoch(const float* w1, const float* b1, const float* w2, const float* b2, int64_t lists, int64_t length,
                   const float* images, const float* answers) {
    static Weights w, g, m, v;
    std::memset(&m, 0, sizeof m);
    std::memset(&v, 0, sizeof v);
    for (int o = 0; o < WIDTH; ++o)
        for (int i = 0; i < IN; ++i) w.w1[i][o] = w1[o * IN + i];
    std::memcpy(w.b1, b1, sizeof w.b1);
    std::memcpy(w.w2, w2, sizeof w.w2);
    std::memcpy(w.b2, b2, sizeof w.b2);
    float total = 0, first = 1, second = 1;
    alignas(64) static float h[MOST][WIDTH], p[MOST][OUT], values[MOST];
    for (int64_t step = 0; step < lists; ++step) {
        const float* x = images + step * length * IN;
        float found = 0;
        for (int64_t i = 0; i < length; ++i) found += values[i] = expected(w, x + i * IN, h[i], p[i]);
        const float off = found - answers[step];
        total += off * off;
        std::memset(&g, 0, sizeof g);
        for (int64_t i = length; i-- > 0;) backward(w, x + i * IN, h[i], p[i], values[i], 2 * off, g);
        first *= FIRST, second *= SECOND;
        const float rate = RATE / (1 - first), scale = 1 / (1 - second);
        float *wf = w.w1[0], *gf = g.w1[0], *mf = m.w1[0], *vf = v.w1[0];
        for (int i = 0; i < COUNT; ++i) {
            mf[i] = FIRST * mf[i] + (1 - FIRST) * gf[i];
            vf[i] = SECOND * vf[i] + (1 - SECOND) * gf[i] * gf[i];
            wf[i] -= rate * mf[i] / (std::sqrt(vf[i] * scale) + TINY);
        }
    }
    return total;
}
}
