//! Sets `cfg(model)` and the name of the model checker for the library's sources, and compiles the C file that they
//! need.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../../src/sys/annotate.c");
    cc::Build::new().file("../../src/sys/annotate.c").std("c11").compile("threading_annotate");
    println!("cargo:rustc-cfg=model");
    for checker in ["loom", "shuttle"] {
        if std::env::var_os(format!("CARGO_FEATURE_{}", checker.to_uppercase())).is_some() {
            println!("cargo:rustc-cfg=model=\"{checker}\"");
        }
    }
}
