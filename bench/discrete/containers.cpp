// Peers of containers.hyb: hash tables, sorting, heaps, graphs, words.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <queue>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

using std::pair;
using std::vector;

namespace {
uint64_t mix(uint64_t x) {
    __uint128_t p = (__uint128_t)(x ^ 0x9E3779B97F4A7C15u) * 0xD6E8FEB86659FD93u;
    return uint64_t(p) ^ uint64_t(p >> 64);
}
uint64_t hash_of(int64_t k) { return mix(uint64_t(k)); }
uint64_t hash_of(const pair<int64_t, int64_t>& k) { return mix(mix(uint64_t(k.first)) + uint64_t(k.second)); }

struct Hash {
    template <class K> size_t operator()(const K& k) const { return hash_of(k); }
};

// Open addressing in the manner of ankerl::unordered_dense: entries in the order they came, and a table of slots
// (8 bits of the hash with the distance from home, and the entry's number), by robin hood hashing.
template <class K, class V> class Dense {
    struct Slot {
        uint32_t distance, entry;
    };
    vector<pair<K, V>> entries;
    vector<Slot> slots;
    int shift = 62;

    uint32_t start(uint64_t h) const { return 0x100 | (h & 0xFF); }
    size_t next(size_t at) const { return at + 1 == slots.size() ? 0 : at + 1; }

    void put(Slot s, size_t at) {
        while (slots[at].distance != 0) {
            std::swap(s, slots[at]);
            s.distance += 0x100;
            at = next(at);
        }
        slots[at] = s;
    }

    void grow() {
        shift--;
        slots.assign(size_t(1) << (64 - shift), Slot{0, 0});
        for (uint32_t i = 0; i < entries.size(); i++) {
            uint64_t h = hash_of(entries[i].first);
            uint32_t d = start(h);
            size_t at = h >> shift;
            while (d < slots[at].distance) {
                d += 0x100;
                at = next(at);
            }
            put({d, i}, at);
        }
    }

public:
    V& operator[](const K& k) {
        if (slots.empty()) grow();
        uint64_t h = hash_of(k);
        uint32_t d = start(h);
        size_t at = h >> shift;
        while (d <= slots[at].distance) {
            if (d == slots[at].distance && entries[slots[at].entry].first == k) return entries[slots[at].entry].second;
            d += 0x100;
            at = next(at);
        }
        entries.emplace_back(k, V());
        if (entries.size() * 5 > slots.size() * 4)
            grow();
        else
            put({d, uint32_t(entries.size() - 1)}, at);
        return entries.back().second;
    }

    const V* find(const K& k) const {
        if (slots.empty()) return nullptr;
        uint64_t h = hash_of(k);
        uint32_t d = start(h);
        size_t at = h >> shift;
        while (d <= slots[at].distance) {
            if (d == slots[at].distance && entries[slots[at].entry].first == k) return &entries[slots[at].entry].second;
            d += 0x100;
            at = next(at);
        }
        return nullptr;
    }

    size_t size() const { return entries.size(); }
};

template <class K, class V> struct Standard : std::unordered_map<K, V, Hash> {
    const V* find(const K& k) const {
        auto it = std::unordered_map<K, V, Hash>::find(k);
        return it == this->end() ? nullptr : &it->second;
    }
};

int64_t scrambled(int64_t i) { return int64_t(uint64_t(i) * 0x9E3779B97F4A7C15u) >> 20; }

template <class M> int64_t ints(int64_t n) {
    M m;
    for (int64_t i = 0; i < n; i++) m[scrambled(i)] += i;
    int64_t total = 0;
    for (int64_t i = 0; i < n; i++)
        if (auto* v = m.find(scrambled(i * 2))) total += *v;
    return total + m.size();
}

template <class M> int64_t pairs(int64_t n) {
    M m;
    for (int64_t i = 0; i < n; i++) m[{scrambled(i) % 4096, i}] += i;
    int64_t total = 0;
    for (int64_t i = 0; i < n; i++)
        if (auto* v = m.find({scrambled(i * 2) % 4096, i * 2})) total += *v;
    return total + m.size();
}

template <class T> void radix_sort(vector<T>& xs, vector<uint64_t>& keys) {
    vector<T> spare(xs.size());
    vector<uint64_t> spare_keys(xs.size());
    for (int shift = 0; shift < 64; shift += 11) {
        vector<size_t> at(2049);
        for (uint64_t k : keys) at[(k >> shift & 2047) + 1]++;
        bool one = false;
        for (size_t i = 1; i <= 2048; i++) {
            one = one || at[i] == keys.size();
            at[i] += at[i - 1];
        }
        if (one) continue;
        for (size_t i = 0; i < xs.size(); i++) {
            size_t to = at[keys[i] >> shift & 2047]++;
            spare[to] = xs[i];
            spare_keys[to] = keys[i];
        }
        xs.swap(spare);
        keys.swap(spare_keys);
    }
}

uint64_t key_of(int64_t x) { return uint64_t(x) ^ (uint64_t(1) << 63); }
uint64_t key_of(double x) {
    uint64_t b;
    std::memcpy(&b, &x, 8);
    return b >> 63 ? ~b : b | (uint64_t(1) << 63);
}

// By the keys alone: what is sorted is made from them again.
void radix_keys(vector<uint64_t>& keys) {
    vector<uint64_t> spare(keys.size());
    for (int shift = 0; shift < 64; shift += 11) {
        vector<size_t> at(2049);
        for (uint64_t k : keys) at[(k >> shift & 2047) + 1]++;
        bool one = false;
        for (size_t i = 1; i <= 2048; i++) {
            one = one || at[i] == keys.size();
            at[i] += at[i - 1];
        }
        if (one) continue;
        for (uint64_t k : keys) spare[at[k >> shift & 2047]++] = k;
        keys.swap(spare);
    }
}
}  // namespace

