# Warnings for every target of ours; VQ_WERROR is for CI.
option(VQ_WERROR "treat warnings as errors" OFF)
add_library(vq_warnings INTERFACE)
target_compile_options(vq_warnings INTERFACE
  -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
  -Wundef -Wwrite-strings -Wvla -ffp-contract=off $<$<BOOL:${VQ_WERROR}>:-Werror>)
