// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "rootprep/pipeline.hpp"

namespace rootprep {

result<Plan> Pipeline::compile(const CompileOptions& options, std::vector<Problem>* problems) const {
  PlanBuilder builder{{options.features, options.user_namespace, options.check_host}};
  lower(builder);
  result<Plan> plan = builder.finish();
  if (problems != nullptr) *problems = builder.problems();
  return plan;
}

void Pipeline::lower(PlanBuilder& builder) const {
  for (const Step& step : steps_) {
    builder.begin_step(step.describe());
    step.lower(builder);
    builder.end_step();
  }
}

std::string Pipeline::describe() const {
  return "pipeline of " + std::to_string(steps_.size()) + (steps_.size() == 1 ? " step" : " steps");
}

}  // namespace rootprep
