// A small logger modelled on Python's logging module. Each line names the thread that wrote it.
//
//     logging::basic_config("(%(threadName)-10s) %(message)s");
//     logging::debug("sleeping ", pause);          prints: (Thread-1  ) sleeping 3
//
// The format has Python's syntax and supports asctime, levelname, threadName and message, each with an optional
// width: -10s pads to ten characters on the right, 10s on the left. A message consists of any values that can be
// written to a stream.
//
// Any thread can log. Lines are written to stderr as a whole, each by one call of fwrite. Set the format before
// the first thread starts: what a thread wrote before a start is visible to the started thread.
#ifndef LOGGING_HPP
#define LOGGING_HPP

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iomanip>
#include <sstream>
#include <string>
#include <string_view>

#include <threading.hpp>

namespace logging {

inline const char *format = "%(levelname)s:%(message)s";

// The text is not copied. It must live as long as the program.
inline void basic_config(const char *text)
{
    format = text;
}

// Returns the current local time as 2013-02-21 06:37:49,549.
inline std::string asctime()
{
    using namespace std::chrono;
    const auto now = system_clock::now();
    const std::time_t seconds = system_clock::to_time_t(now);
    const auto milliseconds = duration_cast<std::chrono::milliseconds>(now.time_since_epoch()) % 1s;
    std::tm local{};
    localtime_r(&seconds, &local);
    std::ostringstream text;
    text << std::put_time(&local, "%Y-%m-%d %H:%M:%S") << ',' << std::setfill('0') << std::setw(3)
         << milliseconds.count();
    return text.str();
}

inline std::string field(std::string_view name, const char *level, const std::string &message)
{
    if (name == "asctime")
        return asctime();
    if (name == "levelname")
        return level;
    if (name == "threadName")
        return threading::current_thread().name();
    return message;
}

inline void write(const char *level, const std::string &message)
{
    std::ostringstream line;
    for (const char *rest = format; *rest != '\0'; rest++) {
        const std::string_view text = rest;
        const auto end = text.find(')');
        if (text.substr(0, 2) != "%(" || end == text.npos) {
            line << *rest;
            continue;
        }
        char *after = nullptr;
        const long width = std::strtol(rest + end + 1, &after, 10);
        line << (width < 0 ? std::left : std::right) << std::setw(std::abs(static_cast<int>(width)))
             << field(text.substr(2, end - 2), level, message);
        rest = after; // points to the s
    }
    line << '\n';
    const std::string text = line.str();
    (void)std::fwrite(text.data(), 1, text.size(), stderr); // a logger cannot report its own failure
}

template <class... Parts>
void debug(const Parts &...parts)
{
    std::ostringstream message;
    (message << ... << parts);
    write("DEBUG", message.str());
}

} // namespace logging

#endif
