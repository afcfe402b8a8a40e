// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include <algorithm>
#include <vector>

#include "print/decode.hpp"
#include "rootprep/print.hpp"

namespace rootprep {
namespace {

std::string counted(std::size_t count, const char* thing) { return std::to_string(count) + ' ' + thing + (count == 1 ? "" : "s"); }

const char* name_of(Capability capability) noexcept {
  switch (capability) {
    case Capability::none: return "nothing";
    case Capability::sys_admin: return "CAP_SYS_ADMIN";
    case Capability::sys_chroot: return "CAP_SYS_CHROOT";
    case Capability::mknod: return "CAP_MKNOD";
  }
  return "?";
}

std::string needs_of(const Plan& plan) {
  const Needs needs = plan.needs();
  std::vector<std::string> all;
  for (const Capability capability : needs.capabilities) all.emplace_back(name_of(capability));
  if (!needs.linux_version.empty()) all.push_back("Linux " + std::string{needs.linux_version});
  std::string text;
  for (std::size_t i = 0; i < all.size(); ++i) text += (i == 0 ? ", needs " : i + 1 == all.size() ? " and " : ", ") + all[i];
  return text;
}

class TextPrinter {
 public:
  explicit TextPrinter(const Plan& plan) : plan_(plan), has_operations_(plan.steps().size()) {
    for (const Operation& operation : plan.operations()) has_operations_[operation.step] = true;
    width_ = std::max<std::size_t>(2, std::to_string(plan.operations().size()).size());
  }

  std::string print() {
    const auto count = static_cast<std::uint32_t>(plan_.operations().size());
    text_ = "plan: " + counted(count, "operation") + " in " + counted(plan_.steps().size(), "step") + needs_of(plan_);
    if (plan_.for_user_namespace()) text_ += ", in a user namespace";
    text_ += '\n';
    if (plan_.prologue_size() != 0) text_ += "prologue: while the host is visible\n";
    operations(0, plan_.prologue_size());
    if (count == 0 && plan_.steps().empty()) return std::move(text_);
    text_ += plan_.parts().root_slot == no_slot ? "body\n" : "body: inside the new root\n";
    in_body_ = true;
    operations(plan_.prologue_size(), count);
    empty_steps_before(plan_.steps().size());
    return std::move(text_);
  }

 private:
  void operations(std::uint32_t first, std::uint32_t last) {
    std::uint16_t current = no_step;
    for (std::uint32_t i = first; i < last; ++i) {
      const std::uint16_t step = plan_.operations()[i].step;
      if (step != current) {
        if (in_body_) empty_steps_before(step);
        heading(step, current);
        current = step;
      }
      std::string number = std::to_string(i);
      number.insert(0, width_ + 2 - number.size(), ' ');
      text_ += number + "  " + to_text(plan_, i) + '\n';
    }
  }

  // The step, and the steps around it that `previous` was not in.
  void heading(std::size_t step, std::size_t previous) {
    const std::vector<std::size_t> before = previous == no_step ? std::vector<std::size_t>{} : around(previous);
    for (const std::size_t outer : around(step)) {
      if (std::find(before.begin(), before.end(), outer) == before.end() || outer == step) line(outer, "");
    }
  }

  // Steps that came to nothing: an option that is not set, say. A reader would look for them.
  void empty_steps_before(std::size_t step) {
    for (; next_step_ < step; ++next_step_) {
      const bool has_children =
          next_step_ + 1 < plan_.steps().size() && plan_.steps()[next_step_ + 1].depth > plan_.steps()[next_step_].depth;
      if (!has_operations_[next_step_] && !has_children) line(next_step_, ": no operations");
    }
    next_step_ = std::max(next_step_, step + 1);
  }

  // The steps around a step and itself, the outermost first.
  std::vector<std::size_t> around(std::size_t step) const {
    std::vector<std::size_t> steps{step};
    std::size_t depth = plan_.steps()[step].depth;
    for (std::size_t i = step; i-- > 0 && depth > 0;) {
      if (plan_.steps()[i].depth < depth) {
        depth = plan_.steps()[i].depth;
        steps.push_back(i);
      }
    }
    std::reverse(steps.begin(), steps.end());
    return steps;
  }

  void line(std::size_t step, const char* remark) {
    const StepInfo& info = plan_.steps()[step];
    text_ += std::string(2 * std::size_t{info.depth}, ' ') + "step " + std::to_string(step) + "  " + print::printable(info.description);
    if (info.optional) text_ += info.description.find("optional") == std::string::npos ? " (optional)" : "";
    text_ += std::string{remark} + '\n';
  }

  const Plan& plan_;
  std::vector<bool> has_operations_;
  std::size_t width_ = 2;
  std::size_t next_step_ = 0;
  bool in_body_ = false;
  std::string text_{};
};

}  // namespace

std::string to_text(const Plan& plan) { return TextPrinter{plan}.print(); }

std::string to_text(const Plan& plan, std::uint32_t operation) {
  if (operation >= plan.operations().size()) return "no operation";
  const Operation& op = plan.operations()[operation];
  std::string text = print::call(plan, op);
  if (op.result != no_slot) text += " = " + plan.slot_name(op.result);
  return text + print::remarks(plan, operation);
}

}  // namespace rootprep
