# SPDX-License-Identifier: Apache-2.0
# Instrumented builds: VQ_SANITIZE=address,undefined or thread, and VQ_COVERAGE; see CMakePresets.json.
set(VQ_SANITIZE "" CACHE STRING "what -fsanitize= shall check, e.g. address,undefined")
option(VQ_COVERAGE "count executed lines" OFF)
set(VQ_SANITIZE_SOURCES "")
if(VQ_SANITIZE)
  add_compile_options(-fsanitize=${VQ_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${VQ_SANITIZE})
endif()
if(VQ_SANITIZE MATCHES "thread")
  # gcc's libgomp synchronises by futex, which ThreadSanitizer cannot see.  In this build alone its
  # four functions that we need come from pthreads, which it can.
  set(VQ_SANITIZE_SOURCES ${PROJECT_SOURCE_DIR}/cmake/gomp_pthread.c)
endif()
if(VQ_COVERAGE)
  add_compile_options(--coverage -fprofile-update=atomic)
  add_link_options(--coverage)
endif()
