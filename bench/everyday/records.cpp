// Peers of records.hyb.
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

struct Job {
    string name;
    int64_t cost, owner;
};
struct Entry {
    int64_t priority, arrived;
    Job job;
    bool operator<(const Entry& o) const {
        return priority != o.priority ? priority > o.priority : arrived > o.arrived;
    }
};

struct Deposit {
    string name;
    int64_t amount;
};
struct Withdraw {
    string name;
    int64_t amount;
};
struct Transfer {
    string source, target;
    int64_t amount;
};
struct Close {
    string name;
};
using Action = std::variant<Deposit, Withdraw, Transfer, Close>;
struct Account {
    int64_t balance = 0;
    vector<int64_t> moves;
    bool open = true;
};
struct Bank {
    unordered_map<string, Account> accounts;
    int64_t failed = 0;
    void operator()(const Deposit& d) {
        Account& a = accounts[d.name];
        a.balance += d.amount;
        a.moves.push_back(d.amount);
    }
    void operator()(const Withdraw& w) {
        auto it = accounts.find(w.name);
        if (it != accounts.end() && it->second.balance >= w.amount) {
            it->second.balance -= w.amount;
            it->second.moves.push_back(-w.amount);
        } else
            failed++;
    }
    void operator()(const Transfer& t) {
        auto from = accounts.find(t.source), to = accounts.find(t.target);
        if (from != accounts.end() && to != accounts.end() && from->second.balance >= t.amount) {
            from->second.balance -= t.amount;
            to->second.balance += t.amount;
            from->second.moves.push_back(-t.amount);
            to->second.moves.push_back(t.amount);
        } else
            failed++;
    }
    void operator()(const Close& c) {
        auto it = accounts.find(c.name);
        if (it != accounts.end()) it->second.open = false;
    }
};

struct Number {
    int64_t value;
};
struct Name {
    string text;
};
struct Sign {
    string text;
};
using Token = std::variant<Number, Name, Sign>;

vector<Token> tokens(string_view text) {
    vector<Token> out;
    size_t i = 0;
    while (i < text.size()) {
        unsigned char c = text[i];
        if (c == ' ' || c == '\n')
            i++;
        else if (isdigit(c)) {
            size_t start = i;
            while (i < text.size() && isdigit((unsigned char)text[i])) i++;
            int64_t n = 0;
            std::from_chars(text.data() + start, text.data() + i, n);
            out.push_back(Number{n});
        } else if (isalpha(c)) {
            size_t start = i;
            while (i < text.size() && (isalnum((unsigned char)text[i]) || text[i] == '_')) i++;
            out.push_back(Name{string(text.substr(start, i - start))});
        } else {
            out.push_back(Sign{string(1, c)});
            i++;
        }
    }
    return out;
}

struct Parser {
    vector<Token> tokens;
    const unordered_map<string, int64_t>& names;
    size_t at = 0;
    bool sees(const char* sign) const {
        if (at >= tokens.size()) return false;
        auto* s = std::get_if<Sign>(&tokens[at]);
        return s && s->text == sign;
    }
    int64_t factor() {
        const Token& token = tokens[at++];
        if (auto* n = std::get_if<Number>(&token)) return n->value;
        if (auto* n = std::get_if<Name>(&token)) {
            auto it = names.find(n->text);
            return it == names.end() ? 0 : it->second;
        }
        auto& s = std::get<Sign>(token);
        if (s.text == "(") {
            int64_t value = sum();
            at++;
            return value;
        }
        if (s.text == "-") return -factor();
        throw 1;
    }
    int64_t product() {
        int64_t value = factor();
        while (sees("*")) {
            at++;
            int64_t by = factor();
            value = (value * by % 1000003 + 1000003) % 1000003;
        }
        return value;
    }
    int64_t sum() {
        int64_t value = product();
        while (true) {
            if (sees("+")) {
                at++;
                value += product();
            } else if (sees("-")) {
                at++;
                value -= product();
            } else
                return value;
        }
    }
};

struct Node {
    int64_t value;
    std::optional<int64_t> left, right;
};
struct Employee {
    string name, team;
    int64_t salary;
};
}  // namespace

