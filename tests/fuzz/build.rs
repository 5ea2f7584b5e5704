//! Compiles the interpreter, the same that the torture program is made of.

fn main() {
    println!("cargo:rerun-if-changed=src/interpreter.c");
    println!("cargo:rerun-if-changed=../torture/misuse");
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
