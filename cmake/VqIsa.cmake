# vq_isa(name "source;source" flag...): one OBJECT library per instruction set; only these files see
# ISA flags.
function(vq_isa name sources)
  add_library(vq_isa_${name} OBJECT ${sources})
  target_compile_options(vq_isa_${name} PRIVATE ${ARGN})
  target_link_libraries(vq_isa_${name} PRIVATE vq_warnings)
  target_include_directories(vq_isa_${name} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)
  set_target_properties(vq_isa_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON C_VISIBILITY_PRESET hidden)
  set_property(GLOBAL APPEND PROPERTY VQ_ISA_OBJECTS $<TARGET_OBJECTS:vq_isa_${name}>)
endfunction()
