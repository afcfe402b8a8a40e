// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "rootprep/explain.hpp"

#include <algorithm>
#include <iterator>

#include "explain/facts.hpp"
#include "explain/hints.hpp"
#include "print/decode.hpp"
#include "rootprep/execution.hpp"
#include "rootprep/plan_builder.hpp"
#include "rootprep/print.hpp"

namespace rootprep {
namespace {

using explaining::Facts;
using explaining::Match;
using explaining::Row;

constexpr std::size_t columns = 100;

// Where a line may end: after a space, or inside a long call after a flag, an option or a layer. What is left whole may be longer than the
// line.
std::size_t break_before(std::string_view text, std::size_t limit) {
  const std::size_t space = text.rfind(' ', limit);
  if (space != std::string_view::npos && space > 0) return space + 1;
  for (const char separator : {'|', ',', ':'}) {
    const std::size_t found = text.rfind(separator, limit - 1);
    if (found != std::string_view::npos && found > 0) return found + 1;
  }
  const std::size_t next = text.find_first_of(" |,", limit);
  return next == std::string_view::npos ? text.size() : next + 1;
}

// Appends `text` in lines of at most `columns`: the first begins with `first`, the others with `rest`.
void append_wrapped(std::string& out, std::string_view text, std::string_view first, std::string_view rest) {
  std::string_view prefix = first;
  do {
    const std::size_t room = columns - prefix.size();
    std::size_t end = text.size() <= room ? text.size() : break_before(text, room);
    std::string_view line = text.substr(0, end);
    while (line.ends_with(' ')) line.remove_suffix(1);
    out.append(prefix).append(line).append("\n");
    text.remove_prefix(end);
    prefix = rest;
  } while (!text.empty());
}

Hint hint_of(const Row& row) {
  Hint hint{row.id, {}, row.cause, row.remedy};
  std::string calls{row.calls};
  for (std::size_t at = 0; (at = calls.find(' ', at)) != std::string::npos; at += 2) calls.replace(at, 1, ", ");
  if (row.domain != Domain::kernel) {
    hint.symptom = (row.domain == Domain::plan ? plan_category() : child_category()).message(row.codes[0]);
    return hint;
  }
  hint.symptom = calls.empty() ? "any call" : calls;
  const char* separator = ": ";
  for (const int code : row.codes) {
    if (code == 0) continue;
    hint.symptom += separator + print::errno_name(code);
    separator = " or ";
  }
  return hint;
}

std::vector<Hint> causes_of(const Facts& facts) {
  constexpr std::size_t enough = 4;
  std::vector<Hint> possible;
  std::vector<Hint> certain;
  for (const Row& row : explaining::rows()) {
    switch (explaining::match(row, facts)) {
      case Match::no: break;
      case Match::possible: possible.push_back(hint_of(row)); break;
      case Match::certain: certain.push_back(hint_of(row)); break;
    }
  }
  if (!certain.empty()) return {certain.front()};
  if (possible.size() > enough) possible.resize(enough);
  return possible;
}

void append_causes(std::string& out, const std::vector<Hint>& found) {
  if (found.size() == 1) {
    append_wrapped(out, std::string{found.front().cause} + " (" + std::string{found.front().id} + ')', "cause:  ", "        ");
    append_wrapped(out, found.front().remedy, "remedy: ", "        ");
    return;
  }
  if (found.empty()) return;
  out += "likely causes, the likeliest first:\n";
  for (std::size_t i = 0; i < found.size(); ++i) {
    append_wrapped(out, std::string{found[i].cause} + " (" + std::string{found[i].id} + ')', "  " + std::to_string(i + 1) + ". ", "     ");
    append_wrapped(out, found[i].remedy, "     remedy: ", "             ");
  }
}

// "EPERM: Operation not permitted"
std::string meaning(const Error& error) {
  if (error.domain == Domain::kernel) return print::errno_name(error.code) + ": " + print::errno_words(error.code);
  return make_error_code(error).message();
}

// "e overlay: no such layer\n": the level, then the words (the log of fsopen(2)'s descriptor).
void append_kernel_message(std::string& out, std::string_view message) {
  while (!message.empty()) {
    const std::size_t end = std::min(message.find('\n'), message.size());
    std::string_view line = message.substr(0, end);
    message.remove_prefix(std::min(end + 1, message.size()));
    if (line.size() > 2 && line[1] == ' ') line.remove_prefix(2);
    if (!line.empty()) append_wrapped(out, "the kernel says: " + print::printable(line), "  ", "    ");
  }
}

std::string step_text(const Plan& plan, std::size_t step) {
  return std::to_string(step) + ": " + print::printable(plan.steps()[step].description);
}

std::string event_text(const Plan& plan, const Deviation& event) {
  return "step " + step_text(plan, event.step) + ": " + (event.note.empty() ? "another way was taken" : print::printable(event.note)) +
         " (" + print::call_name(plan.operations()[event.operation]) + ": " + print::errno_name(event.error_number) + ", operation " +
         std::to_string(event.operation) + ')';
}

void append_events(std::string& out, const Report& report, const Plan& plan, std::string_view first, std::string_view rest) {
  for (const Deviation& event : deviations(plan, report)) append_wrapped(out, event_text(plan, event), first, rest);
  const std::size_t known = std::size(report.events);
  if (report.event_count > known) out.append(first).append("and " + std::to_string(report.event_count - known) + " more\n");
}

const char* way(RootEntry entry) noexcept {
  switch (entry) {
    case RootEntry::none: return "";
    case RootEntry::pivot_root: return "pivot_root";
    case RootEntry::move_root: return "moving it over /: the host's mounts stay hidden below it";
    case RootEntry::chroot: return "chroot: no security boundary";
    case RootEntry::base_namespace: return "joining a namespace of one mount";
    case RootEntry::namespace_from_tree: return "a namespace made from its tree";
  }
  return "another way";
}

}  // namespace

std::string explain(const Error& error, const Plan& plan, const Report* report) {
  if (error.domain == Domain::none) return "no error\n";
  std::string out;
  const bool has_operation = error.operation < plan.operations().size();
  if (error.step < plan.steps().size()) {
    append_wrapped(out, "step " + std::to_string(error.step) + " failed: " + print::printable(plan.steps()[error.step].description), "",
                   "  ");
  } else {
    out += has_operation ? "an operation failed\n" : error.domain == Domain::plan ? "the plan cannot be made\n" : "launching failed\n";
  }
  if (has_operation) {
    append_wrapped(out, "operation " + std::to_string(error.operation) + ": " + print::call(plan, plan.operations()[error.operation]), "  ",
                   "    ");
  } else if (const std::string_view name = print::system_call_name(error.system_call); error.system_call != 0) {
    out += "  system call: " + (name.empty() ? "number " + std::to_string(error.system_call) : std::string{name}) + '\n';
  }
  append_wrapped(out, meaning(error), "  ", "    ");
  if (report != nullptr) {
    append_kernel_message(out, Facts{error, &plan, report}.kernel_message());
    append_events(out, *report, plan, "  before: ", "    ");
  }
  append_causes(out, causes(error, plan, report));
  return out;
}

std::string explain(const Error& error) {
  if (error.domain == Domain::none) return "no error\n";
  std::string out;
  std::string where;
  if (error.step != no_step) where += "step " + std::to_string(error.step);
  if (error.operation != no_operation) where += (where.empty() ? "operation " : ", operation ") + std::to_string(error.operation);
  if (error.system_call != 0) {
    const std::string_view name = print::system_call_name(error.system_call);
    where += (where.empty() ? "" : ", ") + (name.empty() ? "system call " + std::to_string(error.system_call) : std::string{name});
  }
  append_wrapped(out, (where.empty() ? "" : where + ": ") + meaning(error), "", "  ");
  append_causes(out, causes(error));
  return out;
}

std::string explain(const Problem& problem) {
  std::string out;
  const std::vector<Hint> found = causes(problem.error);
  std::string what = problem.field.empty() ? meaning(problem.error) : problem.field + ": " + meaning(problem.error);
  // What would have been right says more than the table's remedy, which fits every value.
  const bool knows_better = !problem.expected.empty() && found.size() == 1;
  if (knows_better) what += " (" + std::string{found.front().id} + ')';
  append_wrapped(out, what, "", "  ");
  if (!problem.step.empty()) append_wrapped(out, print::printable(problem.step), "  step:     ", "            ");
  if (!problem.value.empty()) append_wrapped(out, print::quoted(problem.value), "  given:    ", "            ");
  if (!problem.expected.empty()) append_wrapped(out, print::printable(problem.expected), "  expected: ", "            ");
  if (!knows_better) append_causes(out, found);
  return out;
}

std::string describe(const Report& report, const Plan& plan) {
  std::string out;
  append_events(out, report, plan, "", "  ");
  if (report.entered_by != RootEntry::none) append_wrapped(out, std::string{"entered the root by "} + way(report.entered_by), "", "  ");
  return out;
}

std::vector<Hint> hints() {
  std::vector<Hint> all;
  for (const Row& row : explaining::rows()) all.push_back(hint_of(row));
  return all;
}

std::vector<Hint> causes(const Error& error, const Plan& plan, const Report* report) { return causes_of(Facts{error, &plan, report}); }
std::vector<Hint> causes(const Error& error) { return causes_of(Facts{error}); }

}  // namespace rootprep
