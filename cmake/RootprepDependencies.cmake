# SPDX-License-Identifier: Apache-2.0
# Debian 12 has all of them: libboost-dev, nlohmann-json3-dev; libcli11-dev for the examples; catch2 for the tests.

if(POLICY CMP0167)
  cmake_policy(SET CMP0167 NEW)
endif()
if(NOT TARGET Boost::headers)
  find_package(Boost 1.74 REQUIRED)
endif()
if(NOT TARGET nlohmann_json::nlohmann_json)
  find_package(nlohmann_json REQUIRED)
endif()
