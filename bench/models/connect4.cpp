// Connect-Four: PUCT with the network 126-256-256-8, or with random games, as a C++ programmer writes it.
// Weights are transposed once, so that all loops run along rows; eight inputs at a time go into the outputs.
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

namespace {

constexpr int COLUMNS = 7, ROWS = 6, CELLS = 42, WIDTH = 256, INPUTS = 3 * CELLS, OUTPUTS = COLUMNS + 1;

struct Position {
    uint64_t mine = 0, all = 0;
    int ply = 0;
};

inline uint64_t place(int move, uint64_t all) {
    const uint64_t column = ((1ull << ROWS) - 1) << (move * (ROWS + 1));
    return (all + (1ull << (move * (ROWS + 1)))) & column;
}

inline Position play(const Position& p, int move) {
    return {p.all ^ p.mine, p.all | place(move, p.all), p.ply + 1};
}

inline bool lost(const Position& p) {
    const uint64_t stones = p.all ^ p.mine;
    for (int step : {1, ROWS, ROWS + 1, ROWS + 2}) {
        const uint64_t pairs = stones & (stones >> step);
        if (pairs & (pairs >> (2 * step))) return true;
    }
    return false;
}

template <int IN, int OUT>
struct Layer {
    alignas(64) float weight[IN][OUT];
    alignas(64) float bias[OUT];

    void set(const float* w, const float* b) {
        for (int o = 0; o < OUT; ++o)
            for (int i = 0; i < IN; ++i) weight[i][o] = w[o * IN + i];
        std::memcpy(bias, b, sizeof bias);
    }

    void run(const float* __restrict x, float* __restrict y) const {
        for (int o = 0; o < OUT; ++o) y[o] = bias[o];
        int i = 0;
        for (; i + 8 <= IN; i += 8)
            for (int o = 0; o < OUT; ++o) {
                float sum = y[o];
                for (int k = 0; k < 8; ++k) sum += x[i + k] * weight[i + k][o];
                y[o] = sum;
            }
        for (; i < IN; ++i)
            for (int o = 0; o < OUT; ++o) y[o] += x[i] * weight[i][o];
    }
};

struct Network {
    Layer<INPUTS, WIDTH> first;
    Layer<WIDTH, WIDTH> second;
    Layer<WIDTH, OUTPUTS> head;

    void run(const Position& p, float* out) const {
        alignas(64) float x[INPUTS], h[WIDTH], k[WIDTH];
        const uint64_t theirs = p.all ^ p.mine;
        for (int i = 0; i < CELLS; ++i) {
            const int at = i / ROWS * (ROWS + 1) + i % ROWS;
            x[i] = float(p.mine >> at & 1);
            x[CELLS + i] = float(theirs >> at & 1);
            x[2 * CELLS + i] = float(~p.all >> at & 1);
        }
        first.run(x, h);
        for (float& v : h) v = v > 0 ? v : 0;
        second.run(h, k);
        for (float& v : k) v = v > 0 ? v : 0;
        head.run(k, out);
    }
};

struct Node {
    int move, parent;
    float prior;
    int visits = 0;
    float total = 0;
    int first = 0, replies = 0;
};

struct Random {
    uint64_t s;
    uint64_t next() {
        s ^= s << 13;
        s ^= s >> 7;
        return s ^= s << 17;
    }
    int below(int n) { return int((unsigned __int128)(next()) * n >> 64); }
};

float rollout(Position p, Random& random) {
    float sign = 1;
    while (p.ply < CELLS) {
        int move = random.below(COLUMNS);
        while (!place(move, p.all)) move = random.below(COLUMNS);
        p = play(p, move);
        if (lost(p)) return sign;
        sign = -sign;
    }
    return 0;
}

float expand(const Network* network, const Position& p, int at, std::vector<Node>& nodes, Random& random) {
    nodes[at].first = int(nodes.size());
    float value;
    if (network) {
        float y[OUTPUTS], total = 0;
        network->run(p, y);
        for (int m = 0; m < COLUMNS; ++m)
            if (place(m, p.all)) {
                const float weight = std::exp(std::fmin(y[m], 60.0f));
                total += weight;
                nodes.push_back({m, at, weight});
            }
        for (size_t i = nodes[at].first; i < nodes.size(); ++i) nodes[i].prior /= total;
        value = std::tanh(y[COLUMNS]);
    } else {
        for (int m = 0; m < COLUMNS; ++m)
            if (place(m, p.all)) nodes.push_back({m, at, 1.0f});
        value = rollout(p, random);
    }
    nodes[at].replies = int(nodes.size()) - nodes[at].first;
    return value;
}

int chosen(const std::vector<Node>& nodes, int at) {
    const float explore = 1.5f * std::sqrt(float(nodes[at].visits));
    int best = -1;
    float best_score = -INFINITY;
    for (int i = nodes[at].first; i < nodes[at].first + nodes[at].replies; ++i) {
        const float known = float(nodes[i].visits);
        const float score = nodes[i].total / std::fmax(known, 1.0f) + explore * nodes[i].prior / (1.0f + known);
        if (score > best_score) best_score = score, best = i;
    }
    return best;
}

}  // namespace

extern "C" {

void* connect4_network(const float* w1, const float* b1, const float* w2, const float* b2, const float* w3,
                       const float* b3) {
    auto* n = new Network;
    n->first.set(w1, b1);
    n->second.set(w2, b2);
    n->head.set(w3, b3);
    return n;
}

// The share of simulations of each move, into `shares`; without a network by random games.
void connect4_search(const void* network, int64_t mine, int64_t all, int64_t sims, float* shares) {
    const Position root{uint64_t(mine), uint64_t(all), std::popcount(uint64_t(all))};
    Random random{88172645463325252ull};
    std::vector<Node> nodes{{-1, -1, 1.0f}};
    const auto* net = static_cast<const Network*>(network);
    expand(net, root, 0, nodes, random);
    for (int64_t sim = 0; sim < sims; ++sim) {
        int at = 0;
        Position p = root;
        while (nodes[at].replies > 0) {
            at = chosen(nodes, at);
            p = play(p, nodes[at].move);
        }
        float value = 0;
        if (lost(p))
            value = -1;
        else if (p.ply < CELLS)
            value = expand(net, p, at, nodes, random);
        for (; at >= 0; at = nodes[at].parent) {
            value = -value;
            ++nodes[at].visits;
            nodes[at].total += value;
        }
    }
    std::memset(shares, 0, COLUMNS * sizeof(float));
    for (int i = 1; i <= nodes[0].replies; ++i)
        shares[nodes[i].move] = sims ? float(nodes[i].visits) / float(sims) : nodes[i].prior;
}

// The same for many positions, on as many threads as are asked for.
void connect4_searches(const void* network, int64_t count, const int64_t* mine, const int64_t* all, int64_t sims,
                       int64_t threads, float* shares) {
    std::atomic<int64_t> next{0};
    std::vector<std::thread> team;
    for (int64_t t = 0; t < threads; ++t)
        team.emplace_back([&] {
            for (int64_t i; (i = next++) < count;)
                connect4_search(network, mine[i], all[i], sims, shares + COLUMNS * i);
        });
    for (auto& t : team) t.join();
}
}
