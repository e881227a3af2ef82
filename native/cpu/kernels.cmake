# The CPU backend's library: every kernel once for each instruction set the processor may have.
if(NOT CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang" OR MSVC)
  message(WARNING "The CPU kernels need GCC or Clang: installing without them.")
  return()
endif()

include(CheckCXXCompilerFlag)
find_package(Threads REQUIRED)
set(kernels "${CMAKE_CURRENT_SOURCE_DIR}/native/cpu")
add_library(lkdn_native MODULE
  ${kernels}/api.cpp ${kernels}/color_api.cpp ${kernels}/training_api.cpp
  ${kernels}/gelu.cpp ${kernels}/plan.cpp ${kernels}/pool.cpp ${kernels}/run.cpp)
target_link_libraries(lkdn_native PRIVATE Threads::Threads)
# GCC would carry loads over to the next pixel, in registers that the sums need.
set_source_files_properties(${kernels}/depthwise.cpp PROPERTIES
  COMPILE_OPTIONS $<$<CXX_COMPILER_ID:GNU>:-fno-predictive-commoning>)

# add_kernels(NAME LANES FLAGS...): the kernels in vectors of LANES floats, compiled with FLAGS.
function(add_kernels name lanes)
  add_library(lkdn_native_${name} OBJECT
    ${kernels}/kernels.cpp ${kernels}/color.cpp ${kernels}/depthwise.cpp ${kernels}/rows.cpp)
  target_compile_definitions(lkdn_native_${name} PRIVATE
    LKDN_LANES=${lanes} LKDN_NAME="${name}" LKDN_KERNELS=kernels_${name}
    LKDN_COLOR=color_${name} LKDN_DEPTHWISE=depthwise_${name} LKDN_ROWS=rows_${name})
  # Sums may be fused into multiply-adds; NaN and infinity keep their meaning.
  target_compile_options(lkdn_native_${name} PRIVATE
    -O3 -ffp-contract=fast -fno-math-errno -fno-trapping-math ${ARGN})
  target_sources(lkdn_native PRIVATE $<TARGET_OBJECTS:lkdn_native_${name}>)
endfunction()

add_kernels(portable 4)
set(targets lkdn_native lkdn_native_portable)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
  add_kernels(avx2 8 -mavx2 -mfma -mf16c -mprfchw)
  set(avx512 -mavx512f -mavx512vl -mavx512dq -mavx512bw -mfma -mprfchw -mprefer-vector-width=512)
  add_kernels(avx512 16 ${avx512})
  list(APPEND targets lkdn_native_avx2 lkdn_native_avx512)
  set(x86 LKDN_X86)
  check_cxx_compiler_flag(-mavx512bf16 LKDN_HAS_AVX512_BF16)
  if(LKDN_HAS_AVX512_BF16)
    add_kernels(avx512_bf16 16 ${avx512} -mavx512bf16)
    target_compile_definitions(lkdn_native_avx512_bf16 PRIVATE LKDN_PAIRS)
    list(APPEND targets lkdn_native_avx512_bf16)
    list(APPEND x86 LKDN_AVX512_BF16)
  endif()
  foreach(target IN LISTS targets)
    target_compile_definitions(${target} PRIVATE ${x86})
  endforeach()
endif()
set_target_properties(${targets} PROPERTIES
  POSITION_INDEPENDENT_CODE ON CXX_STANDARD 17 CXX_VISIBILITY_PRESET hidden)
set_target_properties(lkdn_native PROPERTIES
  PREFIX "" SUFFIX "${CMAKE_SHARED_LIBRARY_SUFFIX}")

# Where lkdn_core/native_library.py looks: no package, or it would count as a module of Python.
install(TARGETS lkdn_native LIBRARY DESTINATION lkdn_core/lib RUNTIME DESTINATION lkdn_core/lib)
