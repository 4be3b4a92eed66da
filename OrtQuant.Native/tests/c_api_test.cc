// The C ABI against callers that get it wrong: a code and a message, never a crash.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "ortquant.h"

namespace {

constexpr int64_t kN = 16, kK = 32;

/// A valid MatMulNBits of 8-bit codes, one group a row, that every test may spoil.
struct Call {
  std::vector<ortq_attribute> attributes = {{"K", 2, kK, nullptr},        {"N", 2, kN, nullptr},
                                            {"bits", 2, 8, nullptr},      {"block_size", 2, -1, nullptr},
                                            {"layout", 3, 0, "n16"},      {"format_version", 2, 1, nullptr},
                                            {"fallback_x", 7, 0, nullptr}};
  std::vector<uint8_t> codes = std::vector<uint8_t>(64 * 8, 130);
  std::vector<float> scales = std::vector<float>(16, 0.5f);
  std::vector<float> x = std::vector<float>(2 * kK, 1.0f);
  std::vector<float> y = std::vector<float>(2 * kN);
  std::vector<int64_t> x_shape = {2, kK}, code_shape = {1, 1, 512}, scale_shape = {1, 1, 16}, y_shape = {2, kN};
  std::vector<ortq_tensor> inputs = {{1, 2, x_shape.data(), x.data()},
                                     {2, 3, code_shape.data(), codes.data()},
                                     {1, 3, scale_shape.data(), scales.data()}};
  ortq_tensor output = {1, 2, y_shape.data(), y.data()};

  int32_t Run(const char* op = "MatMulNBits", int32_t threads = 1) {
    return ortq_run(op, attributes.data(), static_cast<int32_t>(attributes.size()), inputs.data(),
                    static_cast<int32_t>(inputs.size()), &output, threads);
  }
};

void ExpectError(int32_t code, const char* message) {
  EXPECT_EQ(code, ORTQ_INVALID_ARGUMENT);
  EXPECT_NE(std::string(ortq_last_error()).find(message), std::string::npos) << ortq_last_error();
}

TEST(CApi, TheValidCallRuns) {
  Call call;
  ASSERT_EQ(call.Run(), ORTQ_OK) << ortq_last_error();
  EXPECT_EQ(call.y, std::vector<float>(2 * kN, 2 * 0.5f * kK));
}

TEST(CApi, NullPointers) {
  Call call;
  ExpectError(call.Run(nullptr), "unknown op ''");
  ExpectError(ortq_run("MatMulNBits", nullptr, 1, call.inputs.data(), 3, &call.output, 1),
              "the count of attributes is 1");
  ExpectError(ortq_run("MatMulNBits", nullptr, 0, nullptr, 2, &call.output, 1), "the count of inputs is 2");
  ExpectError(ortq_run("MatMulNBits", nullptr, -1, nullptr, 0, &call.output, 1), "the count of attributes is -1");
  ExpectError(ortq_run("MatMulNBits", nullptr, 0, call.inputs.data(), 3, nullptr, 1), "there is no output");
  ExpectError(ortq_run("MatMulNBits", nullptr, 0, nullptr, 0, &call.output, 1), "attribute 'K' is missing");
  call.attributes[4].s = nullptr;
  ExpectError(call.Run(), "attribute 'layout' is missing; required: a string");
  call.attributes[4].name = nullptr;
  ExpectError(call.Run(), "attribute 'layout' is missing");
}

TEST(CApi, NullData) {
  for (size_t i = 0; i < 3; ++i) {
    Call call;
    call.inputs[i].data = nullptr;
    ExpectError(call.Run(), "has no data");
  }
  Call call;
  call.output.data = nullptr;
  ExpectError(call.Run(), "has no data");
}

TEST(CApi, ShapesThatAreNone) {
  Call call;
  call.inputs[1].rank = -1;
  ExpectError(call.Run(), "a tensor has rank -1");
  call.inputs[1] = {2, 3, nullptr, call.codes.data()};
  ExpectError(call.Run(), "a tensor has rank 3 and no shape");
  call = Call();
  call.x_shape[0] = -2;
  ExpectError(call.Run(), "a tensor has shape [?, 32]; required: sizes of at least 0");
  call = Call();
  call.x_shape = {INT64_MAX, INT64_MAX};
  call.inputs[0].shape = call.x_shape.data();
  ExpectError(call.Run(), "is too large");
}

TEST(CApi, ThreadsAreChecked) {
  Call call;
  ExpectError(call.Run("MatMulNBits", 0), "threads is 0; permitted: 1 to");
  ExpectError(call.Run("MatMulNBits", INT32_MAX), "threads is 2147483647; permitted: 1 to");
}

TEST(CApi, UnpackChecksItsRoom) {
  Call call;
  std::vector<float> weights(kN * kK);
  const auto unpack = [&](float* room, int64_t count) {
    return ortq_unpack("MatMulNBits", call.attributes.data(), 6, call.inputs.data(), 3, room, count);
  };
  ASSERT_EQ(unpack(weights.data(), kN * kK), ORTQ_OK) << ortq_last_error();
  EXPECT_EQ(weights, std::vector<float>(kN * kK, 1.0f));
  ExpectError(unpack(weights.data(), 7), "the output holds 7 floats; required: N * K = 512");
  ExpectError(unpack(nullptr, kN * kK), "weights has no room");
  ExpectError(unpack(weights.data(), -1), "weights has no room");
  ExpectError(ortq_unpack("MatMulNBits", call.attributes.data(), 6, nullptr, 0, weights.data(), kN * kK),
              "input 1 'W' is missing");
}

TEST(CApi, NewerFormatsAreNotSupported) {
  Call call;
  call.attributes[5].i = 2;
  EXPECT_EQ(call.Run(), ORTQ_NOT_SUPPORTED);
  EXPECT_NE(std::string(ortq_last_error()).find("the model is newer than this library"), std::string::npos);
}

TEST(CApi, ErrorsBelongToTheirThread) {
  Call call;
  EXPECT_NE(call.Run("here"), ORTQ_OK);
  std::string before, after;
  std::thread([&] {
    before = ortq_last_error();
    Call().Run("there");
    after = ortq_last_error();
  }).join();
  EXPECT_EQ(before, "");
  EXPECT_NE(after.find("'there'"), std::string::npos);
  EXPECT_NE(std::string(ortq_last_error()).find("'here'"), std::string::npos);
}

TEST(CApi, InstructionSetsAreForcedAndReleased) {
  const std::string automatic = ortq_active_isa();
  ASSERT_EQ(ortq_set_isa("reference"), ORTQ_OK);
  EXPECT_STREQ(ortq_active_isa(), "reference");
  Call call;
  EXPECT_EQ(call.Run(), ORTQ_OK);
  ExpectError(ortq_set_isa("sse9"), "unknown instruction set 'sse9'");
  EXPECT_STREQ(ortq_active_isa(), "reference");
  ASSERT_EQ(ortq_set_isa(nullptr), ORTQ_OK);
  EXPECT_EQ(ortq_active_isa(), automatic);
}

TEST(CApi, TheDescriptionIsOneLineOfBalancedJson) {
  const std::string json = ortq_describe();
  int depth = 0;
  for (const char c : json) depth += c == '{' || c == '[' ? 1 : c == '}' || c == ']' ? -1 : 0;
  EXPECT_EQ(depth, 0);
  EXPECT_EQ(json.front(), '{');
  EXPECT_NE(json.find("\"active_isa\": \"" + std::string(ortq_active_isa()) + "\""), std::string::npos) << json;
}

}  // namespace
