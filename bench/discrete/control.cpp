// Peers of control.hyb: recursion, backtracking, trees by new and delete.
#include <cstdint>
#include <cstdlib>
#include <vector>

namespace {
struct Tree {
    Tree *left, *right;
};

Tree* make(int64_t depth) {
    return depth == 0 ? new Tree{nullptr, nullptr} : new Tree{make(depth - 1), make(depth - 1)};
}

int64_t count(const Tree* t) { return t->left == nullptr ? 1 : 1 + count(t->left) + count(t->right); }

void drop(Tree* t) {
    if (t->left != nullptr) {
        drop(t->left);
        drop(t->right);
    }
    delete t;
}

bool safe(const std::vector<int64_t>& columns, int64_t column) {
    int64_t row = columns.size();
    for (int64_t i = 0; i < row; i++)
        if (columns[i] == column || std::abs(columns[i] - column) == row - i) return false;
    return true;
}

int64_t place(std::vector<int64_t>& columns, int64_t n) {
    if (int64_t(columns.size()) == n) return 1;
    int64_t found = 0;
    for (int64_t c = 0; c < n; c++)
        if (safe(columns, c)) {
            columns.push_back(c);
            found += place(columns, n);
            columns.pop_back();
        }
    return found;
}

int64_t collatz(int64_t start) {
    int64_t n = start, steps = 0;
    while (n != 1) {
        n = n % 2 == 0 ? n / 2 : 3 * n + 1;
        steps++;
    }
    return steps;
}
}  // namespace

extern "C" {
int64_t fib(int64_t n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

int64_t ackermann(int64_t m, int64_t n) {
    if (m == 0) return n + 1;
    if (n == 0) return ackermann(m - 1, 1);
    return ackermann(m - 1, ackermann(m, n - 1));
}

int64_t queens(int64_t n) {
    std::vector<int64_t> columns;
    return place(columns, n);
}

int64_t binary_trees(int64_t depth) {
    int64_t total = 0;
    for (int64_t i = 0; i < 10; i++) {
        Tree* t = make(depth);
        total += count(t);
        drop(t);
    }
    return total;
}

int64_t uneven(int64_t n) {
    int64_t total = 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < i % 100; k++) total += collatz(i + k + 1);
    return total;
}
}
