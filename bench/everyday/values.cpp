// Peers of values.hyb.
#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <deque>
#include <list>
#include <numeric>
#include <optional>
#include <queue>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

using std::pair;
using std::string;
using std::string_view;
using std::unordered_map;
using std::unordered_set;
using std::vector;
using Grid = vector<vector<int64_t>>;

namespace {
struct PairHash {
    size_t operator()(const pair<int64_t, int64_t>& p) const {
        uint64_t h = uint64_t(p.first) * 0x9E3779B97F4A7C15u + uint64_t(p.second);
        h ^= h >> 32;
        return h * 0xD6E8FEB86659FD93u;
    }
};

vector<string_view> split(string_view s, string_view by) {
    vector<string_view> out;
    size_t start = 0;
    while (true) {
        size_t at = s.find(by, start);
        if (at == string_view::npos) break;
        out.push_back(s.substr(start, at - start));
        start = at + by.size();
    }
    out.push_back(s.substr(start));
    return out;
}

int64_t next(int64_t& x) { return x = (x * 1103515245 + 12345) % 2147483648; }

Grid rotated(const Grid& m) {
    size_t n = m.size();
    Grid out(n, vector<int64_t>(n));
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) out[i][j] = m[n - 1 - j][i];
    return out;
}

void permute(vector<int64_t>& items, size_t k, Grid& found) {
    if (k == items.size()) {
        found.push_back(items);
        return;
    }
    for (size_t i = k; i < items.size(); i++) {
        std::swap(items[k], items[i]);
        permute(items, k + 1, found);
        std::swap(items[k], items[i]);
    }
}

struct Cache {
    size_t capacity;
    std::list<pair<int64_t, int64_t>> order;
    unordered_map<int64_t, std::list<pair<int64_t, int64_t>>::iterator> places;
    int64_t get(int64_t key) {
        auto it = places.find(key);
        if (it == places.end()) return -1;
        order.splice(order.end(), order, it->second);
        return it->second->second;
    }
    void put(int64_t key, int64_t value) {
        auto it = places.find(key);
        if (it != places.end()) {
            order.splice(order.end(), order, it->second);
            it->second->second = value;
            return;
        }
        if (places.size() >= capacity) {
            places.erase(order.front().first);
            order.pop_front();
        }
        order.emplace_back(key, value);
        places[key] = std::prev(order.end());
    }
};

vector<int64_t> quick(const vector<int64_t>& xs) {
    if (xs.size() <= 1) return xs;
    int64_t pivot = xs[xs.size() / 2];
    vector<int64_t> less, same, more;
    for (int64_t x : xs)
        if (x < pivot) less.push_back(x);
    for (int64_t x : xs)
        if (x == pivot) same.push_back(x);
    for (int64_t x : xs)
        if (x > pivot) more.push_back(x);
    vector<int64_t> out = quick(less);
    out.insert(out.end(), same.begin(), same.end());
    auto rest = quick(more);
    out.insert(out.end(), rest.begin(), rest.end());
    return out;
}
}  // namespace

extern "C" {
int64_t rotation(int64_t n, int64_t times) {
    Grid m(n, vector<int64_t>(n));
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) m[i][j] = i * n + j;
    for (int64_t k = 0; k < times; k++) m = rotated(m);
    return m[0][1] + m[n - 1][0] * 3;
}

int64_t sieve(int64_t n) {
    vector<char> prime(n + 1, 1);
    prime[0] = prime[1] = 0;
    for (int64_t i = 2; i * i <= n; i++)
        if (prime[i])
            for (int64_t j = i * i; j <= n; j += i) prime[j] = 0;
    int64_t total = 0;
    for (int64_t i = 0; i <= n; i++)
        if (prime[i]) total += i;
    return total;
}

int64_t permutations(int64_t n) {
    vector<int64_t> items(n);
    std::iota(items.begin(), items.end(), 0);
    Grid found;
    permute(items, 0, found);
    int64_t total = 0;
    for (auto& p : found)
        if (p[0] < p[n - 1]) total += p[1];
    return total + found.size();
}

