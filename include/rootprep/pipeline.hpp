// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <concepts>
#include <initializer_list>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "rootprep/error.hpp"
#include "rootprep/export.hpp"
#include "rootprep/kernel_features.hpp"
#include "rootprep/plan.hpp"
#include "rootprep/plan_builder.hpp"

namespace rootprep {

template <class T>
concept LowersItself = requires(const T& step, PlanBuilder& builder) {
  { step.lower(builder) } -> std::same_as<void>;
};
template <class T>
concept LoweredByFunction = !LowersItself<T> && requires(const T& step, PlanBuilder& builder) {
  { lower(step, builder) } -> std::same_as<void>;  // found by argument-dependent lookup
};

// What any step is: a value that can describe itself and turn itself into deferred system calls, by a member
// `void lower(PlanBuilder&) const` or by a function `void lower(const T&, PlanBuilder&)` beside it.
template <class T>
concept StepType = std::copy_constructible<T> &&(LowersItself<T> || LoweredByFunction<T>)&&requires(const T& step) {
  { step.describe() } -> std::convertible_to<std::string>;
};

// Lowers a step of any type.
template <StepType T>
void lower_step(const T& step, PlanBuilder& builder) {
  if constexpr (LowersItself<T>) {
    step.lower(builder);
  } else {
    lower(step, builder);
  }
}

// A step of any type, as a value. Copying is cheap: the step inside never changes and is shared.
class ROOTPREP_EXPORT Step {
 public:
  // The order matters: whether a Step is a StepType depends on whether it can be copied, which asks this constructor again (clang 14
  // follows).
  template <class T>
  requires(!std::same_as<std::remove_cvref_t<T>, Step>) && StepType<T> Step(T step)
      : self_(std::make_shared<const Model<T>>(std::move(step))) {}  // NOLINT(google-explicit-constructor)

  void lower(PlanBuilder& builder) const { self_->lower(builder); }
  std::string describe() const { return self_->describe(); }

 private:
  struct Concept {
    Concept() = default;
    Concept(const Concept&) = delete;
    Concept& operator=(const Concept&) = delete;
    virtual ~Concept() = default;
    virtual void lower(PlanBuilder& builder) const = 0;
    virtual std::string describe() const = 0;
  };
  template <class T>
  struct Model final : Concept {
    explicit Model(T s) : step(std::move(s)) {}
    void lower(PlanBuilder& builder) const override { lower_step(step, builder); }
    std::string describe() const override { return step.describe(); }
    T step;
  };
  std::shared_ptr<const Concept> self_;
};

struct CompileOptions {
  KernelFeatures features = KernelFeatures::probe();
  bool user_namespace = false;  // the child will be in a user namespace of its own (Namespace::user)
  bool check_host = true;       // look at the host for missing or wrong sources; false: the plan is only to be read
};

// What the user wants: steps in the order in which they happen. A pipeline is itself a step.
//
//   const rootprep::Pipeline pipeline{
//       rootprep::PrepareRoot{.path = "/srv/root"},
//       rootprep::MountSpec::proc(),
//       rootprep::DeviceSetup{},
//       rootprep::EnterRoot{},
//   };
//   rootprep::result<rootprep::Plan> plan = pipeline.compile();
//
// A value. Allocates; for the parent only.
class ROOTPREP_EXPORT Pipeline {
 public:
  Pipeline() = default;
  Pipeline(std::initializer_list<Step> steps) : steps_(steps) {}

  void add(Step step) { steps_.push_back(std::move(step)); }
  const std::vector<Step>& steps() const noexcept { return steps_; }

  // Turns the steps into a plan. No side effect; with check_host it looks at the host (stat(2), statfs(2)). Errors: Domain::plan;
  // `problems`, if given, gets all of them with field, value and remedy.
  result<Plan> compile(const CompileOptions& options = {}, std::vector<Problem>* problems = nullptr) const;

  void lower(PlanBuilder& builder) const;
  std::string describe() const;

 private:
  std::vector<Step> steps_{};
};

}  // namespace rootprep
