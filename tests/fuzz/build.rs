//! Compiles the interpreter of tests/torture/misuse, the same code as in the torture program.

fn main() {
    println!("cargo:rerun-if-changed=src/interpreter.c");
    println!("cargo:rerun-if-changed=../torture/misuse");
    println!("cargo:rerun-if-changed=../torture/splitmix64.h");
    println!("cargo:rerun-if-changed=../../include/threading.h");
    cc::Build::new()
        .file("src/interpreter.c")
        .include("../../include")
        .std("c11")
        .define("_GNU_SOURCE", None)
        .warnings(true)
        .extra_warnings(true)
        .debug(true)
        .compile("misuse_interpreter");
}
