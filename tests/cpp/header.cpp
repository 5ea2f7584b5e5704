// The header alone, first and twice, in several translation units of one program, which must agree on what it
// defines; without RTTI in the second one. And it leaves no macro behind but its guard.
#include <threading.hpp>
#include <threading.hpp> // NOLINT(readability-duplicate-include)

#include "header.hpp"

#include <threading.h>

#include "test.hpp"

static void parts_are_one()
{
    CHECK(&threading::category() == category_of_the_other());
    CHECK(catches_error([] { threading::Lock().release(); }));
    CHECK(!catches_error([] { throw 1; }));
    CHECK_EQUAL(local_of_the_other().get(), 5);
    local_of_the_other().set(6);
    CHECK_EQUAL(read_local_of_the_other(), 6);
}

static void tells_of_exceptions_without_rtti()
{
    const test::Hook hook;
    throw_in_a_thread_of_the_other();
    CHECK_EQUAL(hook.told().at(0), "other: std::runtime_error: from the other part");
    CHECK_EQUAL(hook.told().at(1), "other: Unknown: ");
}

static void macros_do_not_matter()
{
    CHECK(works_beside_macros());
}

static const test::Case cases[] = {
    {"two translation units share what the header defines", parts_are_one},
    {"without RTTI the excepthook is told of the type, too", tells_of_exceptions_without_rtti},
    {"macros with common names do not matter", macros_do_not_matter},
};

TEST_MAIN(cases)
