// The programs of games.hyb, over vectors and std::string.
#include <algorithm>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

using std::string;
using std::vector;
typedef vector<int64_t> Row;
typedef vector<Row> Grid;

static int64_t winner(const Row& b) {
    static const int64_t lines[8][3] = {{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {0, 3, 6},
                                        {1, 4, 7}, {2, 5, 8}, {0, 4, 8}, {2, 4, 6}};
    for (auto& l : lines)
        if (b[l[0]] != 0 && b[l[0]] == b[l[1]] && b[l[1]] == b[l[2]]) return b[l[0]];
    return 0;
}

static int64_t minimax(Row& b, int64_t player, int64_t& count) {
    count++;
    int64_t w = winner(b);
    if (w != 0) return w == 1 ? 1 : -1;
    if (std::find(b.begin(), b.end(), 0) == b.end()) return 0;
    int64_t best = player == 1 ? -2 : 2;
    for (int64_t i = 0; i < 9; i++)
        if (b[i] == 0) {
            b[i] = player;
            int64_t s = minimax(b, 3 - player, count);
            b[i] = 0;
            best = player == 1 ? std::max(best, s) : std::min(best, s);
        }
    return best;
}

static bool four(int64_t b) {
    for (int64_t d : {1, 7, 6, 8}) {
        int64_t m = b & b >> d;
        if ((m & m >> 2 * d) != 0) return true;
    }
    return false;
}

static int64_t alphabeta(int64_t mine, int64_t other, int64_t depth, int64_t alpha, int64_t beta) {
    if (four(other)) return -100 - depth;
    if (depth == 0) return 0;
    int64_t a = alpha, all = mine | other;
    for (int64_t col : {3, 2, 4, 1, 5, 0, 6}) {
        int64_t column = int64_t(63) << col * 7;
        if ((all & int64_t(32) << col * 7) != 0) continue;
        int64_t move = ((all & column) + (int64_t(1) << col * 7)) & ~(all & column) & column;
        int64_t s = -alphabeta(other, mine | move, depth - 1, -beta, -a);
        if (s > a) {
            a = s;
            if (a >= beta) break;
        }
    }
    return a;
}

static Row times(const Row& a, const Row& b) {
    Row out(a.size() + b.size());
    for (size_t i = 0; i < a.size(); i++) {
        int64_t carry = 0;
        for (size_t j = 0; j < b.size(); j++) {
            int64_t t = out[i + j] + a[i] * b[j] + carry;
            out[i + j] = t % 10000;
            carry = t / 10000;
        }
        out[i + b.size()] += carry;
    }
    while (out.size() > 1 && out.back() == 0) out.pop_back();
    return out;
}

static string roman(int64_t n) {
    static const int64_t values[] = {1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1};
    static const char* names[] = {"M", "CM", "D", "CD", "C", "XC", "L", "XL", "X", "IX", "V", "IV", "I"};
    string out;
    for (int k = 0; k < 13; k++)
        while (n >= values[k]) {
            out += names[k];
            n -= values[k];
        }
    return out;
}

static int64_t from_roman(const string& text) {
    static const std::unordered_map<char, int64_t> values = {{'I', 1},   {'V', 5},   {'X', 10},  {'L', 50},
                                                             {'C', 100}, {'D', 500}, {'M', 1000}};
    int64_t total = 0;
    for (size_t i = 0; i < text.size(); i++) {
        int64_t value = values.at(text[i]);
        total += i + 1 < text.size() && value < values.at(text[i + 1]) ? -value : value;
    }
    return total;
}

extern "C" {
int64_t life(int64_t n) {
    Grid grid(n, Row(n));
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) grid[i][j] = (i * 7 + j * 11) % 5 % 2;
    for (int step = 0; step < 10; step++) {
        Grid next(n, Row(n));
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n; j++) {
                int64_t count = 0;
                for (int64_t di = -1; di <= 1; di++)
                    for (int64_t dj = -1; dj <= 1; dj++)
                        if (di != 0 || dj != 0) {
                            int64_t r = i + di, c = j + dj;
                            if (r >= 0 && r < n && c >= 0 && c < n) count += grid[r][c];
                        }
                if (count == 3 || (count == 2 && grid[i][j] == 1)) next[i][j] = 1;
            }
        grid = std::move(next);
    }
    int64_t total = 0;
    for (auto& row : grid)
        for (int64_t cell : row) total += cell;
    return total;
}

int64_t tictactoe(int64_t n) {
    int64_t total = 0;
    for (int64_t i = 0; i < n; i++) {
        Row b(9);
        b[i] = 1;
        int64_t count = 0;
        total += minimax(b, 2, count);
        total += count;
    }
    return total;
}

int64_t connect(int64_t n) { return alphabeta(0, 0, n, -1000, 1000); }

int64_t spiral(int64_t n) {
    Grid grid(n, Row(n));
    int64_t r = 0, c = 0, dr = 0, dc = 1;
    for (int64_t i = 0; i < n * n; i++) {
        grid[r][c] = i + 1;
        int64_t rr = r + dr, cc = c + dc;
        if (rr < 0 || rr >= n || cc < 0 || cc >= n || grid[rr][cc] != 0) {
            int64_t t = dr;
            dr = dc;
            dc = -t;
        }
        r += dr;
        c += dc;
    }
    return grid[n / 2][n / 2] + grid[n - 1][0];
}

int64_t powers(int64_t n) {
    Row x{7};
    for (int64_t i = 0; i < n; i++) x = times(x, x);
    int64_t total = 0;
    for (int64_t digit : x) total += digit;
    return total + x.size();
}

int64_t romans(int64_t n) {
    int64_t total = 0;
    for (int64_t i = 1; i < n; i++) {
        string text = roman(i % 3999 + 1);
        total += text.size() + from_roman(text);
    }
    return total;
}
}
