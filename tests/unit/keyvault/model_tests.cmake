# The store and the model, on fake tokens.
set(here ${CMAKE_CURRENT_LIST_DIR})
add_library(kluis_test_model STATIC ${here}/model_support.c)
target_link_libraries(kluis_test_model PUBLIC kluis_model kluis_test_fake PkgConfig::SQLITE PkgConfig::CMOCKA)

foreach(file model_key model_secret model_life model_edit model_random model_crash model_backup
    model_reconcile model_cache model_principal store store_sqlite)
  kluis_test(unit.keyvault.${file} SOURCES ${here}/test_${file}.c LIBS kluis_test_model LABELS unit)
endforeach()
