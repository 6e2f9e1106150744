// Peers of numeric.hyb, as a C++ programmer writes them: vectors, loops, doubles.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

using std::vector;

namespace {
struct Body {
    double x, y, z, vx, vy, vz, mass;
};

const double PI = 3.141592653589793, SOLAR = 4 * PI * PI, DAYS = 365.24;

vector<Body> planets() {
    vector<Body> b = {
        {0, 0, 0, 0, 0, 0, SOLAR},
        {4.84143144246472090, -1.16032004402742839, -0.103622044471123109, 0.00166007664274403694 * DAYS,
         0.00769901118419740425 * DAYS, -0.0000690460016972063023 * DAYS, 0.000954791938424326609 * SOLAR},
        {8.34336671824457987, 4.12479856412430479, -0.403523417114321381, -0.00276742510726411316 * DAYS,
         0.00499852801234917238 * DAYS, 0.0000230417297573763929 * DAYS, 0.000285885980666130812 * SOLAR},
        {12.8943695621391310, -15.1111514016986312, -0.223307578892655734, 0.00296460137564761618 * DAYS,
         0.00237847173959480950 * DAYS, -0.0000296589568540237556 * DAYS, 0.0000436624404335156298 * SOLAR},
        {15.3796971148509165, -25.9193146099879641, 0.179258772950371181, 0.00268067772490389322 * DAYS,
         0.00162824170038242295 * DAYS, -0.0000951592254519715870 * DAYS, 0.0000515138902046611451 * SOLAR}};
    for (auto& p : b) {
        b[0].vx -= p.vx * p.mass / SOLAR;
        b[0].vy -= p.vy * p.mass / SOLAR;
        b[0].vz -= p.vz * p.mass / SOLAR;
    }
    return b;
}

double energy(const vector<Body>& b) {
    double e = 0;
    for (size_t i = 0; i < b.size(); i++) {
        e += 0.5 * b[i].mass * (b[i].vx * b[i].vx + b[i].vy * b[i].vy + b[i].vz * b[i].vz);
        for (size_t j = i + 1; j < b.size(); j++) {
            double dx = b[i].x - b[j].x, dy = b[i].y - b[j].y, dz = b[i].z - b[j].z;
            e -= b[i].mass * b[j].mass / std::sqrt(dx * dx + dy * dy + dz * dz);
        }
    }
    return e;
}

double element(int64_t i, int64_t j) { return 1.0 / double((i + j) * (i + j + 1) / 2 + i + 1); }

void times(const vector<double>& v, vector<double>& out, bool transposed) {
    int64_t n = v.size();
    for (int64_t i = 0; i < n; i++) {
        double total = 0;
        for (int64_t j = 0; j < n; j++) total += (transposed ? element(j, i) : element(i, j)) * v[j];
        out[i] = total;
    }
}
}  // namespace

extern "C" {
double nbody(int64_t steps) {
    auto b = planets();
    const double dt = 0.01;
    for (int64_t s = 0; s < steps; s++) {
        for (size_t i = 0; i < b.size(); i++)
            for (size_t j = i + 1; j < b.size(); j++) {
                double dx = b[i].x - b[j].x, dy = b[i].y - b[j].y, dz = b[i].z - b[j].z;
                double d2 = dx * dx + dy * dy + dz * dz, mag = dt / (d2 * std::sqrt(d2));
                b[i].vx -= dx * b[j].mass * mag;
                b[i].vy -= dy * b[j].mass * mag;
                b[i].vz -= dz * b[j].mass * mag;
                b[j].vx += dx * b[i].mass * mag;
                b[j].vy += dy * b[i].mass * mag;
                b[j].vz += dz * b[i].mass * mag;
            }
        for (auto& p : b) {
            p.x += dt * p.vx;
            p.y += dt * p.vy;
            p.z += dt * p.vz;
        }
    }
    return energy(b);
}

double spectral_norm(int64_t n) {
    vector<double> u(n, 1.0), v(n), t(n);
    for (int k = 0; k < 10; k++) {
        times(u, t, false);
        times(t, v, true);
        times(v, t, false);
        times(t, u, true);
    }
    double a = 0, b = 0;
    for (int64_t i = 0; i < n; i++) {
        a += u[i] * v[i];
        b += v[i] * v[i];
    }
    return std::sqrt(a / b);
}

int64_t mandelbrot(int64_t n) {
    int64_t inside = 0;
    for (int64_t py = 0; py < n; py++)
        for (int64_t px = 0; px < n; px++) {
            double cx = 2.0 * double(px) / double(n) - 1.5, cy = 2.0 * double(py) / double(n) - 1.0, x = 0, y = 0;
            int64_t k = 0;
            while (k < 50 && x * x + y * y <= 4.0) {
                double next = x * x - y * y + cx;
                y = 2.0 * x * y + cy;
                x = next;
                k++;
            }
            if (k == 50) inside++;
        }
    return inside;
}

static int64_t collatz(int64_t n) {
    int64_t length = 0;
    while (n != 1) {
        n = n % 2 == 0 ? n / 2 : 3 * n + 1;
        length++;
    }
    return length;
}

int64_t longest(int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++) best = std::max(best, collatz(i));
    return best;
}

static double anomaly(double mean, double eccentricity) {
    double e = mean;
    for (int turn = 0; turn < 60; turn++) {
        double off =
            (e - eccentricity * (e - e * e * e / 6.0) - mean) / (1.0 - eccentricity * (1.0 - e * e / 2.0));
        e -= off;
        if (std::abs(off) < 0.0000000001) break;
    }
    return e;
}

double anomalies(int64_t n) {
    double total = 0;
    for (int64_t i = 0; i < n; i++) total += anomaly(double(i) / double(n), 0.1 + double(i % 7) / 10.0);
    return total;
}

int64_t matrix_chain(int64_t n) {
    vector<int64_t> sizes(n + 1);
    for (int64_t i = 0; i <= n; i++) sizes[i] = 10 + i * 7919 % 90;
    vector<vector<int64_t>> cost(n, vector<int64_t>(n, 0));
    for (int64_t length = 1; length < n; length++)
        for (int64_t i = 0; i + length < n; i++) {
            int64_t j = i + length, best = std::numeric_limits<int64_t>::max();
            for (int64_t k = i; k < j; k++)
                best = std::min(best, cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1]);
            cost[i][j] = best;
        }
    return cost[0][n - 1];
}

int64_t edit_distance(int64_t n) {
    vector<int64_t> a(n), b(n);
    for (int64_t i = 0; i < n; i++) {
        a[i] = i * 7919 % 26;
        b[i] = i * 104729 % 26;
    }
    vector<int64_t> before(n + 1), row(n + 1);
    for (int64_t j = 0; j <= n; j++) before[j] = j;
    for (int64_t i = 0; i < n; i++) {
        row[0] = i + 1;
        for (int64_t j = 0; j < n; j++) {
            int64_t change = before[j] + (a[i] == b[j] ? 0 : 1);
            row[j + 1] = std::min(std::min(before[j + 1] + 1, row[j] + 1), change);
        }
        std::swap(before, row);
    }
    return before[n];
}
}
