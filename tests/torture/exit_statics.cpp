// The C++ side of exit.c: objects that are destroyed as the process or a thread ends.
#include <cstdlib>
#include <numeric>
#include <vector>

namespace {

class Static {
public:
    Static(char letter, void (*say)(char)) : numbers(1000, 1), letter(letter), say(say) {}

    ~Static()
    {
        numbers.assign(numbers.size(), 0);
        say(letter);
    }

    void use() const
    {
        // Whoever comes after the destructor finds another sum.
        if (std::accumulate(numbers.begin(), numbers.end(), 0) != 1000)
            std::abort();
    }

private:
    std::vector<int> numbers;
    char letter;
    void (*say)(char);
};

Static *old_one;

struct OfThread {
    ~OfThread() { old_one->use(); }
    int uses = 0;
};

thread_local OfThread of_thread;

} // namespace

extern "C" {

void statics_old(void (*say)(char))
{
    static Static object('O', say);
    old_one = &object;
}

void statics_new(void (*say)(char))
{
    static Static object('N', say);
}

void statics_use(int thread_ends)
{
    if (thread_ends)
        of_thread.uses++;
    old_one->use();
}
}