int64_t lru(int64_t n) {
    Cache cache{1000, {}, {}};
    int64_t hits = 0, x = 12345;
    for (int64_t i = 0; i < n; i++) {
        int64_t key = next(x) / 65536 % 1500;
        int64_t value = cache.get(key);
        if (value >= 0) hits += value % 7;
        else cache.put(key, i);
    }
    return hits;
}

int64_t maze_set(const string* text) {
    auto grid = split(*text, "\n");
    int64_t height = grid.size(), width = grid[0].size();
    unordered_set<pair<int64_t, int64_t>, PairHash> seen = {{0, 0}};
    std::deque<std::array<int64_t, 3>> queue = {{0, 0, 0}};
    const int64_t ways[4][2] = {{0, 1}, {1, 0}, {0, -1}, {-1, 0}};
    while (!queue.empty()) {
        auto [r, c, d] = queue.front();
        queue.pop_front();
        if (r == height - 1 && c == width - 1) return d;
        for (auto& w : ways) {
            int64_t nr = r + w[0], nc = c + w[1];
            if (0 <= nr && nr < height && 0 <= nc && nc < width && grid[nr][nc] != '#' &&
                seen.insert({nr, nc}).second)
                queue.push_back({nr, nc, d + 1});
        }
    }
    return -1;
}

int64_t maze_list(const string* text) {
    auto grid = split(*text, "\n");
    int64_t height = grid.size(), width = grid[0].size();
    Grid distance(height, vector<int64_t>(width, -1));
    distance[0][0] = 0;
    std::deque<pair<int64_t, int64_t>> queue = {{0, 0}};
    const int64_t ways[4][2] = {{0, 1}, {1, 0}, {0, -1}, {-1, 0}};
    while (!queue.empty()) {
        auto [r, c] = queue.front();
        queue.pop_front();
        for (auto& w : ways) {
            int64_t nr = r + w[0], nc = c + w[1];
            if (nr < 0 || nr >= height || nc < 0 || nc >= width) continue;
            if (grid[nr][nc] == '#' || distance[nr][nc] >= 0) continue;
            distance[nr][nc] = distance[r][c] + 1;
            queue.push_back({nr, nc});
        }
    }
    return distance[height - 1][width - 1];
}

int64_t build_order(const string* text) {
    unordered_map<string, int64_t> needs;
    unordered_map<string, vector<string>> after;
    vector<string> first;
    for (auto line : split(*text, "\n")) {
        auto parts = split(line, ": ");
        string name(parts[0]);
        if (needs.emplace(name, 0).second) first.push_back(name);
        for (auto d : split(parts[1], " ")) {
            if (d.empty()) continue;
            string dep(d);
            needs[name]++;
            if (needs.emplace(dep, 0).second) first.push_back(dep);
            after[dep].push_back(name);
        }
    }
    std::deque<string> ready;
    for (auto& name : first)
        if (needs[name] == 0) ready.push_back(name);
    vector<string> order;
    while (!ready.empty()) {
        string name = std::move(ready.front());
        ready.pop_front();
        auto it = after.find(name);
        order.push_back(std::move(name));
        if (it != after.end())
            for (auto& other : it->second)
                if (--needs[other] == 0) ready.push_back(other);
    }
    return order.size() * 1000 + order[order.size() / 2].size();
}

using Intervals = vector<pair<int64_t, int64_t>>;
Intervals* intervals_new(int64_t n) {
    auto* out = new Intervals;
    int64_t x = 12345;
    for (int64_t i = 0; i < n; i++) {
        next(x);
        int64_t start = x / 16 % 10000000;
        out->push_back({start, start + x % 50});
    }
    return out;
}

int64_t merged(const Intervals* given) {
    Intervals sorted = *given, out;
    std::sort(sorted.begin(), sorted.end());
    for (auto [start, end] : sorted) {
        if (!out.empty() && start <= out.back().second) out.back().second = std::max(out.back().second, end);
        else out.push_back({start, end});
    }
    int64_t total = 0;
    for (auto [start, end] : out) total += end - start;
    return total + out.size();
}