extern "C" {
int64_t scheduled(int64_t n) {
    std::priority_queue<Entry> queue;
    int64_t x = 12345, arrived = 0;
    for (int64_t i = 0; i < n; i++) {
        next(x);
        queue.push({x / 65536 % 1000, arrived++, {"job" + std::to_string(i), x / 16 % 100, i % 10}});
    }
    vector<int64_t> spent(10);
    int64_t clock = 0, total = 0;
    while (!queue.empty()) {
        Entry e = std::move(const_cast<Entry&>(queue.top()));
        queue.pop();
        clock += e.job.cost;
        spent[e.job.owner] += clock % 1000;
        total += e.job.name.size();
        if (e.job.cost > 97 && e.priority < 900)
            queue.push({e.priority + 50, arrived++, {std::move(e.job.name), e.job.cost / 2, e.job.owner}});
    }
    return total + *std::max_element(spent.begin(), spent.end());
}

int64_t bank(int64_t n) {
    vector<string> names;
    for (int i = 0; i < 500; i++) names.push_back("user" + std::to_string(i));
    vector<Action> actions;
    int64_t x = 12345;
    for (int64_t i = 0; i < n; i++) {
        next(x);
        const string &a = names[x / 65536 % 500], &b = names[x / 128 % 500];
        int64_t amount = x / 16 % 100, kind = x / 1024 % 8;
        if (kind < 3) actions.push_back(Deposit{a, amount});
        else if (kind < 5) actions.push_back(Withdraw{a, amount});
        else if (kind < 7) actions.push_back(Transfer{a, b, amount});
        else actions.push_back(Close{a});
    }
    Bank bank;
    for (auto& action : actions) std::visit(bank, action);
    int64_t total = 0;
    for (auto& [name, account] : bank.accounts) total += account.balance + account.moves.size() + !account.open;
    return total * 10 + bank.failed;
}

int64_t tokenized(const string* text) {
    int64_t names = 0, total = 0;
    for (auto& token : tokens(*text)) {
        if (auto* n = std::get_if<Number>(&token)) total += n->value;
        else if (auto* n = std::get_if<Name>(&token)) names += n->text.size();
        else total++;
    }
    return total * 10 + names;
}

int64_t calculated(const string* text) {
    unordered_map<string, int64_t> names = {{"alpha", 3}, {"beta", 5}, {"x_1", 7}};
    int64_t total = 0;
    for (auto line : split(*text, "\n")) {
        Parser parser{tokens(line), names};
        total += parser.sum();
    }
    return total;
}

int64_t inserted(int64_t n) {
    vector<Node> nodes = {{1000000, {}, {}}};
    int64_t x = 12345;
    for (int64_t i = 0; i < n; i++) {
        int64_t value = next(x) / 64 % 2000000, at = 0;
        while (true) {
            auto to = value < nodes[at].value ? nodes[at].left : nodes[at].right;
            if (!to) {
                int64_t fresh = nodes.size();
                nodes.push_back({value, {}, {}});
                (value < nodes[at].value ? nodes[at].left : nodes[at].right) = fresh;
                break;
            }
            at = *to;
        }
    }
    int64_t depth = 0;
    vector<pair<int64_t, int64_t>> stack = {{0, 1}};
    while (!stack.empty()) {
        auto [at, d] = stack.back();
        stack.pop_back();
        depth = std::max(depth, d);
        if (nodes[at].left) stack.push_back({*nodes[at].left, d + 1});
        if (nodes[at].right) stack.push_back({*nodes[at].right, d + 1});
    }
    return depth * 1000 + nodes.size() % 1000;
}

int64_t payroll(int64_t n) {
    vector<Employee> people;
    int64_t x = 12345;
    for (int64_t i = 0; i < n; i++) {
        next(x);
        people.push_back({"person number " + std::to_string(i), "team-" + std::to_string(x / 65536 % 20),
                          x / 16 % 5000});
    }
    unordered_map<string, vector<Employee>> teams;
    for (auto& p : people) teams[p.team].push_back(p);
    int64_t total = 0;
    for (auto& [team, members] : teams) {
        auto sorted = members;
        std::stable_sort(sorted.begin(), sorted.end(), [](auto& a, auto& b) { return a.salary > b.salary; });
        for (size_t i = 0; i < sorted.size() && i < 3; i++) total += sorted[i].salary + sorted[i].name.size();
    }
    return total;
}
}
