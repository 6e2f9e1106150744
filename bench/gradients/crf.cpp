// The CRF of crf.py with its derivative by hand, with log-sum-exp: g++ -O3 -march=native -ffast-math -shared -fPIC
#include <cmath>
#include <vector>

extern "C" float crf(int T, int K, const float* scores, const float* moves, const long* labels, float* dscores,
                     float* dmoves) {
    std::vector<float> alpha(T * K), top(K), sum(K), d(K), next(K);
    for (int k = 0; k < K; k++) alpha[k] = scores[k];
    float own = scores[labels[0]];
    for (int t = 1; t < T; t++) {
        const float* a = &alpha[(t - 1) * K];
        for (int j = 0; j < K; j++) top[j] = -INFINITY, sum[j] = 0;
        for (int i = 0; i < K; i++)
            for (int j = 0; j < K; j++) top[j] = std::fmax(top[j], a[i] + moves[i * K + j]);
        for (int i = 0; i < K; i++)
            for (int j = 0; j < K; j++) sum[j] += std::exp(a[i] + moves[i * K + j] - top[j]);
        for (int j = 0; j < K; j++) alpha[t * K + j] = scores[t * K + j] + top[j] + std::log(sum[j]);
        own += scores[t * K + labels[t]] + moves[labels[t - 1] * K + labels[t]];
    }
    const float* last = &alpha[(T - 1) * K];
    float m = -INFINITY, s = 0;
    for (int k = 0; k < K; k++) m = std::fmax(m, last[k]);
    for (int k = 0; k < K; k++) s += std::exp(last[k] - m);
    float total = m + std::log(s);
    for (int k = 0; k < K; k++) d[k] = std::exp(last[k] - total);
    for (int i = 0; i < K * K; i++) dmoves[i] = 0;
    for (int t = T - 1; t > 0; t--) {
        const float* a = &alpha[(t - 1) * K];
        for (int j = 0; j < K; j++) {
            dscores[t * K + j] = d[j];
            top[j] = alpha[t * K + j] - scores[t * K + j];
        }
        for (int i = 0; i < K; i++) {
            float row = 0;
            for (int j = 0; j < K; j++) {
                float p = d[j] * std::exp(a[i] + moves[i * K + j] - top[j]);
                dmoves[i * K + j] += p;
                row += p;
            }
            next[i] = row;
        }
        d.swap(next);
        dscores[t * K + labels[t]] -= 1;
        dmoves[labels[t - 1] * K + labels[t]] -= 1;
    }
    for (int k = 0; k < K; k++) dscores[k] = d[k];
    dscores[labels[0]] -= 1;
    return total - own;
}
