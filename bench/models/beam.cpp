// Beam search with a GRU of 256 over a vocabulary of 2 000, as a C++ programmer writes it. Weights are packed once, 32
// outputs side by side (two vectors of 16); up to eight drafts share each load. Compiled with -ffast-math, for exp over vectors.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int DIM = 256, VOCAB = 2000, MOST = 8, LANES = 32, START = 0, END = 1;
constexpr float WORST = 1e30f;
typedef float Half __attribute__((vector_size(LANES / 2 * sizeof(float)), aligned(4)));

template <int OUT>
struct Layer {
    static constexpr int BLOCKS = (OUT + LANES - 1) / LANES;
    alignas(64) float weight[BLOCKS][DIM][LANES];
    alignas(64) float bias[BLOCKS * LANES];

    void set(const float* w, const float* b) {
        std::memset(this, 0, sizeof *this);
        for (int o = 0; o < OUT; ++o) {
            for (int i = 0; i < DIM; ++i) weight[o / LANES][i][o % LANES] = w[o * DIM + i];
            bias[o] = b[o];
        }
    }

    template <int ROWS>
    void rows(const float (*x)[DIM], float* y, int stride) const {
        for (int k = 0; k < BLOCKS; ++k) {
            Half sums[ROWS][2];
            for (int r = 0; r < ROWS; ++r) std::memcpy(sums[r], bias + k * LANES, sizeof sums[r]);
            for (int i = 0; i < DIM; ++i) {
                const auto* w = reinterpret_cast<const Half*>(weight[k][i]);
                for (int r = 0; r < ROWS; ++r) sums[r][0] += w[0] * x[r][i], sums[r][1] += w[1] * x[r][i];
            }
            const size_t size = std::min(LANES, OUT - k * LANES) * sizeof(float);
            for (int r = 0; r < ROWS; ++r) std::memcpy(y + r * stride + k * LANES, sums[r], size);
        }
    }

    void run(int count, const float (*x)[DIM], float* y) const {
        switch (count) {
            case 1: return rows<1>(x, y, OUT);
            case 2: return rows<2>(x, y, OUT);
            case 3: return rows<3>(x, y, OUT);
            case 4: return rows<4>(x, y, OUT);
            case 5: return rows<5>(x, y, OUT);
            case 6: return rows<6>(x, y, OUT);
            case 7: return rows<7>(x, y, OUT);
            default: return rows<8>(x, y, OUT);
        }
    }
};

struct Writer {
    std::vector<float> embed;
    Layer<3 * DIM> input, hidden;
    Layer<VOCAB> head;
};

float sigmoid(float x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

extern "C" {

void* beam_writer(const float* embed, const float* w_ih, const float* w_hh, const float* b_ih, const float* b_hh,
                  const float* head, const float* bias) {
    auto* w = new Writer;
    w->embed.assign(embed, embed + VOCAB * DIM);
    w->input.set(w_ih, b_ih);
    w->hidden.set(w_hh, b_hh);
    w->head.set(head, bias);
    return w;
}

// The tokens of the least surprising text that has ended, and its surprise; their count is the result.
int64_t beam_search(const void* writer, const float* start, int64_t width, int64_t longest, int64_t* tokens,
                    float* surprise) {
    const auto& w = *static_cast<const Writer*>(writer);
    alignas(64) static thread_local float h[MOST][DIM], x[MOST][DIM], next[MOST][DIM];
    alignas(64) static thread_local float gi[MOST][3 * DIM], gh[MOST][3 * DIM], costs[MOST][VOCAB];
    std::vector<std::vector<int64_t>> drafts{{}};
    std::vector<int> last{START};
    std::vector<float> cost{0};
    std::vector<int64_t> best;
    float least = WORST;
    std::memcpy(h[0], start, sizeof h[0]);
    for (int64_t step = 0; step < longest; ++step) {
        const int count = int(drafts.size());
        for (int r = 0; r < count; ++r) std::memcpy(x[r], &w.embed[last[r] * DIM], sizeof x[r]);
        w.input.run(count, x, gi[0]);
        w.hidden.run(count, h, gh[0]);
        for (int r = 0; r < count; ++r)
            for (int i = 0; i < DIM; ++i) {
                const float reset = sigmoid(gi[r][i] + gh[r][i]);
                const float keep = sigmoid(gi[r][DIM + i] + gh[r][DIM + i]);
                const float fresh = std::tanh(gi[r][2 * DIM + i] + reset * gh[r][2 * DIM + i]);
                h[r][i] = (1 - keep) * fresh + keep * h[r][i];
            }
        w.head.run(count, h, costs[0]);
        struct Found {
            float cost;
            int row, token;
        } found[MOST + 1];
        int size = 0;
        float bound = WORST;
        for (int r = 0; r < count; ++r) {
            float top = costs[r][0], total = 0;
            for (int i = 1; i < VOCAB; ++i) top = std::max(top, costs[r][i]);
            for (int i = 0; i < VOCAB; ++i) total += std::exp(costs[r][i] - top);
            const float base = cost[r] + top + std::log(total);
            for (int i = 0; i < VOCAB; ++i) {
                const float c = base - costs[r][i];
                if (c >= bound) continue;
                int at = size < width ? size++ : size - 1;
                for (; at > 0 && found[at - 1].cost > c; --at) found[at] = found[at - 1];
                found[at] = {c, r, i};
                if (size == width) bound = found[size - 1].cost;
            }
        }
        std::vector<std::vector<int64_t>> longer;
        last.clear();
        cost.clear();
        for (int i = 0; i < size; ++i) {
            if (found[i].cost >= least) break;
            const auto& draft = drafts[found[i].row];
            if (found[i].token == END) {
                best = draft, least = found[i].cost;
            } else {
                std::memcpy(next[longer.size()], h[found[i].row], sizeof next[0]);
                longer.push_back(draft);
                longer.back().push_back(found[i].token);
                last.push_back(found[i].token);
                cost.push_back(found[i].cost);
            }
        }
        if (longer.empty()) break;
        drafts = std::move(longer);
        std::memcpy(h, next, drafts.size() * sizeof h[0]);
    }
    std::copy(best.begin(), best.end(), tokens);
    *surprise = least;
    return int64_t(best.size());
}
}