int64_t two_sums(int64_t n, int64_t times) {
    int64_t total = 0;
    for (int64_t k = 0; k < times; k++) {
        vector<int64_t> xs(n);
        for (int64_t i = 0; i < n; i++) xs[i] = (i * 7919 + k) % 1000003;
        int64_t target = xs[n - 1] + xs[n - 2];
        unordered_map<int64_t, int64_t> seen;
        for (int64_t i = 0; i < n; i++) {
            auto it = seen.find(target - xs[i]);
            if (it != seen.end()) {
                total += it->second + i;
                break;
            }
            seen[xs[i]] = i;
        }
    }
    return total;
}

int64_t life(int64_t n) {
    using Place = pair<int64_t, int64_t>;
    unordered_set<Place, PairHash> alive = {{1, 0}, {2, 1}, {0, 2}, {1, 2}, {2, 2}, {20, 20}, {21, 20}, {22, 20},
        {21, 21}, {30, 5}, {31, 5}, {30, 6}, {31, 7}, {32, 6}, {10, 30}, {11, 30}, {12, 30}, {12, 31}};
    for (int64_t k = 0; k < n; k++) {
        unordered_map<Place, int64_t, PairHash> counts;
        for (auto [x, y] : alive)
            for (int64_t dx = -1; dx < 2; dx++)
                for (int64_t dy = -1; dy < 2; dy++)
                    if (dx || dy) counts[{x + dx, y + dy}]++;
        unordered_set<Place, PairHash> fresh;
        for (auto& [place, count] : counts)
            if (count == 3 || (count == 2 && alive.count(place))) fresh.insert(place);
        alive = std::move(fresh);
    }
    int64_t total = alive.size();
    for (auto [x, y] : alive) total += x * 3 + y;
    return total;
}

int64_t coins(int64_t amount) {
    vector<int64_t> kinds = {1, 7, 11, 29, 53, 101}, best(amount + 1, amount + 1);
    best[0] = 0;
    for (int64_t a = 1; a <= amount; a++)
        for (int64_t coin : kinds)
            if (coin <= a) best[a] = std::min(best[a], best[a - coin] + 1);
    return best[amount];
}

int64_t windows(int64_t n) {
    vector<int64_t> xs(n);
    for (int64_t i = 0; i < n; i++) xs[i] = i * 7919 % 10007;
    const int64_t k = 50;
    std::deque<int64_t> queue;
    int64_t total = 0;
    for (int64_t i = 0; i < n; i++) {
        while (!queue.empty() && xs[queue.back()] <= xs[i]) queue.pop_back();
        queue.push_back(i);
        if (queue.front() <= i - k) queue.pop_front();
        if (i >= k - 1) total += xs[queue.front()];
    }
    return total;
}

int64_t subsets(int64_t n) {
    Grid all = {{}};
    for (int64_t i = 0; i < n; i++) {
        size_t count = all.size();
        for (size_t k = 0; k < count; k++) {
            auto s = all[k];
            s.push_back(i);
            all.push_back(std::move(s));
        }
    }
    int64_t total = 0;
    for (auto& s : all) total += s.size();
    return total;
}

int64_t union_find(int64_t n) {
    vector<int64_t> parent(n), size(n, 1);
    std::iota(parent.begin(), parent.end(), 0);
    int64_t x = 12345, parts = n;
    for (int64_t k = 0; k < n; k++) {
        int64_t a = next(x) / 64 % n, b = next(x) / 64 % n;
        while (parent[a] != a) a = parent[a] = parent[parent[a]];
        while (parent[b] != b) b = parent[b] = parent[parent[b]];
        if (a != b) {
            if (size[a] < size[b]) std::swap(a, b);
            parent[b] = a;
            size[a] += size[b];
            parts--;
        }
    }
    return parts;
}

int64_t quick_sorted(int64_t n) {
    vector<int64_t> xs(n);
    for (int64_t i = 0; i < n; i++) xs[i] = i * 7919 % 100003;
    xs = quick(xs);
    return xs[n / 3] + xs.size();
}
}
