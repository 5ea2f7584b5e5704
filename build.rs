//! Compiles the one C file and sets how the shared library is linked.

fn main() {
    println!("cargo:rerun-if-changed=src/per_thread.c");
    cc::Build::new()
        .file("src/per_thread.c")
        .std("c11")
        .warnings(true)
        .extra_warnings(true)
        .compile("threading_per_thread");

    // tests/header.rs looks for the compilers of this machine.
    println!("cargo:rustc-env=HOST_TRIPLE={}", std::env::var("HOST").unwrap());

    // The major version is the ABI's: programs linked against 0.x find libthreading.so.0.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libthreading.so.0");
    // dlclose must not unmap code that threads still run.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
