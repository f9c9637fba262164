# What `cmake --install` puts where. In a build tree build/<preset> is the prefix, so only the installed tree
# needs libexec: thea looks for stage programs beside itself first.
include(GNUInstallDirs)

# libthea.a for stages built outside the tree: the objects of graph, schemas and graph/wire as one, with only thea_, stage_, frame_ and tensor_ visible.
set(public_archive ${CMAKE_BINARY_DIR}/libthea.a)
set(public_object ${CMAKE_BINARY_DIR}/thea_public.o)
add_custom_command(
  OUTPUT ${public_archive}
  DEPENDS thea_graph thea_schemas thea_wire
  COMMAND ${CMAKE_LINKER} -r -o ${public_object} --whole-archive
          $<TARGET_FILE:thea_wire> $<TARGET_FILE:thea_schemas> $<TARGET_FILE:thea_graph>
  COMMAND ${CMAKE_OBJCOPY} --wildcard --keep-global-symbol=thea_* --keep-global-symbol=stage_* --keep-global-symbol=frame_*
          --keep-global-symbol=tensor_* ${public_object}
  COMMAND ${CMAKE_COMMAND} -E rm -f ${public_archive}
  COMMAND ${CMAKE_AR} rcs ${public_archive} ${public_object}
  VERBATIM)
add_custom_target(thea_public ALL DEPENDS ${public_archive})

file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/thea.pc @ONLY CONTENT [=[
prefix=@CMAKE_INSTALL_PREFIX@
libdir=${prefix}/@CMAKE_INSTALL_LIBDIR@
includedir=${prefix}/@CMAKE_INSTALL_INCLUDEDIR@

Name: thea
Description: write stages for thea, which runs neural networks as Unix processes
Version: @PROJECT_VERSION@
Cflags: -I${includedir}/thea
Libs: -L${libdir} -lthea -lnng -ljansson -lflatbuffers -lstdc++ -lpthread -lm
]=])
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/theaConfig.cmake @ONLY CONTENT [=[
# find_package(thea) gives thea::thea, the library that stages are written with.
get_filename_component(thea_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
if(NOT TARGET thea::thea)
  add_library(thea::thea STATIC IMPORTED)
  set_target_properties(thea::thea PROPERTIES
    IMPORTED_LOCATION "${thea_prefix}/@CMAKE_INSTALL_LIBDIR@/libthea.a"
    INTERFACE_INCLUDE_DIRECTORIES "${thea_prefix}/@CMAKE_INSTALL_INCLUDEDIR@/thea"
    INTERFACE_LINK_LIBRARIES "nng;jansson;flatbuffers;stdc++;pthread;m")
endif()
set(thea_VERSION @PROJECT_VERSION@)
]=])

get_property(stage_programs GLOBAL PROPERTY THEA_STAGE_PROGRAMS)
install(TARGETS thea RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
if(stage_programs)
  install(TARGETS ${stage_programs} RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/thea)
endif()
install(DIRECTORY pipelines models DESTINATION ${CMAKE_INSTALL_DATADIR}/thea)
install(DIRECTORY examples/ DESTINATION ${CMAKE_INSTALL_DATADIR}/thea/examples PATTERN .clang-format EXCLUDE)
install(FILES docs/pipeline.schema.json DESTINATION ${CMAKE_INSTALL_DATADIR}/thea/schema OPTIONAL)
install(FILES schemas/frame.fbs schemas/link.fbs DESTINATION ${CMAKE_INSTALL_DATADIR}/thea/schema)
install(FILES ${public_archive} DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${CMAKE_BINARY_DIR}/thea.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${CMAKE_BINARY_DIR}/theaConfig.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/thea)
foreach(header graph/err.h graph/log.h graph/json.h graph/value.h graph/wire/stage.h graph/wire/frame.h graph/wire/tensor.h schemas/codec.h schemas/dtype.h)
  get_filename_component(folder ${header} DIRECTORY)
  install(FILES ${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/thea/${folder})
endforeach()

# Man pages and completion, made by the program that they describe.
if(NOT CMAKE_CROSSCOMPILING AND NOT THEA_SANITIZE)
  install(CODE "
    cmake_policy(VERSION 3.25)
    set(thea \"${CMAKE_BINARY_DIR}/bin/thea\")
    set(man \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_MANDIR}\")
    set(data \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DATADIR}\")
    file(MAKE_DIRECTORY \"\${man}/man1\" \"\${man}/man5\" \"\${data}/bash-completion/completions\" \"\${data}/fish/vendor_completions.d\")
    execute_process(COMMAND \${thea} help --roff thea OUTPUT_FILE \"\${man}/man1/thea.1\" COMMAND_ERROR_IS_FATAL ANY)
    execute_process(COMMAND \${thea} help --roff pipeline OUTPUT_FILE \"\${man}/man5/thea-pipeline.5\" COMMAND_ERROR_IS_FATAL ANY)
    execute_process(COMMAND \${thea} completion bash OUTPUT_FILE \"\${data}/bash-completion/completions/thea\" COMMAND_ERROR_IS_FATAL ANY)
    execute_process(COMMAND \${thea} completion fish OUTPUT_FILE \"\${data}/fish/vendor_completions.d/thea.fish\" COMMAND_ERROR_IS_FATAL ANY)
    file(GLOB sources \"${CMAKE_SOURCE_DIR}/bin/thea/*.c\" \"${CMAKE_SOURCE_DIR}/stages/*.c\")
    foreach(source \${sources})
      get_filename_component(name \${source} NAME_WE)
      string(REPLACE \"_\" \"-\" name \${name})
      if(NOT name STREQUAL \"thea\")
        execute_process(COMMAND \${thea} help --roff \${name} OUTPUT_FILE \"\${man}/man1/thea-\${name}.1\" COMMAND_ERROR_IS_FATAL ANY)
      endif()
    endforeach()")
endif()
