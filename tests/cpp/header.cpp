// The header is self-contained, can be included twice, and can be used in several translation units of one program, of
// which the second is compiled without RTTI. Macros with common names do not break it.
#include <threading.hpp>
#include <threading.hpp> // NOLINT(readability-duplicate-include)

#include "header.hpp"

#include <threading.h>

#include "test.hpp"

static void translation_units_share_definitions()
{
    CHECK(&threading::category() == category_of_other_unit());
    CHECK(catches_error([] { threading::Lock().release(); }));
    CHECK(!catches_error([] { throw 1; }));
    CHECK_EQUAL(local_of_other_unit().get(), 5);
    local_of_other_unit().set(6);
    CHECK_EQUAL(read_local_of_other_unit(), 6);
}

static void exception_type_is_reported_without_rtti()
{
    const test::ExceptHookRecorder recorder;
    throw_in_thread_of_other_unit();
    CHECK_EQUAL(recorder.reports().at(0), "other: std::runtime_error: from the other translation unit");
    CHECK_EQUAL(recorder.reports().at(1), "other: Unknown: ");
}

static void common_macros_do_not_break_the_header()
{
    CHECK(works_with_common_macros());
}

static const test::Case cases[] = {
    {"two translation units share what the header defines", translation_units_share_definitions},
    {"the excepthook receives the type also without RTTI", exception_type_is_reported_without_rtti},
    {"macros with common names do not break the header", common_macros_do_not_break_the_header},
};

TEST_MAIN(cases)
