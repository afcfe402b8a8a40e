# SPDX-License-Identifier: Apache-2.0
# cmake -DNM=nm -DOBJECTS=a.o,b.o -P check_symbols.cmake
#
# The code between clone() and execve() may call nothing outside itself. What its object files leave undefined is what they call:
# each symbol is defined by another of them, or is one of the four functions that the compiler itself calls to copy and to fill memory
# (GCC manual, -ffreestanding), or strlen, which GCC makes of a loop that looks for a NUL (-ftree-loop-distribute-patterns). They
# neither allocate nor lock nor touch errno.
#
# Nor may they define an inline function (a weak symbol): the linker takes one copy of those that have the same name, and the parent's
# copy may be instrumented (a sanitizer, a stack protector, a coverage counter).
set(allowed memcpy memmove memset memcmp strlen)
# Tables, not code: of the linker, and of the type information of linux_kernel() (see lib/CMakeLists.txt).
list(APPEND allowed _GLOBAL_OFFSET_TABLE_ _ZTVN10__cxxabiv117__class_type_infoE _ZTVN10__cxxabiv120__si_class_type_infoE)

string(REPLACE "," ";" objects "${OBJECTS}")
list(LENGTH objects count)
if(count EQUAL 0)
  message(FATAL_ERROR "no object files were given: nothing would be checked")
endif()

set(undefined)
set(defined)
set(weak)
foreach(object IN LISTS objects)
  execute_process(COMMAND "${NM}" -P "${object}" OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^\n]+" lines "${symbols}")
  if(NOT lines)
    message(FATAL_ERROR "${object} has no symbols at all: is it an object file?")
  endif()
  foreach(line IN LISTS lines)
    if(line MATCHES "^([^ ]+) ([UwvA-Za-z])")
      set(name "${CMAKE_MATCH_1}")
      set(type "${CMAKE_MATCH_2}")
      if(type MATCHES "^[Uwv]$")
        list(APPEND undefined "${name}")
      else()
        list(APPEND defined "${name}")
        if(type STREQUAL "W")
          list(APPEND weak "${name}")
        endif()
      endif()
    endif()
  endforeach()
endforeach()

if(undefined)
  list(REMOVE_DUPLICATES undefined)
  if(defined)
    list(REMOVE_ITEM undefined ${defined})
  endif()
  list(REMOVE_ITEM undefined ${allowed})
endif()
if(weak)
  list(JOIN weak "\n  " text)
  message(FATAL_ERROR "code that runs between clone() and execve() is left to the linker's choice:\n  ${text}\nSee lib/child/README.md.")
endif()
if(undefined)
  list(JOIN undefined "\n  " text)
  message(FATAL_ERROR "code that runs between clone() and execve() calls what it must not:\n  ${text}\nSee lib/child/README.md.")
endif()
message(STATUS "${count} object files, nothing undefined but: ${allowed}")
