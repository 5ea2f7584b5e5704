# The example for Ruby's ffi: two threads, a lock, an event with a timeout, timers.

require "ffi"

# The declarations of threading.h that the example uses. A handle is an FFI::Pointer.
module Threading
  extend FFI::Library
  ffi_lib "libthreading.so.0"

  OK = 0
  TIMED_OUT = 1

  callback :target, [:pointer], :pointer

  # While a call with `blocking: true` waits, other threads of Ruby run. A callback needs that.
  attach_function :threading_thread_new, [:target, :pointer], :pointer
  attach_function :threading_thread_set_name, [:pointer, :string], :int
  attach_function :threading_thread_name, [:pointer], :string
  attach_function :threading_thread_start, [:pointer], :int
  attach_function :threading_thread_join, [:pointer], :int, blocking: true
  attach_function :threading_thread_free, [:pointer], :int

  attach_function :threading_lock_new, [], :pointer
  attach_function :threading_lock_acquire, [:pointer], :int, blocking: true
  attach_function :threading_lock_release, [:pointer], :int
  attach_function :threading_lock_free, [:pointer], :int

  attach_function :threading_event_new, [], :pointer
  attach_function :threading_event_set, [:pointer], :int
  attach_function :threading_event_clear, [:pointer], :int
  attach_function :threading_event_wait_timeout, [:pointer, :double], :int, blocking: true
  attach_function :threading_event_free, [:pointer], :int

  attach_function :threading_timer_new, [:double, :target, :pointer], :pointer
  attach_function :threading_timer_thread, [:pointer], :pointer
  attach_function :threading_timer_start, [:pointer], :int
  attach_function :threading_timer_free, [:pointer], :int

  attach_function :threading_status_name, [:int], :string
  attach_function :threading_last_error, [], :int
  attach_function :threading_last_error_message, [], :string
  attach_function :threading_shutdown, [], :int, blocking: true

  # A function of the library as a target, which runs no Ruby code.
  SET_EVENT = FFI::Function.new(:pointer, [:pointer], ffi_libraries.first.find_function("threading_event_set"))

  # Returns a status or a handle. Raises an exception if it is an error or NULL.
  def self.checked(result)
    failed = result.is_a?(FFI::Pointer) ? result.null? : result.negative?
    failed ? raise(threading_last_error_message) : result
  end
end

T = Threading
at_exit { T.threading_shutdown } # waits for threads and timers while they can still call Ruby
total = 0

# Callbacks must be kept alive as long as the library may call them. Here the variables refer to them. ffi runs them in
# new threads of Ruby, while the library's thread waits.
add = FFI::Function.new(:pointer, [:pointer]) do |lock|
  1000.times do
    T.checked(T.threading_lock_acquire(lock))
    total += 1
    T.checked(T.threading_lock_release(lock))
  end
  nil
end
ring = FFI::Function.new(:pointer, [:pointer]) do |event|
  puts "alarm rings"
  T.checked(T.threading_event_set(event))
  nil
end

lock = T.checked(T.threading_lock_new)
event = T.checked(T.threading_event_new)

puts "the event is not set yet" if T.checked(T.threading_event_wait_timeout(event, 0.05)) == T::TIMED_OUT

threads = (1..2).map do |number|
  thread = T.checked(T.threading_thread_new(add, lock))
  T.checked(T.threading_thread_set_name(thread, "adder-#{number}"))
  T.checked(T.threading_thread_start(thread))
  thread
end
threads.each { |thread| T.checked(T.threading_thread_join(thread)) }
puts "#{threads.map { |thread| T.threading_thread_name(thread) }.join(" and ")} have added #{total}"

if T.threading_lock_release(lock).negative?
  puts "release failed: #{T.threading_status_name(T.threading_last_error)}, #{T.threading_last_error_message}"
end

timer = T.checked(T.threading_timer_new(0.1, ring, event))
T.checked(T.threading_thread_set_name(T.threading_timer_thread(timer), "alarm"))
T.checked(T.threading_timer_start(timer))
puts "the event is set" if T.checked(T.threading_event_wait_timeout(event, 10)) == T::OK
T.checked(T.threading_thread_join(T.threading_timer_thread(timer)))
T.checked(T.threading_timer_free(timer))

# A function of the library as the timer's function.
T.checked(T.threading_event_clear(event))
timer = T.checked(T.threading_timer_new(0.1, T::SET_EVENT, event))
T.checked(T.threading_timer_start(timer))
if T.checked(T.threading_event_wait_timeout(event, 10)) == T::OK
  puts "a timer without a callback has set the event"
end
T.checked(T.threading_thread_join(T.threading_timer_thread(timer)))
T.checked(T.threading_timer_free(timer))

threads.each { |thread| T.checked(T.threading_thread_free(thread)) }
T.checked(T.threading_event_free(event))
T.checked(T.threading_lock_free(lock))
