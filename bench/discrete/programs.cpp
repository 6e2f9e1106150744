// The programs of programs.hyb, over vectors of vectors and std::string.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

using std::string;
using std::vector;
typedef vector<vector<int64_t>> Grid;
typedef vector<vector<double>> Matrix;

static string letters(int64_t n, int64_t step) {
    int64_t x = step;
    string out;
    for (int64_t i = 0; i < n; i++) {
        x = (x * 1103515245 + 12345) % 2147483648;
        out.push_back("abcdefghijklmnopqrstuvwxyz"[x / 65536 % 26]);
    }
    return out;
}

static int64_t root(vector<int64_t>& parent, int64_t x) {
    while (parent[x] != x) {
        parent[x] = parent[parent[x]];
        x = parent[x];
    }
    return x;
}

static int64_t percolates(int64_t n, int64_t seed) {
    static const int64_t sides[4][2] = {{-1, 0}, {1, 0}, {0, -1}, {0, 1}};
    vector<int64_t> parent(n * n + 2);
    for (int64_t i = 0; i < n * n + 2; i++) parent[i] = i;
    vector<vector<char>> open(n, vector<char>(n, 0));
    int64_t x = seed, count = 0;
    while (root(parent, n * n) != root(parent, n * n + 1)) {
        x = (x * 1103515245 + 12345) % 2147483648;
        int64_t place = x / 64 % (n * n), r = place / n, c = place % n;
        if (open[r][c]) continue;
        open[r][c] = 1;
        count++;
        int64_t me = r * n + c;
        if (r == 0) parent[root(parent, me)] = root(parent, n * n);
        if (r == n - 1) parent[root(parent, me)] = root(parent, n * n + 1);
        for (auto& side : sides) {
            int64_t rr = r + side[0], cc = c + side[1];
            if (rr >= 0 && rr < n && cc >= 0 && cc < n && open[rr][cc])
                parent[root(parent, me)] = root(parent, rr * n + cc);
        }
    }
    return count;
}

static bool fits(const Grid& board, int64_t row, int64_t column, int64_t digit) {
    for (int64_t i = 0; i < 9; i++)
        if (board[row][i] == digit || board[i][column] == digit) return false;
    int64_t r = row / 3 * 3, c = column / 3 * 3;
    for (int64_t i = 0; i < 3; i++)
        for (int64_t j = 0; j < 3; j++)
            if (board[r + i][c + j] == digit) return false;
    return true;
}

static int64_t solve(Grid& board, int64_t place) {
    if (place == 81) return 1;
    int64_t row = place / 9, column = place % 9;
    if (board[row][column] != 0) return solve(board, place + 1);
    for (int64_t digit = 1; digit < 10; digit++)
        if (fits(board, row, column, digit)) {
            board[row][column] = digit;
            if (solve(board, place + 1) == 1) return 1;
            board[row][column] = 0;
        }
    return 0;
}

extern "C" {
int64_t lcs(int64_t n) {
    string a = letters(n, 1), b = letters(n, 2);
    Grid table(n + 1, vector<int64_t>(n + 1, 0));
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            if (a[i] == b[j])
                table[i + 1][j + 1] = table[i][j] + 1;
            else
                table[i + 1][j + 1] = std::max(table[i][j + 1], table[i + 1][j]);
    return table[n][n];
}

int64_t letter_distance(int64_t n) {
    string a = letters(n, 1), b = letters(n, 2);
    Grid d(n + 1, vector<int64_t>(n + 1, 0));
    for (int64_t i = 0; i <= n; i++) d[i][0] = d[0][i] = i;
    for (int64_t i = 1; i <= n; i++)
        for (int64_t j = 1; j <= n; j++)
            if (a[i - 1] == b[j - 1])
                d[i][j] = d[i - 1][j - 1];
            else
                d[i][j] = 1 + std::min({d[i - 1][j], d[i][j - 1], d[i - 1][j - 1]});
    return d[n][n];
}

int64_t knapsack(int64_t items, int64_t room) {
    vector<int64_t> weights(items), values(items);
    for (int64_t i = 0; i < items; i++) {
        weights[i] = 1 + i * 7919 % 97;
        values[i] = 1 + i * 104729 % 131;
    }
    Grid best(items + 1, vector<int64_t>(room + 1, 0));
    for (int64_t i = 0; i < items; i++)
        for (int64_t w = 0; w <= room; w++) {
            best[i + 1][w] = best[i][w];
            if (weights[i] <= w) best[i + 1][w] = std::max(best[i + 1][w], best[i][w - weights[i]] + values[i]);
        }
    return best[items][room];
}

int64_t percolation(int64_t n) {
    int64_t total = 0;
    for (int64_t k = 0; k < 20; k++) total += percolates(n, k);
    return total;
}

int64_t sudoku(int64_t n) {
    const string text = "800000000003600000070090200050007000000045700000100030001000068008500010090000400";
    int64_t total = 0;
    for (int64_t k = 0; k < n; k++) {
        Grid board(9, vector<int64_t>(9));
        for (int64_t i = 0; i < 9; i++)
            for (int64_t j = 0; j < 9; j++) board[i][j] = text[9 * i + j] - '0';
        total += solve(board, 0);
        total += board[0][1] + board[8][8];
    }
    return total;
}

double decomposition(int64_t n) {
    Matrix a(n, vector<double>(n));
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) a[i][j] = 1.0 / (double)(1 + (i * 7 + j * 13) % 31);
    for (int64_t i = 0; i < n; i++) a[i][i] += n;
    for (int64_t k = 0; k < n; k++)
        for (int64_t i = k + 1; i < n; i++) {
            a[i][k] /= a[k][k];
            for (int64_t j = k + 1; j < n; j++) a[i][j] -= a[i][k] * a[k][j];
        }
    double total = 0;
    for (int64_t i = 0; i < n; i++) total += a[i][i];
    return total;
}

double product(int64_t n) {
    Matrix a(n, vector<double>(n)), b(n, vector<double>(n)), c(n, vector<double>(n));
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            a[i][j] = (i * 7 + j * 13) % 31;
            b[i][j] = (i * 11 + j * 3) % 29;
        }
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            double total = 0;
            for (int64_t k = 0; k < n; k++) total += a[i][k] * b[k][j];
            c[i][j] = total;
        }
    return c[n / 3][n / 2] + c[n - 1][n - 1];
}
}
