// The C++ part of exit.c: objects that are destroyed when the process or a thread ends.
#include <cstdlib>
#include <numeric>
#include <vector>

namespace {

class Static {
public:
    Static(char letter, void (*report)(char)) : numbers(1000, 1), letter(letter), report(report) {}

    ~Static()
    {
        numbers.assign(numbers.size(), 0);
        report(letter);
    }

    void use() const
    {
        // After the destructor, the sum is different.
        if (std::accumulate(numbers.begin(), numbers.end(), 0) != 1000)
            std::abort();
    }

private:
    std::vector<int> numbers;
    char letter;
    void (*report)(char);
};

Static *old_object;

struct ThreadObject {
    ~ThreadObject() { old_object->use(); }
    int uses = 0;
};

thread_local ThreadObject thread_object;

} // namespace

extern "C" {

void statics_old(void (*report)(char))
{
    static Static object('O', report);
    old_object = &object;
}

void statics_new(void (*report)(char))
{
    static Static object('N', report);
}

void statics_use(int thread_ends)
{
    if (thread_ends)
        thread_object.uses++;
    old_object->use();
}
}
