// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
//
// rootprep-scenarios --kernel fake|linux [--user-namespace] [--without CALL,...] [--profile VERSION] [--instead FILE] [--record |
//                    --record-different] [--quiet] FILE...
// rootprep-scenarios --rows ROWS FILE...   are all rows of the errno table covered by a case, or left out for a reason?
// One line a case: its name, and "pass" or the first difference; then a count. Exit status: 0 all passed, 1 a difference, 2 wrong use,
// 77 this machine does not let us run (no privilege).
#include <algorithm>
#include <cstring>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "session.hpp"

namespace {

using namespace rootprep;
using namespace rootprep::conformance;
using nlohmann::json;

std::string errno_name(long result) {
  if (result >= 0) return "0";
  const char* name = ::strerrorname_np(static_cast<int>(-result));
  return name != nullptr ? name : std::to_string(-result);
}

std::string operation_text(const Operation& operation) {
  std::string text;
  for (const auto& word : operation) text += (text.empty() ? "" : " ") + (word.empty() ? "''" : word);
  return text;
}

std::string row_text(const Row& row) { return "[\"" + row.mountpoint + "\", \"" + row.source + "\", \"" + row.propagation + "\"]"; }

// One namespace's table against what the case expects. Empty: equal.
std::string compare(const Table& table, const json& rows, const json* parents, const json* flags, const std::string& where) {
  for (std::size_t i = 0; i < std::max(table.size(), rows.size()); ++i) {
    if (i >= table.size()) return where + "row " + std::to_string(i) + ": expected " + rows[i].dump() + ", there is none";
    if (i >= rows.size()) return where + "row " + std::to_string(i) + ": " + row_text(table[i]) + " was not expected";
    const Row& row = table[i];
    if (rows[i][0] != row.mountpoint || rows[i][1] != row.source || rows[i][2] != row.propagation) {
      return where + "row " + std::to_string(i) + ": expected " + rows[i].dump() + ", got " + row_text(row);
    }
    if (parents != nullptr && i < parents->size() && (*parents)[i] != row.parent) {
      return where + "row " + std::to_string(i) + " " + row_text(row) + ": expected parent " + (*parents)[i].dump() + ", got " +
             std::to_string(row.parent);
    }
    if (flags != nullptr && i < flags->size() && !(*flags)[i].is_null() && (*flags)[i] != row.flags) {
      return where + "row " + std::to_string(i) + " " + row_text(row) + ": expected flags " + (*flags)[i].dump() + ", got " + row.flags;
    }
  }
  return "";
}

const json* member(const json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

bool has_tag(const json& scenario, const char* tag) {
  const json* tags = member(scenario, "tags");
  return tags != nullptr && std::find(tags->begin(), tags->end(), tag) != tags->end();
}

std::string check(Runner& runner, const json& scenario, const std::vector<std::string>& without) {
  const auto operations = scenario.at("setup").get<std::vector<Operation>>();
  RunOptions options;
  options.absolute = has_tag(scenario, "pivot");
  const Outcome outcome = runner.run(operations, options);
  if (!outcome.trouble.empty()) return outcome.trouble;
  const std::string expected_error = scenario.value("expect_errno", std::string());
  for (std::size_t i = 0; i < outcome.results.size(); ++i) {
    const auto young = young_calls_of(operations[i]);
    if (std::any_of(young.begin(), young.end(),
                    [&](const auto& call) { return std::find(without.begin(), without.end(), call) != without.end(); })) {
      // The case ends here: what follows needs what this operation would have made.
      if (outcome.results[i] == -ENOSYS) return "";
      return "operation " + std::to_string(i) + " (" + operation_text(operations[i]) + "): expected ENOSYS, got " +
             errno_name(outcome.results[i]);
    }
    const bool last = i + 1 == outcome.results.size();
    const std::string expected = last && !expected_error.empty() ? expected_error : "0";
    const std::string got = errno_name(outcome.results[i]);
    if (got != expected) {
      return "operation " + std::to_string(i) + " (" + operation_text(operations[i]) + "): expected " + expected + ", got " + got +
             (outcome.rules[i].empty() ? "" : " by rule " + outcome.rules[i]);
    }
    if (last && scenario.contains("rule") && !outcome.rules[i].empty() && scenario["rule"] != outcome.rules[i]) {
      return "expected the rule " + scenario["rule"].get<std::string>() + ", got " + outcome.rules[i];
    }
  }
  std::map<std::string, int> numbers;
  for (const auto& [ns, mountinfo] : outcome.mountinfo) {
    const Table table = table_from(mountinfo, options.absolute, numbers);
    const bool first = ns == "0";
    const json* tables = first ? &scenario : member(scenario, "expect_ns");
    const json* rows = tables == nullptr ? nullptr : member(*tables, first ? "expect" : ns.c_str());
    if (rows == nullptr) continue;
    const json* all_parents = first ? &scenario : member(scenario, "parents_ns");
    const json* parents = all_parents == nullptr ? nullptr : member(*all_parents, first ? "parents" : ns.c_str());
    const json* all_flags = first ? &scenario : member(scenario, "flags_ns");
    const json* flags = all_flags == nullptr ? nullptr : member(*all_flags, first ? "flags" : ns.c_str());
    const std::string difference = compare(table, *rows, parents, flags, first ? "" : "namespace " + ns + ", ");
    if (!difference.empty()) return difference;
  }
  return "";
}

// Does the case ask for what only real root may do, or is it about the world of an unprivileged user?
const char* reason_to_skip(const json& scenario, bool user_namespace) {
  if (user_namespace && has_tag(scenario, "init-userns")) return "needs the initial user namespace";
  if (!user_namespace && has_tag(scenario, "only-userns")) return "about a user namespace from its start";
  return nullptr;
}

// Fills in what the kernel at hand answers: how new cases are written.
json recorded(Runner& runner, json scenario) {
  auto operations = scenario.at("setup").get<std::vector<Operation>>();
  RunOptions options;
  options.absolute = has_tag(scenario, "pivot");
  options.stop_at_failure = true;
  Outcome outcome = runner.run(operations, options);
  if (!outcome.results.empty() && outcome.results.back() == -EBADMSG && operations[outcome.results.size() - 1][0] == "fails") {
    // Not the errno that the case has: done as the last operation, it says which.
    operations.resize(outcome.results.size());
    operations.back().erase(operations.back().begin(), operations.back().begin() + 2);
    outcome = runner.run(operations, options);
  }
  operations.resize(outcome.results.size());
  scenario["setup"] = operations;
  scenario.erase("expect_errno");
  if (!outcome.results.empty() && outcome.results.back() < 0) scenario["expect_errno"] = errno_name(outcome.results.back());
  std::map<std::string, int> numbers;
  for (const auto& [ns, mountinfo] : outcome.mountinfo) {
    json rows = json::array(), parents = json::array(), flags = json::array();
    for (const Row& row : table_from(mountinfo, options.absolute, numbers)) {
      rows.push_back({row.mountpoint, row.source, row.propagation});
      parents.push_back(row.parent);
      flags.push_back(row.flags);
    }
    (ns == "0" ? scenario["expect"] : scenario["expect_ns"][ns]) = rows;
    (ns == "0" ? scenario["parents"] : scenario["parents_ns"][ns]) = parents;
    if (has_tag(scenario, "flags")) (ns == "0" ? scenario["flags"] : scenario["flags_ns"][ns]) = flags;
  }
  return scenario;
}

// ROWS: a row a line, its id, then nothing or the reason why no case has it as a tag.
int check_rows(const std::string& rows_file, const std::vector<std::string>& files) {
  std::set<std::string> tags;
  for (const auto& file : files) {
    std::ifstream in(file);
    const json document = json::parse(in);
    for (const json& scenario : document.at("cases")) {
      for (const json& tag : scenario.value("tags", json::array())) tags.insert(tag.get<std::string>());
    }
  }
  std::ifstream in(rows_file);
  std::string line;
  int covered = 0, left_out = 0, wrong = 0;
  while (std::getline(in, line)) {
    if (line.empty() || line[0] == '#') continue;
    const std::string id = line.substr(0, line.find(' '));
    const bool reason = line.size() > id.size() + 1;
    const bool has_case = tags.count(id) != 0;
    if (has_case == reason) {
      ++wrong;
      std::cout << id << (has_case ? ": has a case and a reason to have none\n" : ": neither a case nor a reason\n");
    }
    ++(has_case ? covered : left_out);
    if (reason) std::cout << "not covered: " << line << "\n";
  }
  std::cout << covered << " rows covered, " << left_out << " not covered\n";
  return wrong == 0 && covered != 0 ? 0 : 1;
}

int usage() {
  std::cerr << "usage: rootprep-scenarios --kernel fake|linux [--user-namespace] [--without CALL,...] [--profile VERSION] [--record]"
               " [--record-different] [--instead FILE] [--quiet] FILE...\n       rootprep-scenarios --rows ROWS FILE...\n";
  return 2;
}

}  // namespace

int main(int argc, char** argv) try {
  std::string kernel, rows, instead_file, profile_name = "6.18";
  std::vector<std::string> without;
  bool user_namespace = false, record = false, record_different = false, quiet = false;
  std::vector<std::string> files;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--kernel" && i + 1 < argc) {
      kernel = argv[++i];
    } else if (argument == "--profile" && i + 1 < argc) {
      profile_name = argv[++i];
    } else if (argument == "--instead" && i + 1 < argc) {
      instead_file = argv[++i];
    } else if (argument == "--rows" && i + 1 < argc) {
      rows = argv[++i];
    } else if (argument == "--without" && i + 1 < argc) {
      std::istringstream names(argv[++i]);
      for (std::string name; std::getline(names, name, ',');) without.push_back(name);
    } else if (argument == "--user-namespace") {
      user_namespace = true;
    } else if (argument == "--record") {
      record = true;
    } else if (argument == "--record-different") {
      record_different = true;
    } else if (argument == "--quiet") {
      quiet = true;
    } else if (argument.rfind("--", 0) == 0) {
      return usage();
    } else {
      files.push_back(argument);
    }
  }
  if (!files.empty() && !rows.empty()) return check_rows(rows, files);
  if (files.empty() || (kernel != "fake" && kernel != "linux")) return usage();
  const auto profile = profile_named(profile_name);
  if (!profile) return usage();
  std::string reason;
  std::unique_ptr<Runner> runner =
      kernel == "fake" ? fake_runner(*profile, user_namespace, without) : linux_runner(user_namespace, reason, without);
  if (runner == nullptr) {
    std::cout << "SKIPPED: " << reason << "\n";
    return 77;
  }
  std::map<std::string, json> instead;  // what another version answers, by name of the case
  std::set<std::string> unused;
  if (!instead_file.empty()) {
    std::ifstream in(instead_file);
    const json document = json::parse(in);
    for (const json& scenario : document.at("cases")) {
      if (reason_to_skip(scenario, user_namespace) != nullptr) continue;  // there the usual answer holds
      instead[scenario.at("name")] = scenario;
      unused.insert(scenario.at("name"));
    }
  }
  std::vector<json> different;
  int passed = 0, failed = 0, skipped = 0;
  for (const auto& file : files) {
    std::ifstream in(file);
    if (!in) {
      std::cerr << file << ": cannot be read\n";
      return 2;
    }
    json document = json::parse(in);
    if (record) {
      std::cout << "{\"cases\": [\n";
      const char* separator = "";
      for (const json& scenario : document.at("cases")) {
        std::cout << separator << recorded(*runner, scenario).dump();
        separator = ",\n";
      }
      std::cout << "\n]}\n";
      continue;
    }
    for (const json& usual : document.at("cases")) {
      const std::string name = usual.at("name");
      const auto other = instead.find(name);
      const json& scenario = other != instead.end() ? other->second : usual;
      unused.erase(name);
      const char* why = reason_to_skip(scenario, user_namespace);
      if (why == nullptr && kernel == "fake" && has_tag(scenario, "not-modelled")) why = "the model does not know this version's way";
      if (why != nullptr) {
        ++skipped;
        if (!quiet && !record_different) std::cout << name << ": skip (" << why << ")\n";
        continue;
      }
      const std::string difference = check(*runner, scenario, without);
      ++(difference.empty() ? passed : failed);
      if (record_different) {
        if (difference.empty()) continue;
        different.push_back(recorded(*runner, usual));
        different.back().erase("rule");  // of another version
      } else if (!difference.empty() || !quiet) {
        std::cout << name << ": " << (difference.empty() ? "pass" : difference) << "\n";
      }
    }
  }
  if (record_different) {
    std::cout << "{\"cases\": [\n";
    for (std::size_t i = 0; i < different.size(); ++i) std::cout << (i == 0 ? "" : ",\n") << different[i].dump();
    std::cout << "\n]}\n";
    return 0;
  }
  for (const std::string& name : unused) {
    ++failed;
    std::cout << name << ": in " << instead_file << " only\n";
  }
  if (!record)
    std::cout << passed << " passed, " << failed << " failed" << (skipped != 0 ? ", " + std::to_string(skipped) + " skipped" : "") << "\n";
  return failed == 0 ? 0 : 1;
} catch (const std::exception& problem) {
  std::cerr << "rootprep-scenarios: " << problem.what() << "\n";
  return 2;
}
