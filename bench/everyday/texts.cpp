// Peers of texts.hyb.
#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

using std::pair;
using std::string;
using std::string_view;
using std::vector;
using std::unordered_map;

static vector<string_view> split(string_view s, char c) {
    vector<string_view> out;
    size_t start = 0;
    while (true) {
        size_t at = s.find(c, start);
        if (at == string_view::npos) break;
        out.push_back(s.substr(start, at - start));
        start = at + 1;
    }
    out.push_back(s.substr(start));
    return out;
}

static vector<string_view> words(string_view s) {
    vector<string_view> out;
    size_t i = 0;
    while (i < s.size()) {
        while (i < s.size() && isspace((unsigned char)s[i])) i++;
        size_t start = i;
        while (i < s.size() && !isspace((unsigned char)s[i])) i++;
        if (i > start) out.push_back(s.substr(start, i - start));
    }
    return out;
}

static int64_t number(string_view s) {
    int64_t n = 0;
    std::from_chars(s.data(), s.data() + s.size(), n);
    return n;
}

struct PairHash {
    size_t operator()(const pair<string_view, string_view>& p) const {
        return std::hash<string_view>()(p.first) * 31 + std::hash<string_view>()(p.second);
    }
};

extern "C" {
string* text_new(const char* data, int64_t n) { return new string(data, n); }

int64_t turned_letters(const string* text) {
    string out(text->rbegin(), text->rend());
    return out.size() + out[7];
}
int64_t turned_slice(const string* text) { return turned_letters(text); }

int64_t two_letters(const string* text) {
    int64_t a = 0, e = 0;
    for (char c : *text) {
        if (c == 'a') a++;
        else if (c == 'e') e++;
    }
    return 3 * a + e;
}

int64_t words_by_while(const string* t) {
    const string& text = *t;
    int64_t count = 0, longest = 0;
    size_t i = 0;
    while (i < text.size()) {
        while (i < text.size() && text[i] == ' ') i++;
        size_t start = i;
        while (i < text.size() && text[i] != ' ') i++;
        if (i > start) {
            count++;
            longest = std::max(longest, int64_t(i - start));
        }
    }
    return count * 100 + longest;
}

int64_t csv_ints(const string* text) {
    int64_t total = 0;
    for (auto line : split(*text, '\n')) {
        auto parts = split(line, ',');
        if (parts.size() == 4) total += number(parts[2]) * number(parts[0]);
    }
    return total;
}

double csv_floats(const string* text) {
    double total = 0;
    for (auto line : split(*text, '\n')) {
        auto parts = split(line, ',');
        if (parts.size() == 4) {
            double x = 0;
            std::from_chars(parts[3].data(), parts[3].data() + parts[3].size(), x);
            total += x;
        }
    }
    return total;
}

int64_t anagrams(const string* text) {
    unordered_map<string, vector<string>> groups;
    for (auto word : words(*text)) {
        string key(word);
        std::sort(key.begin(), key.end());
        groups[key].emplace_back(word);
    }
    size_t best = 0;
    for (auto& [key, list] : groups) best = std::max(best, list.size());
    return best + 1000 * groups.size();
}

int64_t palindromes(const string* text) {
    int64_t count = 0;
    for (auto word : words(*text))
        if (word.size() > 2 && string(word.rbegin(), word.rend()) == word) count++;
    return count;
}

static bool is_palindrome(string_view s) {
    int64_t i = 0, j = int64_t(s.size()) - 1;
    while (i < j)
        if (s[i++] != s[j--]) return false;
    return true;
}

int64_t palindromes_by_hand(const string* text) {
    int64_t count = 0;
    for (auto word : split(*text, ' '))
        if (word.size() > 2 && is_palindrome(word)) count++;
    return count;
}

int64_t longest_palindrome(const string* t) {
    const string& s = *t;
    int64_t best = 0, n = s.size();
    for (int64_t center = 0; center < n; center++)
        for (int64_t odd = 0; odd < 2; odd++) {
            int64_t i = center, j = center + odd;
            while (i >= 0 && j < n && s[i] == s[j]) i--, j++;
            best = std::max(best, j - i - 1);
        }
    return best;
}

int64_t log_levels(const string* text) {
    unordered_map<string, int64_t> counts;
    int64_t slow = 0;
    for (auto line : split(*text, '\n')) {
        if (line.substr(0, 1) == "#") continue;
        std::array<string_view, 4> parts;
        size_t n = 0, start = 0;
        while (n < 3) {
            size_t at = line.find(' ', start);
            if (at == string_view::npos) break;
            parts[n++] = line.substr(start, at - start);
            start = at + 1;
        }
        parts[n++] = line.substr(start);
        if (n < 4) continue;
        counts[string(parts[2])]++;
        auto message = parts[3];
        size_t at = message.find("took=");
        if (at != string_view::npos) {
            size_t end = message.find("ms", at);
            if (number(message.substr(at + 5, end - at - 5)) > 500) slow++;
        }
    }
    return slow * 1000000 + counts["ERROR"];
}

int64_t bigrams(const string* text) {
    unordered_map<pair<string_view, string_view>, int64_t, PairHash> counts;
    auto list = words(*text);
    for (size_t i = 0; i + 1 < list.size(); i++) counts[{list[i], list[i + 1]}]++;
    int64_t best = 0;
    for (auto& [k, v] : counts) best = std::max(best, v);
    return best + counts.size();
}

int64_t trigrams(const string* text) {
    unordered_map<string, int64_t> counts;
    for (size_t i = 0; i + 2 < text->size(); i++) counts[text->substr(i, 3)]++;
    int64_t best = 0;
    for (auto& [k, v] : counts) best = std::max(best, v);
    return best + counts.size();
}

int64_t caesar_letters(const string* text) {
    string out;
    const int shift = 3;
    for (char c : *text) {
        if (c >= 'a' && c <= 'z') out += char((c - 'a' + shift) % 26 + 'a');
        else if (c >= 'A' && c <= 'Z') out += char((c - 'A' + shift) % 26 + 'A');
        else out += c;
    }
    return out.size() + out[5];
}

int64_t run_lengths(const string* t) {
    const string& text = *t;
    string out;
    size_t i = 0;
    while (i < text.size()) {
        size_t j = i;
        while (j < text.size() && text[j] == text[i]) j++;
        out += text[i];
        out += std::to_string(j - i);
        i = j;
    }
    string back;
    i = 0;
    while (i < out.size()) {
        char letter = out[i++];
        size_t n = 0;
        while (i < out.size() && isdigit((unsigned char)out[i])) n = n * 10 + (out[i++] - '0');
        back.append(n, letter);
    }
    if (back != text) return -1;
    return out.size();
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
    static const unordered_map<char, int64_t> values = {{'I', 1},   {'V', 5},   {'X', 10},  {'L', 50},
                                                        {'C', 100}, {'D', 500}, {'M', 1000}};
    int64_t total = 0;
    for (size_t i = 0; i < text.size(); i++) {
        int64_t value = values.at(text[i]);
        if (i + 1 < text.size() && value < values.at(text[i + 1])) total -= value;
        else total += value;
    }
    return total;
}

int64_t romans(int64_t n) {
    int64_t total = 0;
    for (int64_t i = 1; i < n; i++) {
        string text = roman(i % 3999 + 1);
        total += text.size() + from_roman(text);
    }
    return total;
}

static string added(const string& a, const string& b) {
    string digits;
    int carry = 0;
    int64_t i = int64_t(a.size()) - 1, j = int64_t(b.size()) - 1;
    while (i >= 0 || j >= 0 || carry > 0) {
        int sum = carry;
        if (i >= 0) sum += a[i--] - '0';
        if (j >= 0) sum += b[j--] - '0';
        digits.push_back(char('0' + sum % 10));
        carry = sum / 10;
    }
    std::reverse(digits.begin(), digits.end());
    return digits;
}

int64_t big_fibonacci(int64_t n) {
    string a = "0", b = "1";
    for (int64_t i = 0; i < n; i++) {
        string c = added(a, b);
        a = std::move(b);
        b = std::move(c);
    }
    return a.size() * 10 + (a[0] - '0');
}

int64_t without_repeats(const string* text) {
    unordered_map<char, int64_t> last;
    int64_t start = 0, best = 0;
    for (int64_t i = 0; i < int64_t(text->size()); i++) {
        char c = (*text)[i];
        auto it = last.find(c);
        if (it != last.end() && it->second >= start) start = it->second + 1;
        last[c] = i;
        best = std::max(best, i - start + 1);
    }
    return best;
}

int64_t top_words(const string* text) {
    string low = *text;
    for (char& c : low) c = char(tolower((unsigned char)c));
    unordered_map<string, int64_t> counts;
    for (auto word : words(low)) {
        size_t from = word.find_first_not_of(".,;!?");
        if (from == string_view::npos) word = "";
        else word = word.substr(from, word.find_last_not_of(".,;!?") - from + 1);
        counts[string(word)]++;
    }
    vector<pair<string, int64_t>> ordered(counts.begin(), counts.end());
    std::sort(ordered.begin(), ordered.end(), [](auto& a, auto& b) {
        return a.second != b.second ? a.second > b.second : a.first < b.first;
    });
    int64_t total = 0;
    for (size_t i = 0; i < ordered.size() && i < 10; i++)
        total = total * 3 + ordered[i].second + ordered[i].first.size();
    return total;
}

int64_t report(int64_t n) {
    string out;
    char line[64];
    for (int64_t i = 0; i < n; i++) {
        if (i > 0) out += '\n';
        int size = snprintf(line, sizeof line, "%6ld,%.2f,item-%ld", (long)i, double(i) * 0.37, (long)(i % 17));
        out.append(line, size);
    }
    return out.size();
}

int64_t balanced(const string* text) {
    vector<char> stack;
    int64_t good = 0;
    for (char c : *text) {
        if (c == '(' || c == '[' || c == '{') stack.push_back(c);
        else if (c == ')' || c == ']' || c == '}') {
            char open = c == ')' ? '(' : c == ']' ? '[' : '{';
            if (!stack.empty() && stack.back() == open) {
                stack.pop_back();
                good++;
            }
        }
    }
    return good * 10 + stack.size();
}

int64_t title(const string* text) {
    string joined;
    for (auto word : split(*text, ' '))
        if (!word.empty()) {
            if (!joined.empty()) joined += ' ';
            joined += char(toupper((unsigned char)word[0]));
            joined.append(word.substr(1));
        }
    return joined.size() + joined[0];
}

int64_t regex(const string* t, const string* p) {
    const string &text = *t, &pattern = *p;
    size_t n = text.size(), m = pattern.size();
    vector<vector<char>> table(n + 1, vector<char>(m + 1));
    table[0][0] = true;
    for (size_t j = 2; j <= m; j++)
        if (pattern[j - 1] == '*') table[0][j] = table[0][j - 2];
    for (size_t i = 1; i <= n; i++)
        for (size_t j = 1; j <= m; j++) {
            if (pattern[j - 1] == '*') {
                table[i][j] = table[i][j - 2];
                if (pattern[j - 2] == '.' || pattern[j - 2] == text[i - 1])
                    table[i][j] = table[i][j] || table[i - 1][j];
            } else if (pattern[j - 1] == '.' || pattern[j - 1] == text[i - 1])
                table[i][j] = table[i - 1][j - 1];
        }
    return table[n][m];
}

static string replace(const string& s, string_view from, string_view to) {
    string out;
    size_t start = 0;
    while (true) {
        size_t at = s.find(from, start);
        if (at == string::npos) break;
        out.append(s, start, at - start);
        out.append(to);
        start = at + from.size();
    }
    out.append(s, start);
    return out;
}

int64_t replaced(const string* text) {
    string out = replace(replace(*text, "the", "THE"), " ", "_");
    int64_t n = 0;
    for (size_t at = out.find("THE"); at != string::npos; at = out.find("THE", at + 3)) n++;
    return out.size() + n;
}

int64_t vowel_counts(const string* text) {
    unordered_map<char, int64_t> counts;
    for (char c : *text)
        if (isalpha((unsigned char)c)) counts[c]++;
    return counts['a'] + 7 * counts['e'];
}
}
