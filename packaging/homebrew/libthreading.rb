# The Homebrew formula, for Linux. Not run by the tests, because no package registry has Homebrew. The checksum is that
# of the released archive.
class Libthreading < Formula
  desc "Python's threading module for C"
  homepage "https://libthreading.invalid"
  url "https://libthreading.invalid/releases/libthreading-0.1.0.tar.gz"
  sha256 "0000000000000000000000000000000000000000000000000000000000000000"
  license any_of: ["MIT", "Apache-2.0"]

  depends_on "cmake" => :build
  depends_on "lld" => :build
  depends_on "rust" => :build
  depends_on :linux

  uses_from_macos "python" => :build

  def install
    args = %w[-DTHREADING_BUILD_TESTS=OFF -DTHREADING_BUILD_EXAMPLES=OFF]
    system "cmake", "-S", ".", "-B", "build", *args, *std_cmake_args
    system "cmake", "--build", "build"
    system "cmake", "--install", "build"
  end

  test do
    (testpath/"test.c").write <<~C
      #include <stdio.h>
      #include <threading.h>

      int main(void)
      {
          threading_lock *lock = threading_lock_new();
          if (threading_lock_acquire(lock) != THREADING_OK || threading_lock_acquire_timeout(lock, 0.01) != THREADING_TIMED_OUT)
              return 1;
          printf("%s", threading_version());
          return 0;
      }
    C
    system ENV.cc, "test.c", "-I#{include}", "-L#{lib}", "-lthreading", "-Wl,-rpath,#{lib}", "-o", "test"
    assert_equal version.to_s, shell_output("./test")
  end
end
