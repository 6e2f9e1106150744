// The TreeLSTM of trees.py with its derivative and Adam by hand: g++ -O3 -march=native -ffast-math -shared -fPIC. What
// all nodes add to the weights' derivative is added up after the tree, so that a row of it stays in the first cache.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int D = 150, G = 5 * D, X = 2 * D, CLASSES = 5;

struct Node {
    int64_t word, left, right;  // a word, or -1 and two nodes before this one
};

struct State {
    float h[D], c[D], dh[D], dc[D];
};

float sigmoid(float v) { return 1 / (1 + std::exp(-v)); }

}  // namespace

extern "C" {

// Parameters in the order embed (vocab x D), head (CLASSES x D), its bias, w (G x X), b. Returns the loss; adds to g.
float tree_gradient(const Node* nodes, int64_t n, int64_t label, int64_t vocab, const float* p, float* g) {
    const float *embed = p, *head = embed + vocab * D, *bias = head + CLASSES * D, *w = bias + CLASSES, *b = w + G * X;
    float *gembed = g, *ghead = gembed + vocab * D, *gbias = ghead + CLASSES * D, *gw = gbias + CLASSES, *gb = gw + G * X;
    static std::vector<State> state;
    static std::vector<float> inputs, gates, dgates;
    state.resize(n), inputs.resize(n * X), gates.resize(n * G), dgates.resize(n * G);
    for (int64_t t = 0; t < n; t++) {
        State& s = state[t];
        std::memset(s.dh, 0, sizeof s.dh), std::memset(s.dc, 0, sizeof s.dc);
        if (nodes[t].word >= 0) {
            std::memcpy(s.h, embed + nodes[t].word * D, sizeof s.h);
            std::memset(s.c, 0, sizeof s.c);
            continue;
        }
        const State &l = state[nodes[t].left], &r = state[nodes[t].right];
        float *x = &inputs[t * X], *a = &gates[t * G];
        std::memcpy(x, l.h, sizeof l.h), std::memcpy(x + D, r.h, sizeof r.h);
        for (int j = 0; j < G; j++) {
            float sum = b[j];
            for (int k = 0; k < X; k++) sum += w[j * X + k] * x[k];
            a[j] = sum;
        }
        for (int i = 0; i < 4 * D; i++) a[i] = sigmoid(a[i]);
        for (int i = 4 * D; i < G; i++) a[i] = std::tanh(a[i]);
        for (int i = 0; i < D; i++) {
            s.c[i] = a[i] * a[4 * D + i] + a[D + i] * l.c[i] + a[2 * D + i] * r.c[i];
            s.h[i] = a[3 * D + i] * std::tanh(s.c[i]);
        }
    }
    State& root = state[n - 1];
    float logits[CLASSES], top = -1e30f, total = 0;
    for (int k = 0; k < CLASSES; k++) {
        logits[k] = bias[k];
        for (int i = 0; i < D; i++) logits[k] += head[k * D + i] * root.h[i];
        top = std::fmax(top, logits[k]);
    }
    for (int k = 0; k < CLASSES; k++) total += std::exp(logits[k] - top);
    for (int k = 0; k < CLASSES; k++) {
        const float d = std::exp(logits[k] - top) / total - (k == label);
        gbias[k] += d;
        for (int i = 0; i < D; i++) ghead[k * D + i] += d * root.h[i], root.dh[i] += d * head[k * D + i];
    }
    for (int64_t t = n; t-- > 0;) {
        State& s = state[t];
        if (nodes[t].word >= 0) {
            for (int i = 0; i < D; i++) gembed[nodes[t].word * D + i] += s.dh[i];
            continue;
        }
        State &l = state[nodes[t].left], &r = state[nodes[t].right];
        const float* a = &gates[t * G];
        float* d = &dgates[t * G];
        for (int i = 0; i < D; i++) {
            const float ti = std::tanh(s.c[i]), o = a[3 * D + i];
            const float dc = s.dc[i] + s.dh[i] * o * (1 - ti * ti);
            d[i] = dc * a[4 * D + i] * a[i] * (1 - a[i]);
            d[D + i] = dc * l.c[i] * a[D + i] * (1 - a[D + i]);
            d[2 * D + i] = dc * r.c[i] * a[2 * D + i] * (1 - a[2 * D + i]);
            d[3 * D + i] = s.dh[i] * ti * o * (1 - o);
            d[4 * D + i] = dc * a[i] * (1 - a[4 * D + i] * a[4 * D + i]);
            l.dc[i] += dc * a[D + i], r.dc[i] += dc * a[2 * D + i];
        }
        float dx[X] = {};
        for (int j = 0; j < G; j++)
            for (int k = 0; k < X; k++) dx[k] += d[j] * w[j * X + k];
        for (int i = 0; i < D; i++) l.dh[i] += dx[i], r.dh[i] += dx[D + i];
    }
    for (int j = 0; j < G; j++)
        for (int64_t t = 0; t < n; t++)
            if (nodes[t].word < 0) {
                const float d = dgates[t * G + j], *x = &inputs[t * X];
                gb[j] += d;
                for (int k = 0; k < X; k++) gw[j * X + k] += d * x[k];
            }
    return total == 0 ? 0 : std::log(total) + top - logits[label];
}

void adam(float* p, const float* g, float* m, float* v, int64_t n, int64_t step, float rate) {
    const float first = 1 - std::pow(0.9f, float(step)), second = std::sqrt(1 - std::pow(0.999f, float(step)));
    for (int64_t i = 0; i < n; i++) {
        m[i] += 0.1f * (g[i] - m[i]);
        v[i] = 0.999f * v[i] + 0.001f * g[i] * g[i];
        p[i] -= rate / first * m[i] / (std::sqrt(v[i]) / second + 1e-8f);
    }
}
}