extern "C" {
int64_t map_ints_dense(int64_t n) { return ints<Dense<int64_t, int64_t>>(n); }
int64_t map_ints_standard(int64_t n) { return ints<Standard<int64_t, int64_t>>(n); }
int64_t map_pairs_dense(int64_t n) { return pairs<Dense<pair<int64_t, int64_t>, int64_t>>(n); }
int64_t map_pairs_standard(int64_t n) { return pairs<Standard<pair<int64_t, int64_t>, int64_t>>(n); }

int64_t word_count(const char* text, int64_t size) {
    std::unordered_map<std::string, int64_t> counts;
    int64_t at = 0;
    while (at < size) {
        while (at < size && (text[at] == ' ' || text[at] == '\n')) at++;
        int64_t start = at;
        while (at < size && text[at] != ' ' && text[at] != '\n') at++;
        if (at > start) counts[std::string(text + start, at - start)]++;
    }
    int64_t best = 0;
    for (auto& [word, n] : counts) best = std::max(best, n);
    return best + int64_t(counts.size());
}

// Sorting works on a copy of what it is given, as the Hyb functions do.
int64_t sort_ints_std(const int64_t* xs, int64_t n) {
    vector<int64_t> v(xs, xs + n);
    std::sort(v.begin(), v.end());
    return v[n / 3];
}
int64_t sort_ints_radix(const int64_t* xs, int64_t n) {
    vector<uint64_t> keys(n);
    for (int64_t i = 0; i < n; i++) keys[i] = key_of(xs[i]);
    radix_keys(keys);
    return int64_t(keys[n / 3] ^ (uint64_t(1) << 63));
}
double sort_floats_std(const double* xs, int64_t n) {
    vector<double> v(xs, xs + n);
    std::sort(v.begin(), v.end());
    return v[n / 3];
}
double sort_floats_radix(const double* xs, int64_t n) {
    vector<uint64_t> keys(n);
    for (int64_t i = 0; i < n; i++) keys[i] = key_of(xs[i]);
    radix_keys(keys);
    uint64_t k = keys[n / 3];
    k = k >> 63 ? k ^ (uint64_t(1) << 63) : ~k;
    double x;
    std::memcpy(&x, &k, 8);
    return x;
}
int64_t argsort_floats_std(const double* xs, int64_t n) {
    vector<int64_t> order(n);
    for (int64_t i = 0; i < n; i++) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return xs[a] < xs[b]; });
    return order[n / 3];
}
int64_t argsort_floats_radix(const double* xs, int64_t n) {
    vector<int64_t> order(n);
    vector<uint64_t> keys(n);
    for (int64_t i = 0; i < n; i++) {
        order[i] = i;
        keys[i] = key_of(xs[i]);
    }
    radix_sort(order, keys);
    return order[n / 3];
}
int64_t argsort_ints_std(const int64_t* xs, int64_t n) {
    vector<int64_t> order(n);
    for (int64_t i = 0; i < n; i++) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return xs[a] < xs[b]; });
    return order[n / 3];
}
int64_t argsort_ints_radix(const int64_t* xs, int64_t n) {
    vector<int64_t> order(n);
    vector<uint64_t> keys(n);
    for (int64_t i = 0; i < n; i++) {
        order[i] = i;
        keys[i] = key_of(xs[i]);
    }
    radix_sort(order, keys);
    return order[n / 3];
}
int64_t sort_records(const int64_t* xs, int64_t n) {
    vector<pair<int64_t, std::string>> v;
    for (int64_t i = 0; i < n; i++) v.emplace_back(xs[i] % 1000, "r" + std::to_string(i));
    std::stable_sort(v.begin(), v.end(), [](auto& a, auto& b) { return a.first < b.first; });
    return v[n / 3].second.size() + v[n / 2].first;
}
int64_t make_records(const int64_t* xs, int64_t n) {
    vector<pair<int64_t, std::string>> v;
    for (int64_t i = 0; i < n; i++) v.emplace_back(xs[i] % 1000, "r" + std::to_string(i));
    return v[n / 3].second.size() + v[n / 2].first;
}
int64_t top100(const int64_t* xs, int64_t n) {
    std::priority_queue<int64_t, vector<int64_t>, std::greater<int64_t>> best;
    for (int64_t i = 0; i < n; i++) {
        if (best.size() < 100)
            best.push(xs[i]);
        else if (xs[i] > best.top()) {
            best.pop();
            best.push(xs[i]);
        }
    }
    return best.top();
}

// The graph is built before, as for the others.
struct Graph {
    vector<vector<pair<int64_t, double>>> edges;
};
Graph* graph_new(int64_t nodes, const int64_t* u, const int64_t* v, const double* w, int64_t count) {
    auto* g = new Graph{vector<vector<pair<int64_t, double>>>(nodes)};
    for (int64_t i = 0; i < count; i++) g->edges[u[i]].emplace_back(v[i], w[i]);
    return g;
}
void graph_free(Graph* g) { delete g; }
double graph_dijkstra(const Graph* g) {
    const double inf = std::numeric_limits<double>::infinity();
    vector<double> length(g->edges.size(), inf);
    std::priority_queue<pair<double, int64_t>, vector<pair<double, int64_t>>, std::greater<>> open;
    length[0] = 0;
    open.push({0, 0});
    while (!open.empty()) {
        auto [d, u] = open.top();
        open.pop();
        if (d > length[u]) continue;
        for (auto [v, w] : g->edges[u])
            if (d + w < length[v]) {
                length[v] = d + w;
                open.push({length[v], v});
            }
    }
    double total = 0;
    for (double d : length)
        if (d < inf) total += d;
    return total;
}
}
